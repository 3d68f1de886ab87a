"""Masks as run lengths, as COCO writes them: column by column, how many pixels are outside, then inside, and so on."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bitmap = NDArray[np.bool_]
"""(H, W): which pixels belong to an object."""

MOST = 2**27
"""Pixels of a mask at most."""


class RunLengths(NamedTuple):
    """A mask of `size` (H, W); `counts` are COCO's compressed text, which pycocotools reads."""

    size: tuple[int, int]
    counts: bytes

    def facts(self) -> dict[str, Any]:
        """As JSON has it: {"size": [H, W], "counts": "…"}."""
        return {"size": list(self.size), "counts": self.counts.decode("ascii")}

    def bitmap(self) -> Bitmap:
        """Its pixels."""
        from hotcoco import mask

        found: Bitmap = mask.decode(self._told()).astype(bool)
        return found

    @property
    def area(self) -> int:
        """How many pixels are inside."""
        from hotcoco import mask

        return int(mask.area(self._told()))

    def _told(self) -> dict[str, Any]:
        return {"size": list(self.size), "counts": self.counts}


def of_bitmap(pixels: Bitmap) -> RunLengths:
    """The run lengths of a mask (H, W)."""
    from hotcoco import mask

    return _known(mask.encode(np.asfortranarray(pixels, dtype=np.uint8)))


def of_part(pixels: Bitmap, row: int, column: int, size: tuple[int, int]) -> RunLengths:
    """Those of a picture of `size` (H, W) whose pixels from (row, column) on are these (h, w), and which is empty else.

    The same as of its bitmap, which is never made.
    """
    height, width = size
    edges = np.diff(np.pad(pixels, ((1, 1), (0, 0))).astype(np.int8), axis=0).T  # (w, h + 1): column by column
    across, at = np.nonzero(edges)
    places = (across + column) * height + at + row  # where runs begin and end, in turn
    joined = (
        np.flatnonzero(places[1:-1:2] == places[2::2]) * 2 + 1
    )  # one ends below a column, one begins above the next
    places = np.delete(places, np.concatenate([joined, joined + 1]))
    runs = np.diff(places, prepend=0, append=height * width).tolist()
    return RunLengths((height, width), _text(runs if runs[-1] else runs[:-1]))


def of_polygons(parts: Sequence[NDArray[np.float64]], size: tuple[int, int]) -> RunLengths:
    """The pixels within any of the polygons, (P, 2) of x and y in px, P at least 3, in a picture of (H, W).

    As COCO rasterises: edges are drawn at five times the size, and a pixel belongs to what its middle column says.
    """
    from hotcoco import mask

    whole = [part.reshape(-1).tolist() for part in parts]
    return _known(mask.merge(mask.fr_py_objects(whole, *size)))


def read(facts: Any) -> RunLengths:
    """The mask that COCO's JSON says, its counts compressed or a list of numbers.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(facts, dict) or not {"size", "counts"} <= set(facts):
        raise ValueError("no size and counts")
    size, counts = facts["size"], facts["counts"]
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(map(_whole, size)) or min(size) < 1:
        raise ValueError(f"size {size!r:.60}")
    height, width = map(int, size)
    if height * width > MOST:
        raise ValueError(f"size {height} x {width}, more than {MOST:,} px")
    if isinstance(counts, str):
        counts = counts.encode("utf-8", "surrogatepass")
    if isinstance(counts, bytes):
        runs = _runs(counts)
    elif isinstance(counts, list) and all(map(_whole, counts)):
        runs = counts
    else:
        raise ValueError(f"counts are {type(counts).__name__}, no text and no whole numbers")
    if any(not 0 <= run <= MOST for run in runs) or sum(runs) != height * width:
        raise ValueError(f"counts come to {sum(runs):,} px, size to {height * width:,}")
    return RunLengths((height, width), _text(runs))


def _known(told: dict[str, Any]) -> RunLengths:
    height, width = told["size"]
    return RunLengths((int(height), int(width)), bytes(told["counts"]))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _runs(text: bytes) -> list[int]:
    """Five bits a letter, the lowest first, 32 where more follow; from the fourth on less the run two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("counts have letters that are none")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("counts end in the middle")
    return runs


def _text(runs: Iterable[int]) -> bytes:
    """The inverse of `_runs`."""
    every, letters = list(runs), bytearray()
    for place, run in enumerate(every):
        value, more = run - (every[place - 2] if place > 2 else 0), True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            letters.append(bits + 32 * more + 48)
    return bytes(letters)
