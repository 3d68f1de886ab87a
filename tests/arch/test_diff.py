import pytest

from deepres.arch.architecture import with_classes, with_input
from deepres.arch.catalogue.lookup import architecture, entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.diff import difference, what_shapes_tensors


@pytest.mark.parametrize(
    ("first", "second", "name", "values"),
    [
        ("resnet50", "resnet50_v1", "stage2.unit1.branch.conv1.stride", ("1", "2")),
        ("resnet50", "resnet50_blur4", "stem.pool.kernel", ("3", "2")),
        ("resnet101_v1", "resnet101_caffe", "stem.pool.padding", ("1", "0")),
        ("plain20_cifar", "resnet20_cifar", "stage1.unit1.parts", ("branch", "branch, shortcut")),
        ("resnet110_cifar", "resnet110_stochastic_cifar", "stage1.unit1.branch.drop_path", ("nothing", "drop_path")),
        ("resnet18", "resnet34", "stage1.unit3", ("nothing", "parallel")),
    ],
)
def test_the_first_difference_is_named_with_both_values(
    first: str, second: str, name: str, values: tuple[str, str]
) -> None:
    found = difference(architecture(first), architecture(second))
    assert found is not None
    assert (found.name, (found.first, found.second)) == (name, values)
    back = difference(architecture(second), architecture(first))
    assert back is not None
    assert {back.first, back.second} >= set(values) or back.name != name


def test_what_acts_in_training_only_is_no_difference() -> None:
    base = entry("resnet34").config
    assert isinstance(base, ResNetConfig)
    frozen = base.replace(style=base.style.replace(norm="frozen", dropout=0.3), drop_path=0.2, drop_path_per="sample")
    assert difference(base.architecture(), frozen.architecture()) is None
    assert (
        difference(base.architecture(), base.replace(drop_path=0.2).architecture()) is not None
    )  # scaled in evaluation
    assert difference(architecture("resnet34"), architecture("resnet34_b")) is None
    other = with_input(with_classes(architecture("resnet34"), 3), (3, 64, 64))
    assert difference(architecture("resnet34"), other) is None


def test_which_networks_have_the_same_tensors() -> None:
    assert what_shapes_tensors(architecture("resnet50")) == what_shapes_tensors(architecture("resnet50_v1"))
    assert what_shapes_tensors(architecture("resnet50")) == what_shapes_tensors(
        with_classes(architecture("resnet50_blur4"), 7)
    )
    assert what_shapes_tensors(architecture("plain20_cifar")) == what_shapes_tensors(architecture("resnet20_cifar"))
    assert what_shapes_tensors(architecture("resnet50_v1")) != what_shapes_tensors(
        architecture("resnet50_caffe")
    )  # its conv1 has a bias
    assert what_shapes_tensors(architecture("resnet18")) != what_shapes_tensors(architecture("resnet34"))
    assert what_shapes_tensors(architecture("resnext50_32x4d")) != what_shapes_tensors(architecture("resnet50"))
