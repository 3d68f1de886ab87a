import copy
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deepres.arch.algebra import shape
from deepres.arch.atoms import ColumnMean as ColumnMeanAtom
from deepres.arch.families.fractal import FractalConfig
from deepres.arch.readings.paths import path_lengths
from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.layers import ColumnMean


def _config(**fields: object) -> FractalConfig:
    small = {"name": "x", "input": (3, 8, 8), "num_classes": 3, "widths": (4,), "dropout": (0,)}
    return build(FractalConfig, {**small, **fields}, "x")


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_column_c_has_two_to_the_c_minus_one_layers(columns: int) -> None:
    lengths = path_lengths(_config(columns=columns).architecture(), of="layers")
    assert (min(lengths), max(lengths)) == (1, 2 ** (columns - 1))
    assert lengths[max(lengths)] == 1


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_paths_are_the_sum_of_one_layer_and_every_pair_of_the_shallower_fractals(columns: int) -> None:
    expected = Counter({1: 1})
    for _ in range(columns - 1):
        pairs: Counter[int] = Counter({1: 1})
        for a, m in expected.items():
            for b, n in expected.items():
                pairs[a + b] += m * n
        expected = pairs
    assert path_lengths(_config(columns=columns).architecture(), of="layers") == dict(sorted(expected.items()))


def _columns(net: nn.Module, name: str, first: int, last: int, z: Tensor) -> list[Tensor]:
    """The ends of columns `first` to `last` before they meet: f_{C+1}(z) is layer(z) beside f_C(mean f_C(z))."""
    if first == last:
        return [net.get_submodule(name)(z)]
    rest = f"{name}.{'deeper' if first + 1 < last else f'column{last}'}"
    middle = torch.stack(_columns(net, f"{rest}.first", first + 1, last, z)).mean(0)
    deeper = _columns(net, f"{rest}.second", first + 1, last, middle)
    return [net.get_submodule(f"{name}.column{first}")(z), *deeper]


@given(columns=st.integers(1, 4), seed=st.integers(0, 999))
@settings(max_examples=12, deadline=None)
@pytest.mark.medium
def test_in_evaluation_a_block_is_the_flat_mean_of_its_pooled_columns(columns: int, seed: int) -> None:
    net = (
        create_model(_config(columns=columns, local_drop=0.5, global_share=0.5).architecture(), seed=seed)
        .double()
        .eval()
    )
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ends = _columns(net, "stage1.fractal", 1, columns, x)
    assert len(ends) == columns
    expected = sum(nn.functional.max_pool2d(end, 2) for end in ends) / columns
    torch.testing.assert_close(net.get_submodule("stage1")(x), expected, rtol=0, atol=1e-12)


def _live(net: ResidualNetwork, x: Tensor) -> set[str]:
    """The convolutions that the output of one training pass depends on."""
    net.zero_grad()
    net(x).square().sum().backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if name.endswith("conv.weight")}
    return {name for name, grad in gradients.items() if grad is not None and grad.abs().sum() > 0}


def _by_column(net: ResidualNetwork, columns: int) -> list[set[str]]:
    names = [name for name, _ in net.named_parameters() if name.endswith("conv.weight")]
    deepest = {n for n in names if f"column{columns}." in n}
    return [*({n for n in names if f".column{c}.conv" in n} for c in range(1, columns)), deepest]


@pytest.mark.medium
@pytest.mark.parametrize("columns", [2, 3, 4])
def test_a_global_draw_leaves_one_column_of_the_whole_network_each_equally_often(columns: int) -> None:
    config = _config(columns=columns, global_share=1, widths=(4, 6), dropout=(0, 0))
    net = create_model(config.architecture()).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    torch.manual_seed(0)
    alive = _by_column(net, columns)
    assert [len(names) for names in alive] == [2 * 2**c for c in range(columns)]
    drawn = Counter(alive.index(_live(net, x)) for _ in range(30 * columns))
    assert all(15 < drawn[column] < 45 for column in range(columns))


@pytest.mark.medium
def test_a_share_of_all_batches_is_global() -> None:
    net = create_model(_config(columns=3, global_share=0.5).architecture()).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    torch.manual_seed(0)
    single = sum(_live(net, x) in _by_column(net, 3) for _ in range(100))
    assert 35 < single < 65


@pytest.mark.medium
def test_local_drop_path_keeps_each_input_by_its_rate_and_one_at_least() -> None:
    join = ColumnMean(3, local_drop=0.5, global_share=0).train()
    x = torch.eye(3).view(1, 3, 1, 3)  # column c shines at place c
    torch.manual_seed(0)
    kept = Counter(tuple((join(x)[0, 0, 0] > 0).tolist()) for _ in range(4000))
    assert (False, False, False) not in kept
    for pattern, times in kept.items():  # 1/8 each; the one that keeps none is shared by the three single ones
        expected = 4000 / 8 * (4 / 3 if sum(pattern) == 1 else 1)
        assert abs(times - expected) < 100
    assert set(join(x).unique().tolist()) <= {0.0, 0.5, 1.0, float(torch.tensor(1 / 3))}
    assert torch.equal(join.eval()(x), torch.full((1, 1, 1, 3), 1 / 3))


def test_draws_come_from_the_global_generator_and_evaluation_draws_nothing() -> None:
    net = create_model(_config(columns=3, local_drop=0.3, global_share=0.5).architecture())
    x = torch.randn(4, 3, 8, 8)

    def trained() -> list[Tensor]:
        torch.manual_seed(5)
        return [net.train().forward_features(x) for _ in range(6)]

    first = trained()
    assert all(torch.equal(a, b) for a, b in zip(first, trained(), strict=True))
    assert not all(torch.equal(first[0], other) for other in first[1:])
    before = torch.get_rng_state()
    net.eval()(x)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(net(x), net(x))


def test_a_global_draw_does_not_outlive_its_training() -> None:
    net = create_model(_config(columns=2, global_share=1).architecture())
    x = torch.randn(4, 3, 8, 8)
    expected = net.eval()(x)
    torch.manual_seed(0)
    state = copy.deepcopy(net.state_dict())
    net.train()(x)
    net.load_state_dict(state)
    assert torch.equal(net.eval()(x), expected)


def test_a_copy_draws_for_itself() -> None:
    net = create_model(_config(columns=3, global_share=1).architecture()).double()
    other = copy.deepcopy(net)
    torch.manual_seed(0)
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    assert {id(join) for join in other.joins} == {id(m) for m in other.modules() if isinstance(m, ColumnMean)}
    for _ in range(5):
        assert _live(other, x) in _by_column(other, 3)
    assert all(join.shared is None for join in net.joins)


def test_the_papers_regularised_network_drops_more_in_each_block() -> None:
    config = _config(widths=(4, 4, 4), dropout=(0, 0.1, 0.2))
    net = create_model(config.architecture())
    rates = {name.split(".")[0]: m.p for name, m in net.named_modules() if isinstance(m, nn.Dropout)}
    assert rates == {"stage2": 0.1, "stage3": 0.2}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"dropout \(0.0, 0.1\) and widths \(4,\): wanted one of each"):
        _config(dropout=(0, 0.1))
    with pytest.raises(InputError, match="join: 3 columns share 8 channels unevenly; give each the same number"):
        shape(ColumnMeanAtom(columns=3), (8, 2, 2), "join")
