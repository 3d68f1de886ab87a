import pytest

from deepres.arch.algebra import Parallel, Sequence, at, children, shape, substitute
from deepres.arch.architecture import Architecture, unit_names, with_classes, without
from deepres.arch.atoms import Activation, Conv, Identity, Linear, Norm, PadChannels
from deepres.arch.catalogue.lookup import architecture
from deepres.base.errors import InputError
from deepres.base.records import parse


def test_shapes_that_do_not_meet_are_refused_with_name_shapes_and_remedy() -> None:
    tree = architecture("resnet50").tree
    wrong = substitute(tree, "stage2.unit1.shortcut", Identity())
    message = (
        r"stage2\.unit1: shortcut gives \(256, 56, 56\), branch gives \(512, 28, 28\); use a projection shortcut, "
        r"or a stride and a width that keep the input's \(256, 56, 56\)"
    )
    with pytest.raises(InputError, match=message):
        shape(wrong, (3, 224, 224))


@pytest.mark.parametrize(
    ("node", "given", "message"),
    [
        (Conv(channels=8, kernel=3, groups=3), (4, 8, 8), "x: 3 groups divide 4 input and 8 output channels unevenly"),
        (
            Conv(channels=8, kernel=5),
            (4, 3, 3),
            r"x: a window of 5 does not fit \(4, 3, 3\) with padding 0; use a larger",
        ),
        (Conv(channels=8, kernel=1), (4,), r"x: a convolution takes \(C, H, W\), given \(4,\)"),
        (Linear(features=3), (4, 1, 1), r"x: a linear layer takes \(C,\), given \(4, 1, 1\); pool before it"),
        (PadChannels(channels=4), (8, 2, 2), "x: an option-A shortcut cannot go from 8 to 4 channels"),
    ],
)
def test_an_atom_refuses_what_it_cannot_take(node: Conv, given: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        shape(node, given, "x")


@pytest.mark.parametrize(
    ("json", "message"),
    [
        ('{"kind": "sequence", "parts": {}}', "a sequence without parts"),
        ('{"kind": "parallel", "parts": {"act": {"kind": "identity"}}}', "a part cannot be called 'act'"),
        ('{"kind": "sequence", "parts": {"Conv": {"kind": "identity"}}}', "should match pattern"),
        ('{"kind": "sequence", "parts": {"a": {"kind": "con", "channels": 3}}}', "found using 'kind'"),
        (
            '{"kind": "sequence", "parts": {"a": {"kind": "conv", "channels": 0, "kernel": 3}}}',
            "channels: input should be",
        ),
    ],
)
def test_a_wrong_description_is_one_line(json: str, message: str) -> None:
    kind = Parallel if '"parallel"' in json else Sequence
    with pytest.raises(InputError, match=message) as caught:
        parse(kind, json, "here")
    assert "\n" not in str(caught.value)


def test_two_parts_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two parts are called 'a'"):
        Sequence(parts=(("a", Identity()), ("a", Identity())))


def test_concatenation_adds_channels() -> None:
    side_by_side = Parallel(parts={"a": Conv(channels=3, kernel=1), "b": Identity()}, join="concat", act=Activation())
    assert shape(side_by_side, (2, 5, 5)) == (5, 5, 5)


def test_substitution_touches_nothing_else() -> None:
    tree = architecture("resnet20_cifar").tree
    changed = substitute(tree, "stage1.unit2.branch.norm1", Norm(eps=1e-3))
    assert at(changed, "stage1.unit2.branch.norm1") == Norm(eps=1e-3)
    assert substitute(changed, "stage1.unit2.branch.norm1", Norm()) == tree


def test_a_unit_without_its_branch_is_its_shortcut() -> None:
    unit = at(architecture("resnet20_cifar").tree, "stage2.unit1")
    deleted = substitute(unit, "branch", None)
    assert [name for name, _ in children(deleted)] == ["pre", "shortcut", "act"]
    assert shape(deleted, (16, 32, 32)) == (32, 16, 16)


def test_a_shorter_network_is_an_edit_of_a_longer_one() -> None:
    longer = architecture("resnet20_cifar")
    shorter = without(longer, "stage1.unit2")
    assert len(unit_names(shorter)) == len(unit_names(longer)) - 1 == 8


def test_dropping_what_changes_the_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"stage2\.unit2: shortcut gives .* use a projection shortcut"):
        without(architecture("resnet50"), "stage2.unit1")


def test_a_misspelt_part_offers_the_nearest() -> None:
    with pytest.raises(InputError, match=r"resnet20_cifar: part 'stage1.unit9': unknown; did you mean stage1.unit"):
        without(architecture("resnet20_cifar"), "stage1.unit9")


def test_a_negative_number_of_classes_is_refused() -> None:
    with pytest.raises(InputError, match="num_classes: given -1; wanted a whole number, 0 or more"):
        with_classes(architecture("resnet18"), -1)


def test_a_description_cannot_be_changed_in_place() -> None:
    description: Architecture = architecture("resnet18")
    with pytest.raises(ValueError, match="frozen"):
        description.name = "x"
    assert hash(description) == hash(architecture("resnet18"))
