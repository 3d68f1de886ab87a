from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepres.arch.algebra import Parallel, Sequence
from deepres.arch.architecture import Architecture, unit_names, without
from deepres.arch.atoms import Conv, GlobalAveragePool, Identity
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.paths import path_lengths
from deepres.base.records import build


def _resnet(depths: tuple[int, ...], **fields: object) -> Architecture:
    small = {"name": "x", "input": (3, 16, 16), "num_classes": 3, "stem": "cifar", "stem_width": 4, "shortcut": "A"}
    widths = tuple(4 * 2**stage for stage in range(len(depths)))
    return build(ResNetConfig, {**small, "depths": depths, "widths": widths, **fields}, "x").architecture()


@given(
    depths=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    unit=st.sampled_from(["single", "basic", "bottleneck"]),
    order=st.sampled_from(["original", "pre"]),
)
@settings(max_examples=25, deadline=None)
@pytest.mark.medium
def test_residual_units_have_binomially_many_paths(depths: tuple[int, ...], unit: str, order: str) -> None:
    n = sum(depths)
    counts = path_lengths(_resnet(depths, unit=unit, shortcut="B", style={"order": order, "se_ratio": 0.25}))
    assert counts == {k: comb(n, k) for k in range(n + 1)}


def test_resnet110_has_the_paths_of_veit() -> None:
    counts = path_lengths(architecture("preresnet110_cifar"))
    assert sum(counts.values()) == 2**54
    assert sum(counts[k] for k in range(5, 18)) / 2**54 == pytest.approx(0.0045, abs=5e-5)
    assert sum(counts[k] for k in range(19, 36)) / 2**54 == pytest.approx(0.9802, abs=5e-5)


def test_a_plain_network_is_one_path() -> None:
    assert path_lengths(architecture("plain20_cifar")) == {9: 1}
    assert path_lengths(architecture("plain20_cifar"), of="layers") == {19: 1}  # without the classifier
    assert path_lengths(architecture("vgg15_cifar"), of="layers") == {14: 1}


@given(depths=st.lists(st.integers(2, 4), min_size=1, max_size=2).map(tuple), place=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_deleting_a_unit_halves_the_paths(depths: tuple[int, ...], place: int) -> None:
    description = _resnet(depths)
    units = unit_names(description)
    shorter = without(description, f"{units[place % len(units)]}.branch")
    assert 2 * sum(path_lengths(shorter).values()) == sum(path_lengths(description).values())


def test_gates_and_dense_layers() -> None:
    assert path_lengths(architecture("highway_fc50")) == {k: comb(49, k) for k in range(50)}
    assert path_lengths(architecture("densenet40_k12_cifar")) == {k: comb(36, k) for k in range(37)}


def test_layers_are_counted_on_every_path() -> None:
    counts = path_lengths(_resnet((2, 2)), of="layers")
    assert counts == {1 + 2 * k: comb(4, k) for k in range(5)}


def test_what_stands_before_and_after_a_join_lengthens_every_path() -> None:
    inner = Parallel(parts={"branch": Conv(channels=3, kernel=1), "shortcut": Identity()})
    outer = Parallel(parts={"branch": inner, "shortcut": Identity()}, pre=inner, act=Conv(channels=2, kernel=1))
    description = Architecture(
        name="x", input=(3, 4, 4), body={"a": outer}, head=Sequence(parts={"p": GlobalAveragePool()})
    )
    # pre: 0 or 1; then shortcut (0), or branch (1) and inside it 0 or 1 more
    assert path_lengths(description) == {0: 1, 1: 2, 2: 2, 3: 1}
    assert path_lengths(description, of="layers") == {1: 2, 2: 3, 3: 1}
