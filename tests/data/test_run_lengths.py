"""Masks as COCO writes them: the same pixels and the same text as pycocotools, whatever comes from outside refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as theirs

from deepres.data.run_lengths import RunLengths, of_bitmap, of_part, of_polygons, read


def _bitmaps() -> st.SearchStrategy[Any]:
    sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
    return sizes.flatmap(
        lambda size: st.lists(st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1]).map(
            lambda values: np.array(values).reshape(size)
        )
    )


@pytest.mark.medium
@given(_bitmaps())
def test_a_bitmap_is_written_as_pycocotools_writes_it_and_comes_back(pixels: Any) -> None:
    runs = of_bitmap(pixels)
    known = theirs.encode(np.asfortranarray(pixels, dtype=np.uint8))
    assert runs.facts() == {"size": known["size"], "counts": known["counts"].decode()}
    assert (runs.bitmap() == pixels).all()
    assert runs.area == pixels.sum()
    assert read(runs.facts()) == runs == read({"size": list(runs.size), "counts": runs.counts})


@pytest.mark.medium
@given(_bitmaps())
def test_counts_in_full_are_the_same_mask(pixels: Any) -> None:
    flat = pixels.T.reshape(-1).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    counts = np.diff([0, *edges, flat.size]).tolist()
    assert (read({"size": list(pixels.shape), "counts": counts}).bitmap() == pixels).all()


def test_a_large_mask_goes_through_its_text() -> None:
    pixels = np.random.default_rng(0).random((700, 900)) > 0.999
    pixels[100:500, 200:800] = True
    assert read(of_bitmap(pixels).facts()) == of_bitmap(pixels)


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
@given(
    st.lists(
        st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 35)), min_size=3, max_size=9),
        min_size=1,
        max_size=3,
    )
)
def test_polygons_are_rasterised_as_pycocotools_does(parts: Any) -> None:
    found = of_polygons([np.array(part) for part in parts], (30, 40))
    known = theirs.merge(theirs.frPyObjects([[value for point in part for value in point] for part in parts], 30, 40))
    assert (found.bitmap() == theirs.decode(known)).all()


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ([], "no size and counts"),
        ({"size": [5, 5]}, "no size and counts"),
        ({"size": [5], "counts": "i0"}, r"size \[5\]"),
        ({"size": [0, 5], "counts": ""}, r"size \[0, 5\]"),
        ({"size": [5, True], "counts": ""}, "size"),
        ({"size": [2**20, 2**20], "counts": ""}, "more than 134,217,728 px"),
        ({"size": [5, 5], "counts": 25}, "counts are int, no text"),
        ({"size": [5, 5], "counts": [25.0]}, "counts are list, no text"),
        ({"size": [5, 5], "counts": [20]}, "counts come to 20 px, size to 25"),
        ({"size": [5, 5], "counts": [-5, 30]}, "counts come to 25 px"),
        ({"size": [5, 5], "counts": "05"}, "counts come to 5 px"),
        ({"size": [5, 5], "counts": "5L0"}, "counts come to"),
        ({"size": [5, 5], "counts": "o"}, "counts end in the middle"),
        ({"size": [5, 5], "counts": "oooooooooooooooooooo0"}, "letters that are none"),
        ({"size": [5, 5], "counts": "\ud800"}, "letters that are none"),
    ],
)
def test_what_is_no_mask_is_refused(facts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(facts)


def test_an_empty_and_a_full_mask() -> None:
    assert of_bitmap(np.zeros((3, 4), bool)).area == 0
    assert of_bitmap(np.ones((3, 4), bool)) == RunLengths((3, 4), b"0<") == read({"size": [3, 4], "counts": [0, 12]})


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_of_a_part_they_are_those_of_the_whole(share: float) -> None:
    """Parts at the border too, of whole columns, and without a pixel."""
    dice = np.random.default_rng(7)
    for top, bottom, left, right in (
        (0, 9, 0, 13),
        (2, 6, 3, 9),
        (0, 9, 4, 8),
        (8, 9, 12, 13),
        (5, 5, 2, 4),
        (3, 7, 6, 6),
    ):
        part = dice.random((bottom - top, right - left)) < share
        whole = np.zeros((9, 13), bool)
        whole[top:bottom, left:right] = part
        assert of_part(part, top, left, (9, 13)) == of_bitmap(whole)
