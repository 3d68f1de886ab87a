import pytest

from deepres.arch.catalogue.lookup import CATALOGUE, architecture
from deepres.arch.readings.segments import CheckpointPlan, chain, segments


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_the_links_fit_together_and_end_in_the_logits(name: str) -> None:
    description = architecture(name)
    links = chain(description)
    assert links[0].given == description.input
    assert links[-1].gives == (description.num_classes,)
    assert len({link.name for link in links}) == len(links)
    held, flowing = 0, description.input
    for link in links:
        if link.opens:
            held = flowing[0]
        assert link.given == flowing, link.name
        flowing = (held + link.gives[0], *link.gives[1:]) if link.closes else link.gives


def test_units_are_links_and_dense_units_are_their_branches_layers() -> None:
    names = [link.name for link in chain(architecture("resnet20_cifar"))]
    assert names[:4] == ["stem.conv", "stem.norm", "stem.act", "stage1.unit1"]
    assert len(names) == 3 + 9 + 2
    dense = chain(architecture("densenet40_k12_cifar"))
    assert [(link.name, link.opens, link.closes) for link in dense[:4]] == [
        ("stem.conv", False, False),
        ("stage1.unit1.branch.norm1", True, False),
        ("stage1.unit1.branch.act1", False, False),
        ("stage1.unit1.branch.conv1", False, True),
    ]


def test_a_plan_cuts_the_chain_and_leaves_the_rest_in_single_steps() -> None:
    net = architecture("resnet20_cifar")
    segment = ("stage1.unit1", "stage1.unit2", "stage1.unit3", "stage2.unit1")
    cut = segments(net, CheckpointPlan((segment,)))
    assert [link.name for step in cut for link in step.links] == [link.name for link in chain(net)]
    assert [len(step.links) for step in cut if step.again] == [4]
    assert all(len(step.links) == 1 for step in cut if not step.again)


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (("stage1.unit4",), "resnet20_cifar: no layer 'stage1.unit4' begins a segment; plan for this network"),
        (("stage1.unit1", "stage2.unit1"), r"stage1.unit1 … stage2.unit1 is no run of its layers"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(segment: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segments(architecture("resnet20_cifar"), CheckpointPlan((segment,)))


def test_a_segment_cannot_run_across_a_dense_units_end() -> None:
    names = tuple(link.name for link in chain(architecture("densenet40_k12_cifar")))
    with pytest.raises(ValueError, match="is no run of its layers"):
        segments(architecture("densenet40_k12_cifar"), CheckpointPlan((names[1:7],)))
