"""Networks of deepres inside other libraries' programs: torchvision's pyramid, smp's decoders, Lightning, fastai."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deepres

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # these libraries warn of their own
TINY = "resnet20_cifar"


def _pictures(count: int = 24) -> tuple[Tensor, Tensor]:
    """Dark ones and light ones."""
    labels = torch.arange(count) % 2
    noise = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return noise + 2 * (labels[:, None, None, None] - 0.5), labels


def test_as_the_body_of_torchvisions_pyramid_and_detector() -> None:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import FeaturePyramidNetwork

    class Body(nn.Module):
        out_channels = 32

        def __init__(self) -> None:
            super().__init__()
            self.backbone = deepres.create_model("resnet18", features_only=True, out_indices=(1, 2, 3, 4))
            self.pyramid = FeaturePyramidNetwork(self.backbone.feature_info.channels(), self.out_channels)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            maps = OrderedDict((str(number), each) for number, each in enumerate(self.backbone(x)))
            found: dict[str, Tensor] = self.pyramid(maps)
            return found

    anchors = AnchorGenerator(((16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 4)
    detector = FasterRCNN(Body(), 3, rpn_anchor_generator=anchors, min_size=96, max_size=96, box_detections_per_img=5)
    boxes = [{"boxes": torch.tensor([[10.0, 10.0, 60.0, 50.0]]), "labels": torch.tensor([1])}]
    losses = detector([torch.rand(3, 96, 96)], boxes)
    sum(losses.values()).backward()
    grads = {name: parameter.grad for name, parameter in detector.backbone.backbone.named_parameters()}
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in grads.values())
    assert set(detector.eval()([torch.rand(3, 96, 96)])[0]) == {"boxes", "labels", "scores"}


def test_as_the_encoder_of_smps_decoder() -> None:
    unet = pytest.importorskip("segmentation_models_pytorch.decoders.unet.decoder", reason="smp's decoders")
    encoder = deepres.create_model("resnet18", features_only=True)
    decoder = unet.UnetDecoder((3, *encoder.feature_info.channels()), (32, 16, 16, 8, 8), n_blocks=5)
    x = torch.randn(2, 3, 64, 96)
    drawn = decoder([x, *encoder(x)])
    assert drawn.shape == (2, 8, 64, 96)
    drawn.square().mean().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_lightning_trains_it_and_its_checkpoint_is_read(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning's Trainer")

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = deepres.create_model(TINY, num_classes=2)

        def training_step(self, batch: Any, _: int) -> Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.05)

    module = Module()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*_pictures()), batch_size=8)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(module, loader)
    trainer.save_checkpoint(tmp_path / "its.ckpt")
    ours = deepres.create_model(TINY, num_classes=2, weights=tmp_path / "its.ckpt", variant=TINY).eval()
    x = _pictures(4)[0]
    assert torch.equal(ours(x), module.model.eval()(x))


def test_fastai_trains_it_and_its_weights_are_read(tmp_path: Path) -> None:
    pytest.importorskip("fastai", reason="fastai's Learner")
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner

    images, labels = _pictures()
    pairs = list(zip(images, labels, strict=True))
    loaders = DataLoaders(DataLoader(pairs, bs=8), DataLoader(pairs, bs=8))
    learner = Learner(
        loaders, deepres.create_model(TINY, num_classes=2), loss_func=nn.CrossEntropyLoss(), path=tmp_path
    )
    learner.remove_cbs([each for each in learner.cbs if each.name in ("progress", "recorder")])
    learner.fit(1, 0.01)
    learner.save("its")
    ours = deepres.create_model(TINY, num_classes=2, weights=tmp_path / "models" / "its.pth", variant=TINY).eval()
    x = images[:4]
    assert torch.equal(ours(x), learner.model.eval()(x))
