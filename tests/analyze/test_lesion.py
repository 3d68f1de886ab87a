from collections.abc import Iterator
from math import comb, fsum

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from deepres.analyze.ablation import ByTask, shared
from deepres.analyze.lesion import Lesions, Ranking, delete_each, delete_random, kendall_tau, permute, ranking
from deepres.analyze.units import row_modules, without
from deepres.arch import architecture as spec
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.vgg import VggConfig
from deepres.arch.units import Mixing, Style
from deepres.base.errors import InputError
from deepres.base.records import parse
from deepres.data.images import ArrayImages, Batch
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.hooks import changed
from deepres.nn.init import initialise
from deepres.tasks.classification.metrics import interval
from deepres.tasks.classification.task import Classification

SMALL = {"input": (3, 8, 8), "num_classes": 4}


def _resnet(depths: tuple[int, ...] = (3, 2), shortcut: str = "A", **style: object) -> spec.Architecture:
    widths = (4, 8, 16)[: len(depths)]
    given = {"stem": "cifar", "stem_width": 4, "depths": depths, "widths": widths, "shortcut": shortcut}
    return ResNetConfig(name="small", **SMALL, **given, style=Style(**style)).architecture()


def _lived_in(description: spec.Architecture) -> ResidualNetwork:
    """With running statistics and offsets that are no longer what they began with."""
    network = build(description)
    initialise(network, 0)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, std=0.3)
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(16, *description.input))
    return network.eval()


def _batches(channels: int = 3, sizes: tuple[int, ...] = (5, 3)) -> list[Batch]:
    torch.manual_seed(2)
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return [
        Batch(torch.randn(n, channels, 8, 8), torch.randint(4, (n,)), torch.arange(end - n, end))
        for n, end in zip(sizes, ends, strict=True)
    ]


def _scores(network: torch.nn.Module, batches: list[Batch]) -> dict[str, object]:
    """Slowly and alone: image by image."""
    wrong, losses = 0, []
    with torch.inference_mode():
        for batch in batches:
            for z, label in zip(network(batch.images).double(), batch.targets.tolist(), strict=True):
                wrong += int(z.argmax()) != label
                losses.append(float(-z[None].log_softmax(1)[0, label]))
    low, high = interval(wrong, len(losses))
    return {
        "num_wrong": wrong,
        "error": wrong / len(losses),
        "error_low": low,
        "error_high": high,
        "cross_entropy": fsum(losses) / len(losses),
    }


def _edited(network: ResidualNetwork, name: str) -> ResidualNetwork:
    """Another network, described without that part, with the weights that are left."""
    other = build(spec.without(network.description, name))
    initialise(other, 9)
    left = other.state_dict()
    other.load_state_dict({key: value for key, value in network.state_dict().items() if key in left})
    return other.eval()


def _facts(found: object) -> dict[str, object]:
    keys = ("num_wrong", "error", "error_low", "error_high", "cross_entropy")
    return {key: getattr(found, key) for key in keys}


@pytest.mark.medium
@pytest.mark.parametrize("order", ["original", "pre", "bn_after_add"])
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_deleting_a_unit_equals_the_network_described_without_its_branch(order: str, shortcut: str) -> None:
    network, batches = _lived_in(_resnet(shortcut=shortcut, order=order)), _batches()
    found = delete_each(network, batches)
    assert _facts(found.intact) == _scores(network, batches)
    assert found.units == spec.unit_names(network.description)
    assert [deletion.units for deletion in found.deletions] == [(name,) for name in found.units]
    for deletion in found.deletions:
        assert _facts(deletion) == _scores(_edited(network, f"{deletion.units[0]}.branch"), batches)
    assert len({deletion.cross_entropy for deletion in found.deletions}) == len(found.units)


@pytest.mark.medium
def test_a_plain_layer_is_left_out_whole_and_one_that_changes_the_shape_stays() -> None:
    config = VggConfig(name="plain", **SMALL, depths=(3, 2), widths=(4, 8), hidden=())
    network, batches = _lived_in(config.architecture()), _batches()
    found = delete_each(network, batches)
    assert (found.units, found.fixed) == (("stage1.unit1", "stage1.unit2", "stage2.unit2"), ("stage2.unit1",))
    for deletion in found.deletions:
        assert _facts(deletion) == _scores(_edited(network, deletion.units[0]), batches)
    with pytest.raises(
        InputError, match=r"plain: stage2\.unit1 turns \(4, 4, 4\) into \(8, 4, 4\) and has no shortcut"
    ):
        delete_each(network, batches, units=["stage2.unit1"])


def test_a_dense_unit_adds_zeros_instead_of_features() -> None:
    config = DenseNetConfig(name="dense", **SMALL, stem="cifar", stem_width=4, depths=(2, 2), growth=3)
    network, batches = _lived_in(config.architecture()), _batches()
    found = delete_each(network, batches)
    assert len(found.deletions) == 4
    for deletion in found.deletions:
        with changed(network, {f"{deletion.units[0]}.branch": torch.zeros_like}):
            assert _facts(deletion) == _scores(network, batches)


def test_a_highway_unit_has_its_gate_closed() -> None:
    network, batches = (
        _lived_in(HighwayConfig(name="way", **SMALL, depths=(2,), widths=(4,)).architecture()),
        _batches(),
    )
    found = delete_each(network, batches)
    for deletion in found.deletions:
        with changed(network, {f"{deletion.units[0]}.gate": torch.zeros_like}):
            assert _facts(deletion) == _scores(network, batches)


@pytest.mark.medium
def test_under_a_shortcut_only_gate_the_gated_shortcut_is_left() -> None:
    network, batches = _lived_in(_resnet(mixing=Mixing(gate="shortcut", gate_bias=-1))), _batches()
    found = delete_each(network, batches)
    for deletion in found.deletions:
        with changed(network, {f"{deletion.units[0]}.branch": torch.zeros_like}):
            assert _facts(deletion) == _scores(network, batches)


@pytest.mark.medium
def test_lesions_share_the_pass_up_to_their_unit() -> None:
    network = _lived_in(_resnet((3, 2)))
    calls: list[str] = []

    def noted(name: str, given: torch.Tensor) -> torch.Tensor:
        calls.append(name)
        return given

    names = spec.unit_names(network.description)
    with changed(network, {f"{n}.branch": lambda given, n=n: noted(n, given) for n in names}):
        found = delete_each(network, _batches(sizes=(4,)))
    n = len(names)
    assert (found.units_run, found.units_alone) == (n * (n + 1) // 2, n * n)
    assert len(calls) == found.units_run


@pytest.mark.medium
def test_of_54_units_about_half_of_the_evaluations_are_saved() -> None:
    row = row_modules(build(architecture("preresnet110_cifar")))
    units = [number for number, place in enumerate(row) if place.passable]
    routes = [tuple((number, number != cut) for number in range(len(row))) for cut in [-1, *units]]
    found = shared(row, routes)
    assert (len(units), found.run, found.alone) == (54, 1485, 2916)


@pytest.mark.medium
def test_random_deletions_are_those_units_left_out_and_repeat_with_their_seed() -> None:
    network, batches = _lived_in(_resnet()), _batches()
    found = delete_random(network, batches, [1, 3], draws=4, seed=5)
    assert [len(deletion.units) for deletion in found.deletions] == [1] * 4 + [3] * 4
    for deletion in found.deletions:
        assert list(deletion.units) == [name for name in found.units if name in deletion.units]
        with without(network, deletion.units):
            assert _facts(deletion) == _scores(network, batches)
    assert found == delete_random(network, batches, [1, 3], draws=4, seed=5)
    assert found.deletions[4:] == delete_random(network, batches, [3], draws=4, seed=5).deletions
    assert found.deletions != delete_random(network, batches, [1, 3], draws=4, seed=6).deletions
    assert parse(Lesions, found.to_json(), "lesions") == found


@pytest.mark.medium
def test_each_subset_is_drawn_about_equally_often() -> None:
    found = delete_random(_lived_in(_resnet((2, 2))), _batches(sizes=(1,)), [2], draws=300)
    counts = [sum(deletion.units == cut for deletion in found.deletions) for cut in {d.units for d in found.deletions}]
    assert len(counts) == comb(4, 2)
    assert max(counts) < 80 > 20 < min(counts) + 1


@pytest.mark.medium
def test_exchanged_units_take_all_that_is_theirs_along() -> None:
    network, batches = _lived_in(_resnet((3, 3))), _batches()
    found = permute(network, batches, [0, 1, 4], draws=3, seed=3)
    assert [p.num_swaps for p in found.permutations] == [0] * 3 + [1] * 3 + [4] * 3
    for permutation in found.permutations:
        state = network.state_dict()
        for place, unit in permutation.moved:
            assert "stage2.unit1" not in (place, unit)
            assert place.split(".")[0] == unit.split(".")[0]
            for key, value in network.state_dict().items():
                if key.startswith(f"{unit}."):
                    state[place + key.removeprefix(unit)] = value.clone()
        other = build(network.description)
        initialise(other, 9)
        other.load_state_dict(state)
        assert _facts(permutation) == _scores(other.eval(), batches)
        moved = dict(permutation.moved)
        order = [found.units.index(moved.get(name, name)) for name in found.units]
        assert permutation.kendall_tau == pytest.approx(kendalltau(range(6), order).statistic)
    assert all(_facts(p) == _facts(found.intact) for p in found.permutations[:3])
    assert {len(p.moved) for p in found.permutations[3:6]} == {2}
    assert found == permute(network, batches, [0, 1, 4], draws=3, seed=3)


def test_units_of_two_stages_never_change_places_though_their_shapes_are_equal() -> None:
    config = HighwayConfig(name="way", **SMALL, layer="linear", depths=(2, 2), widths=(4, 4))
    found = permute(_lived_in(config.architecture()), _batches(sizes=(1,)), [1], draws=30)
    pairs = {frozenset(permutation.moved) for permutation in found.permutations}
    assert len(pairs) == 2
    assert all(place.split(".")[0] == unit.split(".")[0] for pair in pairs for place, unit in pair)


@pytest.mark.medium
def test_a_task_counts_the_same_mistakes_by_whole_passes() -> None:
    network, batches = _lived_in(_resnet((3, 3))), _batches()
    labels = torch.cat([batch.targets for batch in batches])
    images = ArrayImages(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), labels, ("a", "b", "c", "d"), "noise")
    before, seen = _condition(network), list[tuple[int, int]]()
    by = ByTask(network, images, Classification())
    one = delete_each(network, batches, scoring=by, on_progress=lambda *done: seen.append(done))
    assert _errors(one) == _errors(delete_each(network, batches))
    assert (one.units_run, one.figure, one.intact.cross_entropy) == (one.units_alone, "error", None)
    assert (seen[0], seen[-1]) == ((5, 56), (56, 56))
    other = permute(network, batches, [1, 3], draws=2, scoring=by)
    assert _errors(other) == _errors(permute(network, batches, [1, 3], draws=2))
    assert _condition(network) == before
    with pytest.raises(InputError, match="small: its answers have no cross-entropy, only error; rank by error"):
        ranking(one)
    assert ranking(one, by="error").cost == tuple(sorted(d.error - one.intact.error for d in one.deletions))


def _errors(found: Lesions) -> list[tuple[float, float, float]]:
    every = (found.intact, *found.deletions, *found.permutations)
    return [(one.error, one.error_low, one.error_high) for one in every]


@pytest.mark.medium
@given(st.permutations(range(7)))
def test_kendalls_tau_is_scipys(order: list[int]) -> None:
    assert kendall_tau(order) == pytest.approx(kendalltau(range(7), order).statistic, abs=1e-12)


@pytest.mark.medium
def test_a_ranking_begins_with_the_cheapest_unit() -> None:
    found = delete_each(_lived_in(_resnet()), _batches())
    ranked = ranking(found)
    costs = {d.units[0]: d.cross_entropy - found.intact.cross_entropy for d in found.deletions}
    assert sorted(ranked.units) == sorted(found.units)
    assert list(ranked.cost) == sorted(costs.values())
    assert all(costs[unit] == cost for unit, cost in zip(ranked.units, ranked.cost, strict=True))
    assert parse(Ranking, ranked.to_json(), "ranking") == ranked
    flat = found.replace(deletions=tuple(d.replace(error=0.5) for d in found.deletions))
    assert ranking(flat, by="error").units == tuple(reversed(found.units))
    with pytest.raises(InputError, match="small: wanted deletions of one unit each; make them with delete_each"):
        ranking(delete_random(_lived_in(_resnet()), _batches(), [2], draws=1))


class _TornError(Exception):
    pass


def _torn(batches: list[Batch]) -> Iterator[Batch]:
    yield from batches
    raise _TornError


def _condition(network: ResidualNetwork) -> tuple[object, ...]:
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
    forwards = [name for name, module in network.named_modules() if "forward" in vars(module)]
    modes = [module.training for module in network.modules()]
    flags = [(p.requires_grad, p.grad is None) for p in network.parameters()]
    values = {key: value.tolist() for key, value in network.state_dict().items()}
    return hooks, forwards, modes, flags, values, torch.get_rng_state().tolist()


@pytest.mark.medium
def test_the_network_is_left_as_it_was_also_after_an_exception() -> None:
    network = _lived_in(_resnet()).train()
    network.get_submodule("stage1").eval()
    batches = _batches()
    before = _condition(network)
    delete_each(network, batches)
    permute(network, batches, [2], draws=2)
    with pytest.raises(_TornError):
        delete_random(network, _torn(batches), [2], draws=2)
    with pytest.raises(_TornError), without(network, ["stage2.unit1"]):
        raise _TornError
    assert _condition(network) == before


@pytest.mark.medium
def test_progress_counts_lesions_times_batches() -> None:
    seen: list[tuple[int, int]] = []
    delete_each(_lived_in(_resnet()), _batches(), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(1, 13)]


@pytest.mark.medium
def test_what_cannot_be_done_is_said() -> None:
    network, batches = _lived_in(_resnet()), _batches()
    with pytest.raises(InputError, match=r"small: unit 'stage1\.unit9': unknown; did you mean stage1\.unit"):
        delete_each(network, batches, units=["stage1.unit9"])
    with pytest.raises(InputError, match="counts: 6 of the 5 units of small; wanted 1 to all"):
        delete_random(network, batches, [2, 6])
    with pytest.raises(InputError, match="draws: 0; wanted 1 or more"):
        delete_random(network, batches, [2], draws=0)
    with pytest.raises(InputError, match="swaps: -1; wanted 0 or more"):
        permute(network, batches, [-1])
    with pytest.raises(InputError, match="small: no two units of a stage keep one shape"):
        permute(_lived_in(_resnet((1, 2))), batches, [1])
    with pytest.raises(InputError, match="small: no unit has a shortcut or keeps its shape; none can be left out"):
        delete_each(_lived_in(_resnet((1, 1), shortcut="none").replace(body=_strided())), batches)
    with pytest.raises(InputError, match="evaluation: no images were given"):
        delete_each(network, [])


def _strided() -> object:
    return _resnet((1, 1), shortcut="none").body[:1] + _resnet((1, 1), shortcut="none").body[2:]


def test_the_mean_loss_is_torchs() -> None:
    network, (batch,) = _lived_in(_resnet()), _batches(sizes=(8,))
    with torch.inference_mode():
        wanted = F.cross_entropy(network(batch.images).double(), batch.targets)
    assert delete_each(network, [batch]).intact.cross_entropy == pytest.approx(float(wanted), rel=1e-12)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("resnet20_cifar", ("stage2.unit1", "stage3.unit1")),
        ("vgg15_cifar", ()),  # pools change the shape, and stand beside the units
        ("densenet40_k12_cifar", ()),  # units add features to those before
    ],
)
def test_units_that_change_the_shape_are_named(model: str, expected: tuple[str, ...]) -> None:
    network = build(architecture(model))
    initialise(network, 0)
    batch = Batch(torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    first = [place.name for place in row_modules(network) if place.passable][-1:]
    assert delete_each(network, [batch], units=first).shaping == expected
