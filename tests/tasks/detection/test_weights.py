"""Weights into a detector: its own, torchvision's, a classification network's; classes by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import config, network

from deepres.arch.architecture import with_classes
from deepres.arch.catalogue.lookup import architecture, with_eps
from deepres.arch.detector import frozen
from deepres.arch.regions import MaskHead
from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.weights.files import read_stored
from deepres.nn.weights.formats import Checkpoint
from deepres.tasks.detection import names_torchvision
from deepres.tasks.detection.detector import DetectorNetwork, create
from deepres.tasks.detection.weights import OF_CLASSES, load_weights, recognised


def _stored(net: DetectorNetwork, classes: tuple[str, ...] = ()) -> Checkpoint:
    return Checkpoint("w", net.state_dict(), net.description, classes)


def _same(first: DetectorNetwork, second: DetectorNetwork, but: tuple[str, ...] = ()) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) != name.startswith(but or ("-",)) for (name, one), other in pairs if one.dim())


def _trained(seed: int = 5) -> DetectorNetwork:
    net = network(seed=seed)
    dice = torch.Generator().manual_seed(seed)
    for tensor in net.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape, generator=dice) + 0.1)
    return net


def _trained_with_masks() -> DetectorNetwork:
    net = network(masks=MaskHead(widths=(8,), upsampled=8))
    for name, tensor in _trained().state_dict().items():
        net.state_dict()[name].copy_(tensor)
    return net


def _without_masks(source: DetectorNetwork) -> DetectorNetwork:
    net = network()
    net.load_state_dict({name: tensor for name, tensor in source.state_dict().items() if not name.startswith("masks.")})
    return net


@pytest.mark.medium
def test_a_detectors_weights_fill_it_bitwise() -> None:
    source, net = _trained(), network()
    assert load_weights(net, _stored(source, ("a", "b", "c")), ("a", "b", "c")) == ""
    assert _same(source, net)
    assert load_weights(network(), _stored(source)) == ""


@pytest.mark.medium
@pytest.mark.parametrize("classes", [("a", "b", "c"), ("c", "a", "b"), ("d", "e", "f")])
def test_a_detector_with_masks_fills_one_without(classes: tuple[str, ...]) -> None:
    source, net = _trained_with_masks(), network()
    plain = network()
    load_weights(plain, _stored(_without_masks(source), ("a", "b", "c")), classes)
    told = load_weights(net, _stored(source, ("a", "b", "c")), classes)
    assert told.endswith("what draws masks in w is left out")
    assert _same(net, plain)


@pytest.mark.medium
def test_a_detector_without_masks_fills_all_but_the_head_that_draws_them() -> None:
    source, net = _trained(), network(masks=MaskHead(widths=(8,), upsampled=8))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items() if name.startswith("masks.")}
    told = load_weights(net, _stored(source, ("a", "b", "c")), ("a", "b", "c"))
    assert told == "what draws masks is new: w has none"
    state = net.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in (source.state_dict() | before).items())
    assert before


@pytest.mark.medium
def test_the_same_classes_in_another_order_are_matched_by_name() -> None:
    source, net = _trained(), network()
    told = load_weights(net, _stored(source, ("a", "b", "c")), ("c", "a", "b"))
    assert told == "the classes of the weights are put in the order of the images', by name"
    assert _same(source, net, but=OF_CLASSES)
    columns = torch.tensor([0, 3, 1, 2])
    for name, each in zip(OF_CLASSES[:2], (1, 4), strict=True):
        given = source.state_dict()[f"{name}weight"].view(4, each, -1)
        assert torch.equal(net.state_dict()[f"{name}weight"].view(4, each, -1), given[columns])


@pytest.mark.parametrize(
    ("stored", "wanted", "fields", "told"),
    [
        (("a", "b", "c"), ("a", "b", "d"), {}, "the weights know a, b, c, wanted a, b, d"),
        (("a", "b", "c"), ("a",), {}, "the weights know a, b, c, wanted a"),
        ((), ("a", "b", "c"), {}, "w does not name its 3 classes"),
        (("a", "b", "c"), ("a", "b", "c"), {"new_head": True}, "are new, as asked"),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_layers_of_other_classes_are_new_and_said_to_be(
    stored: tuple[str, ...], wanted: tuple[str, ...], fields: dict[str, bool], told: str
) -> None:
    source, net = _trained(), create(config(num_classes=len(wanted)).architecture(), seed=9)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert told in load_weights(net, _stored(source, stored), wanted, **fields)
    for name, tensor in net.state_dict().items():
        new = name.startswith(OF_CLASSES)
        assert torch.equal(tensor, before[name] if new else source.state_dict()[name]), name


@pytest.mark.medium
def test_weights_of_another_number_of_classes_or_another_detector_are_refused() -> None:
    with pytest.raises(InputError, match="these weights know 3 classes, the detector has 2; build it with as many"):
        load_weights(create(config(num_classes=2).architecture()), _stored(_trained()))
    other = create(config().replace(regions=config().regions.replace(aligned=False)).architecture())
    with pytest.raises(InputError, match=r"regions\.aligned is True there, False here"):
        load_weights(other, _stored(_trained()))
    broken = _stored(_trained())
    state = {name: tensor for name, tensor in broken.tensors.items() if name != "neck.output2.bias"}
    with pytest.raises(InputError, match="1 missing"):
        load_weights(network(), Checkpoint("w", state, broken.description))


@pytest.mark.slow
def test_a_classification_networks_weights_fill_the_body_and_its_statistics_stay(tmp_path: Path) -> None:
    description = with_classes(architecture("resnet18"), 7)
    source = create_model(description, seed=3)
    for name, tensor in source.state_dict().items():
        if "running_var" in name or name.endswith("norm1.weight"):
            tensor.uniform_(0.5, 1.5)
    from deepres.arch.catalogue.lookup import detector_entry

    entry = detector_entry("fasterrcnn_resnet18_fpn")
    assert entry is not None
    small = entry.config.replace(neck_channels=8, regions=entry.config.regions.replace(widths=(8,), pool=2))
    for said, variant in ((description, None), (None, "resnet18")):
        net = create(small.architecture())
        assert (
            load_weights(net, Checkpoint("w", source.state_dict(), said), variant=variant)
            == "neck, proposals, regions are new; w fills the body"
        )
        state = source.state_dict()
        assert all(torch.equal(t, state[name]) for name, t in net.state_dict().items() if name.startswith("st"))
    with pytest.raises(InputError, match="these tensors fit resnet18, resnet18_blur4 alike"):
        load_weights(net, Checkpoint("w", source.state_dict(), None))
    other = create(small.replace(backbone=small.backbone.replace(stem="deep")).architecture())
    with pytest.raises(InputError):
        load_weights(other, Checkpoint("w", source.state_dict(), description))


@pytest.mark.slow
def test_a_file_of_torchvisions_is_recognised_by_its_names(tmp_path: Path) -> None:
    from deepres.arch.catalogue.lookup import detector_entry

    entry = detector_entry("fasterrcnn_resnet18_fpn")
    assert entry is not None
    there = entry.config.replace(num_classes=2, regions=entry.config.regions.replace(aligned=False))
    source = create(there.architecture(), seed=4)
    path = tmp_path / "theirs.safetensors"
    save_file(names_torchvision.to_theirs(source.state_dict(), source.description), path)
    stored = recognised(read_stored(path))
    assert stored.description == source.description
    assert stored.classes == ()
    net = create(there.architecture())
    assert load_weights(net, read_stored(path)) == ""
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), source.state_dict().values(), strict=True))
    zero = create(there.replace(backbone=frozen(there.backbone, eps=0.0)).architecture())
    with pytest.raises(InputError, match=r"stem\.norm\.eps is 1e-05 there, 0\.0 here"):
        load_weights(zero, read_stored(path))


@pytest.mark.medium
def test_the_user_says_the_eps_that_bare_weights_do_not() -> None:
    from deepres.arch.catalogue.lookup import detector_config, detector_entry

    source = _trained()
    zero = create(with_eps(source.description, 0.0))
    with pytest.raises(InputError, match=r"stem\.norm\.eps is 1e-05 there, 0\.0 here"):
        load_weights(zero, _stored(source))
    assert load_weights(zero, _stored(source), variant="fasterrcnn_resnet50_fpn+backbone.style.eps=0") == ""
    with pytest.raises(InputError, match="weights of a detector, and resnet18 is none; wanted such as fasterrcnn"):
        load_weights(zero, _stored(source), variant="resnet18")
    entry = detector_entry("fasterrcnn_resnet18_fpn")
    assert entry is not None
    there = entry.config.replace(num_classes=4, regions=entry.config.regions.replace(aligned=False))
    assert detector_config(there.architecture()) == there
    said = detector_config(with_eps(there.architecture(), 0.0))
    assert said is not None
    assert said.backbone.style.eps == 0
    assert detector_config(source.description) is None
    assert detector_config(there.architecture().replace(backbone_name="x")) is None
