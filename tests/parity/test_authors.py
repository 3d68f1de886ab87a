"""The convolutions of the authors' released layer lists (their deploy prototxt files), in order, against ours."""

import json
from pathlib import Path

import pytest

from deepres.arch.algebra import Node, Parallel, Sequence, at, children
from deepres.arch.atoms import Conv, MaxPool
from deepres.arch.catalogue.lookup import architecture

# out channels, kernel, stride, pad, b = with bias; a unit's projection first, as in the files
STEM = "64 7 2 3"
STAGES = (
    ("256 1 1 0, 64 1 1 0, 64 3 1 1, 256 1 1 0", "64 1 1 0, 64 3 1 1, 256 1 1 0"),
    ("512 1 2 0, 128 1 2 0, 128 3 1 1, 512 1 1 0", "128 1 1 0, 128 3 1 1, 512 1 1 0"),
    ("1024 1 2 0, 256 1 2 0, 256 3 1 1, 1024 1 1 0", "256 1 1 0, 256 3 1 1, 1024 1 1 0"),
    ("2048 1 2 0, 512 1 2 0, 512 3 1 1, 2048 1 1 0", "512 1 1 0, 512 3 1 1, 2048 1 1 0"),
)
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def _authors(depth: int) -> list[str]:
    stem = STEM + (" b" if depth == 50 else "")
    units = [
        u for (first, other), count in zip(STAGES, DEPTHS[depth], strict=True) for u in [first, *[other] * (count - 1)]
    ]
    return [stem, *", ".join(units).split(", ")]


def _ours(node: Node) -> list[str]:
    if isinstance(node, Conv):
        return [f"{node.channels} {node.kernel} {node.stride} {node.padding}{' b' if node.bias else ''}"]
    parts = list(children(node))
    if isinstance(node, Parallel):  # ours has the branch first
        parts.sort(key=lambda part: part[0] != "shortcut")
    return [conv for _, part in parts for conv in _ours(part)]


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_released_networks_layer_by_layer(depth: int) -> None:
    released = architecture(f"resnet{depth}_caffe")
    assert _ours(released.tree) == _authors(depth)
    pool = at(released.tree, "stem.pool")
    assert isinstance(pool, MaxPool)
    assert (pool.kernel, pool.stride, pool.padding, pool.ceil) == (3, 2, 0, True)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_papers_network_is_the_released_one_without_the_bias(depth: int) -> None:
    paper = architecture(f"resnet{depth}_v1")
    assert _ours(paper.tree) == [conv.removesuffix(" b") for conv in _authors(depth)]
    assert isinstance(paper.tree, Sequence)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_lists_above_are_those_of_the_files(depth: int, shared: Path) -> None:
    rows = json.loads((shared / "reference" / "prototxt_layers.json").read_text())["nets"][f"ResNet-{depth}"][
        "conv_layers"
    ]
    assert [" ".join(map(str, row[1:5])) + (" b" if row[5] else "") for row in rows] == _authors(depth)
