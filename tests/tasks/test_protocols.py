"""Protocols against hand-made views and passes: crops, mirrors, dense evaluation, shards, spellings, refusals."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from deepres.arch.algebra import Sequence
from deepres.arch.architecture import with_input
from deepres.arch.atoms import GlobalAveragePool, Linear
from deepres.arch.catalogue.lookup import architecture
from deepres.base.errors import InputError
from deepres.data.images import ArrayImages, Batch, FileImages, Images
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches, prepare_one
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import imagenet_statistics
from deepres.tasks.classification.metrics import Measures, averaged
from deepres.tasks.evaluator import EvaluationMethod, evaluate
from deepres.tasks.protocols import PROTOCOLS, Gathering, protocol_named, require_fitting
from deepres.tasks.result import Evaluation

CLASSES = ("a", "b", "c")
KNOWN = imagenet_statistics()
CROPPED = Preparation(fit="crop", resize=18, crop=16)
AS_THEY_ARE = Preparation()


def small_network() -> nn.Sequential:
    """Convolutional up to a global average and one linear layer."""
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).double().requires_grad_(False)


class InDouble(nn.Module):
    """The network in float64, so that only mistakes show."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_network()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x.double())
        return logits


def noise(number: int, height: int, width: int) -> Tensor:
    draw = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=draw)


@pytest.fixture
def photos(tmp_path: Path) -> FileImages:
    """Nine photographs of four sizes."""
    paths = tuple(tmp_path / f"{number}.png" for number in range(9))
    for number, path in enumerate(paths):
        size = ((30, 40), (40, 30), (33, 33), (25, 60))[number % 4]
        Image.fromarray(noise(number, *size).permute(1, 2, 0).numpy()).save(path)
    return FileImages(paths, torch.arange(9) % 3, CLASSES)


def measured(images: Images, text: str, preparation: Preparation = CROPPED, **how: int) -> Evaluation:
    protocol = protocol_named(text, preparation)
    size = how.pop("batch_size", 4)
    batches = evaluation_batches(
        images, preparation, KNOWN, LoaderConfig(batch_size=size, **how), showing=protocol.showing
    )  # type: ignore[arg-type]
    return evaluate(
        InDouble(), batches, images, split="test", method=EvaluationMethod(protocol=protocol, keep_scores=True)
    )


def scores(found: Evaluation) -> Tensor:
    assert found.predictions.scores is not None
    return found.predictions.scores


def normal(pixels: Tensor) -> Tensor:
    return prepare_one(pixels, AS_THEY_ARE, KNOWN)[None]


@pytest.mark.parametrize("text", ["ten-crop", "ten-crop-logits", "ten-crop:24/28"])
@pytest.mark.medium
def test_ten_crop_is_the_mean_of_ten_hand_made_crops(photos: FileImages, text: str) -> None:
    found, network = scores(measured(photos, text)), InDouble()
    crop, side = (24, 28) if "/" in text else (16, 18)
    for index in range(len(photos)):
        resized = functional.resize(photos.image(index), [side], antialias=True)
        five = functional.five_crop(resized, [crop, crop])
        ten = [*five, *(one.flip(-1) for one in five)]
        answers = torch.cat([network(normal(one)) for one in ten])
        mean = answers.mean(0).softmax(0) if "logits" in text else answers.softmax(1).mean(0)
        torch.testing.assert_close(found[index].exp(), mean, rtol=1e-9, atol=1e-12)


def test_flip_is_the_mean_of_the_image_and_its_mirror(photos: FileImages) -> None:
    found, network = scores(measured(photos, "flip")), InDouble()
    for index in range(len(photos)):
        image = functional.center_crop(functional.resize(photos.image(index), [18], antialias=True), [16, 16])
        mean = (network(normal(image)).softmax(1) + network(normal(image.flip(-1))).softmax(1)) / 2
        torch.testing.assert_close(found[index].exp(), mean[0], rtol=1e-9, atol=1e-12)


@pytest.mark.medium
def test_dense_evaluation_is_the_classifier_as_a_convolution_averaged_over_positions(photos: FileImages) -> None:
    found, inner = scores(measured(photos, "multi-scale-flip:16,20,30")), small_network()
    body, linear = inner[:4], inner[-1]
    assert isinstance(linear, nn.Linear)
    slid = nn.Conv2d(8, 3, 1).double().requires_grad_(False)
    slid.weight.copy_(linear.weight[:, :, None, None])
    slid.bias.copy_(linear.bias)  # type: ignore[union-attr]
    for index in range(len(photos)):
        views = [functional.resize(photos.image(index), [side], antialias=True) for side in (16, 20, 30)]
        views += [view.flip(-1) for view in views]
        maps = [slid(body(normal(view).double())) for view in views]
        assert maps[0].shape[-1] > 1
        mean = torch.stack([scored.mean((2, 3)).softmax(1) for scored in maps]).mean(0)
        torch.testing.assert_close(found[index].exp(), mean[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("preparation", [AS_THEY_ARE, Preparation(fit="crop", resize=16, crop=16)])
def test_dense_evaluation_at_the_training_size_is_the_ordinary_pass(preparation: Preparation) -> None:
    pixels = torch.stack([noise(number, 16, 16) for number in range(6)])
    images = ArrayImages(pixels, torch.arange(6) % 3, CLASSES, "noise")
    assert torch.equal(
        scores(measured(images, "multi-scale:16", preparation)), scores(measured(images, "center", preparation))
    )


@pytest.mark.medium
@pytest.mark.parametrize("text", ["center", "flip", "ten-crop", "multi-scale:16,20"])
def test_shards_batches_and_workers_change_no_count(photos: FileImages, text: str) -> None:
    whole = measured(photos, text)
    for size, workers in ((1, 0), (9, 0), (4, 1)):
        other = measured(photos, text, batch_size=size, workers=workers)
        assert other.result.confusion == whole.result.confusion
        torch.testing.assert_close(scores(other), scores(whole), rtol=1e-9, atol=1e-12)
    protocol = protocol_named(text, CROPPED)

    def share(rank: int) -> Measures:
        batches = evaluation_batches(
            photos, CROPPED, KNOWN, LoaderConfig(batch_size=4, rank=rank, world_size=2), showing=protocol.showing
        )
        parts: list[tuple[Measures, dict[str, str]]] = []

        def gathered(work: Callable[[], tuple[Measures, dict[str, str]]]) -> list[tuple[Measures, dict[str, str]]]:
            parts.append(work())
            raise KeyError

        with pytest.raises(KeyError):
            evaluate(
                InDouble(),
                batches,
                photos,
                split="test",
                all_gather=gathered,
                method=EvaluationMethod(protocol=protocol, keep_scores=True),
            )
        return parts[0][0]

    together = share(0)
    together.merge(share(1))
    sharded = together.answers()
    assert torch.equal(sharded.predicted, whole.predictions.predicted)
    assert sharded.scores is not None
    assert torch.equal(sharded.scores, scores(whole))  # to the bit


@pytest.mark.medium
@given(st.permutations(range(6)))
def test_the_order_of_views_and_images_changes_nothing_but_rounding(order: list[int]) -> None:
    protocol = protocol_named("multi-scale:8,16,32", CROPPED)
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    images = torch.arange(6) % 2  # each of two images three times
    gathering, found = Gathering(protocol, averaged), {}
    for place in order:
        batch = Batch(torch.zeros(1, 1), torch.tensor([7]), images[place : place + 1])
        mean, labels, indices = gathering.add([logits[place : place + 1]], batch)
        found |= {int(index): row for index, row in zip(indices, mean, strict=True)}
        assert labels.tolist() == [7] * len(indices)
    for image in (0, 1):
        wanted = logits[image::2].double().softmax(1).mean(0)
        torch.testing.assert_close(found[image].exp(), wanted, rtol=1e-12, atol=1e-12)


def test_the_centre_gives_the_networks_logits_untouched() -> None:
    logits = torch.randn(5, 3)
    batch = Batch(torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64), torch.arange(5))
    assert Gathering(PROTOCOLS["center"], averaged).add([logits], batch)[0] is logits


def test_averages_of_probabilities_and_of_logits() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 8.0]]])
    wanted = (logits[0].double().softmax(1) + logits[1].double().softmax(1)) / 2
    torch.testing.assert_close(averaged(logits, "probability").exp(), wanted)
    assert averaged(logits, "logit").tolist() == [[1.0, 4.0]]


@pytest.mark.parametrize(
    ("text", "preparation", "settled", "sentence"),
    [
        ("center", AS_THEY_ARE, "center", "the single view of the original image"),
        ("center", CROPPED, "center", "the central 16 x 16 of short side 18"),
        ("center:16/18", CROPPED, "center", "the central 16 x 16 of short side 18"),
        ("center:320", CROPPED, "center:320/320", "the central 320 x 320 of short side 320"),
        ("flip", AS_THEY_ARE, "flip", "the single view of the original image, and its mirror; probabilities averaged"),
        (
            "ten-crop",
            Preparation(fit="crop", resize=256, crop=224),
            "ten-crop:224/256",
            "four corners and centre of 224 x 224, of short side 256, and their mirrors; probabilities averaged",
        ),
        (
            "ten-crop-logits",
            Preparation(fit="crop", resize=64, crop=64),
            "ten-crop-logits:64/73",
            "four corners and centre of 64 x 64, of short side 73, and their mirrors; logits averaged",
        ),
        (
            "multi-scale",
            Preparation(fit="crop", resize=256, crop=224, normalise="per_pixel"),
            "multi-scale:224,256,384,480,640",
            "the whole image at short side 224, 256, 384, 480, 640; probabilities averaged; "
            "the mean image resized to the view",
        ),
        (
            "multi-scale-flip:32",
            AS_THEY_ARE,
            "multi-scale-flip:32",
            "the whole image at short side 32, and its mirror; probabilities averaged",
        ),
        ("center", Preparation(fit="pad", crop=64), "center", "the whole image, padded to 64 x 64"),
        ("center", Preparation(fit="squash", crop=64), "center", "the whole image squashed to 64 x 64"),
    ],
)
def test_a_spelling_is_settled_and_said(text: str, preparation: Preparation, settled: str, sentence: str) -> None:
    protocol = protocol_named(text, preparation)
    assert str(protocol) == settled
    assert protocol.sentence(preparation) == sentence
    assert protocol_named(settled, preparation) == protocol


def test_views_are_counted() -> None:
    counts = {name: protocol.num_views for name, protocol in PROTOCOLS.items()}
    assert counts == {
        "center": 1, "flip": 2, "ten-crop": 10, "ten-crop-logits": 10, "multi-scale": 5, "multi-scale-flip": 10,
    }  # fmt: skip
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("centre", r"^protocol 'centre': unknown; did you mean center\?$"),
        ("ten-crop:a", r"^protocol ten-crop:a: wanted whole numbers of pixels up to 4096, such as ten-crop:224/256"),
        ("ten-crop:", r"^protocol ten-crop:: wanted whole numbers of pixels"),
        ("center:224/256/3", r"wanted one size or two, such as center:224/256, or center:320 \(320 from 320\)$"),
        (
            "center:50/40",
            r"^protocol center:50/40: cannot cut 50 from a short side of 40; give the larger number last$",
        ),
        ("multi-scale:32,32", r"^protocol multi-scale:32,32: a scale stands there twice; name each once$"),
        ("multi-scale:9999", r"up to 4096, such as multi-scale:224,256$"),
        ("multi-scale:0", r"wanted whole numbers of pixels"),
    ],
)
def test_a_wrong_spelling_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        protocol_named(text, CROPPED)
    assert "\n" not in str(refusal.value)


def test_a_protocol_larger_than_images_kept_as_they_are_is_refused() -> None:
    images = ArrayImages(noise(0, 32, 32)[None], torch.tensor([0]), CLASSES, "cifar10/test")
    with pytest.raises(InputError, match=r"ten-crop:224/256: wants a short side of 256 px, cifar10/test has 32 x 32"):
        measured(images, "ten-crop", AS_THEY_ARE)
    with pytest.raises(InputError, match=r"multi-scale:224,256,384,480,640: wants a short side of 224 px"):
        measured(images, "multi-scale", AS_THEY_ARE)
    assert measured(images, "ten-crop:28/32", AS_THEY_ARE).result.protocol == "ten-crop:28/32"


def test_dense_protocols_need_a_global_average_and_one_linear_layer() -> None:
    dense = protocol_named("multi-scale:224,320", CROPPED)
    for name in ("resnet50", "resnet20_cifar", "preresnet164_cifar", "densenet121", "resnext50_32x4d"):
        require_fitting(dense, architecture(name))
    with pytest.raises(
        InputError,
        match=r"^protocol multi-scale:224,320: vgg16_bn's head is no global average with one linear layer, so a larger "
        r"image is no dense evaluation of it; use center, flip or ten-crop$",
    ):
        require_fitting(dense, architecture("vgg16_bn"))
    layers = (("pool", GlobalAveragePool()), ("hidden", Linear(features=8)), ("fc", Linear(features=10)))
    with pytest.raises(InputError, match=r"resnet20_cifar's head is no global average with one linear layer"):
        require_fitting(dense, architecture("resnet20_cifar").replace(head=Sequence(parts=layers)))


def test_a_size_that_a_network_has_no_map_for_is_refused() -> None:
    cifar = architecture("resnet20_cifar")
    require_fitting(protocol_named("center:8", CROPPED), cifar)
    deep = architecture("vgg16_bn")
    with pytest.raises(InputError, match=r"^protocol center:8/8: vgg16_bn takes no 8 x 8: "):
        require_fitting(protocol_named("center:8", CROPPED), deep)
    assert with_input(cifar, (3, 8, 8)).input == (3, 8, 8)


def test_protocols_of_boxes_are_said_to_be_so() -> None:
    with pytest.raises(
        InputError, match=r"^protocol boxes:flip: is of networks that find boxes; wanted one of center, "
    ):
        protocol_named("boxes:flip", CROPPED)
