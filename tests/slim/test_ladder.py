"""Units left out one by one: each time the one whose going costs least, ranked anew; of any task's loss."""

import pytest
import torch

from deepres.analyze.lesion import delete_each, ranking
from deepres.analyze.units import without
from deepres.arch.architecture import Architecture
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.spare import spare_units
from deepres.base.errors import InputError, RunError
from deepres.data.images import Batch
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.init import initialise
from deepres.nn.weights.part import part_of
from deepres.slim.ladder import most, next_rung, require_few
from deepres.tasks.kinds import task_named
from deepres.tasks.task import Learning


def description(depths: tuple[int, ...] = (3, 3), classes: int = 4) -> Architecture:
    given = {"stem": "cifar", "stem_width": 4, "widths": (4, 8), "shortcut": "A", "input": (3, 8, 8)}
    return ResNetConfig(name="small", depths=depths, num_classes=classes, **given).architecture()


@pytest.fixture
def network() -> ResidualNetwork:
    made = build(description())
    initialise(made, 3)
    torch.manual_seed(0)
    made.train()
    with torch.no_grad():
        for _ in range(4):
            made(torch.randn(32, 3, 8, 8))
    return made.eval()


def batches(targets: torch.Tensor) -> list[Batch]:
    torch.manual_seed(2)
    images = torch.randn(len(targets), 3, 8, 8)
    return [Batch(images[at], targets[at], at) for at in torch.arange(len(targets)).split(9)]


CLASSES = torch.arange(20) % 4


@pytest.mark.medium
def test_the_first_to_go_is_the_first_of_the_lesions_ranking(network: ResidualNetwork) -> None:
    loss = task_named("classification").loss(Learning())
    rung = next_rung(network, batches(CLASSES), loss)
    units = spare_units(network.description)
    found = ranking(delete_each(network, batches(CLASSES), units=units))
    assert (rung.unit, *(unit for unit, _ in rung.ranked)) == found.units
    costs = [rung.after, *(after for _, after in rung.ranked)]
    assert [cost - rung.before for cost in costs] == pytest.approx(list(found.cost), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("multilabel", (torch.rand(20, 4, generator=torch.Generator().manual_seed(1)) < 0.4)),
        ("classification", CLASSES),
    ],
)
@pytest.mark.medium
def test_the_cost_is_the_tasks_own_loss_of_the_network_without_the_unit(
    network: ResidualNetwork, kind: str, targets: torch.Tensor
) -> None:
    loss, given = task_named(kind).loss(Learning()), batches(targets)
    rung = next_rung(network, given, loss)
    for unit, after in ((rung.unit, rung.after), *rung.ranked):
        with torch.inference_mode(), without(network, [unit]):
            slow = sum(float(loss(network, batch)[0]) * len(batch) for batch in given) / len(targets)
        assert after == pytest.approx(slow, rel=1e-5)
    assert rung.after == min(rung.after, *(after for _, after in rung.ranked))


@pytest.mark.medium
def test_each_rung_is_ranked_on_what_is_left(network: ResidualNetwork) -> None:
    loss, gone, before = task_named("classification").loss(Learning()), (), None
    assert most(network) == 4
    for _ in range(4):
        rung = next_rung(part_of(network, gone), batches(CLASSES), loss)
        assert before is None or rung.before == pytest.approx(before, rel=1e-5)  # what the last one made of it
        gone, before = (*gone, rung.unit), rung.after
    with pytest.raises(InputError, match=r"^small: no unit is left that can be left out; drop fewer$"):
        next_rung(part_of(network, gone), batches(CLASSES), loss)
    require_few(network, 4)
    with pytest.raises(InputError, match=r"^--drop-blocks 5: small can do without 4 units at most"):
        require_few(network, 5)


@pytest.mark.medium
def test_progress_counts_lesions_times_batches_and_broken_weights_are_told(network: ResidualNetwork) -> None:
    seen = []
    loss = task_named("classification").loss(Learning())
    next_rung(network, batches(CLASSES), loss, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3 * 6, 3 * 6)
    with torch.no_grad():
        network.head.fc.bias.fill_(torch.nan)  # type: ignore[union-attr]
    with pytest.raises(RunError, match="loss on training images is nan"):
        next_rung(network, batches(CLASSES), loss)
