"""Networks with every kind of layer through ONNX: the same answers, by ONNX's own operators, at any batch."""

import pytest
import torch

from deepres.nn.create import create_model
from deepres.nn.inference import folded
from deepres.nn.onnx_graph import BATCH, traced

ONE_OF_EACH = [
    "vgg15_cifar",
    "highway19_cifar",
    "fractalnet20_cifar",
    "seresnet18",
    "resnet18+style.eca_kernel=auto",
    "resnet18_blur4",
    "res2net50_26w_4s+depths=2,1,1,1",
    "resnest14d",
    "resnest50d_4s2x40d+depths=2,1,1,1",
    "skresnet18+depths=2,1,1,1",
]
"""Flat stacks, gates, columns, excitation, filters along channels, blurred pools, scales, splits, kernels; one network of each other family was tried by hand."""
LONG = (
    *("fractalnet20_cifar", "seresnet18", "resnest50d_4s2x40d+depths=2,1,1,1", "skresnet18+depths=2,1,1,1"),
    *("resnest14d", "resnet18_blur4", "highway19_cifar", "res2net50_26w_4s+depths=2,1,1,1", "vgg15_cifar"),
)
"""Those that trace longest, or are much like another: excitation like the kernels of ECA, selected kernels like splits."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in ONE_OF_EACH]
)
def test_a_network_answers_the_same_through_onnx(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    network = folded(create_model(name, num_classes=5, seed=0).eval())
    channels, height, _ = network.description.input
    side = min(height, 64)
    draw = torch.Generator().manual_seed(0)
    model = traced(network, torch.rand(2, channels, side, side, generator=draw), "y", {0: BATCH})
    assert [each.domain for each in model.opset_import] == [""]
    run = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for number in (1, 3):
        images = torch.rand(number, channels, side, side, generator=draw)
        (found,) = run.run(None, {"image": images.numpy()})
        with torch.inference_mode():
            wanted = network(images)
        scale = float(wanted.abs().max())
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-4, atol=1e-4 * max(1.0, scale))
        apart = (torch.from_numpy(found).softmax(1) - wanted.softmax(1)).abs().max()
        assert apart <= 1e-4
