"""Whether two pictures are the same: in another size or encoding, brighter or darker, or with a narrow edge cut off.

A picture is reduced to 32 x 32 grey levels whatever its shape. Of these the detail is compared (16 x 16, less the mean
of the 5 x 5 around each), at the best of 49 ways to cut up to 5 % from the sides of one or the other; r is the
correlation, 1 - r the distance. Alike are pictures with a distance of at most DISTANCE. Pairs whose coarse levels
(8 x 8) correlate by less than COARSE are not looked at, and of a great set no more than the MOST_PAIRS most alike, of
them no more than the MOST_CUT whose uncut detail is most alike.

Thresholds: ours, held against real photographs by `tests/data/test_alike.py`. Pictures below LEAST_SIDE px, and those
without detail (PLAIN), are too plain to be told apart; equal pixels are found by digests.py.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deepres.data.decode import as_picture

SIDE = 32
DISTANCE = 0.06
COARSE = 0.75
PLAIN = 1.5
"""Least spread of the detail, in grey levels."""
LEAST_SIDE = 32
MOST_PAIRS = 2_000_000
MOST_CUT = 100_000
"""Of CIFAR-10's 1.9 million pairs they have .32 or more; of the 374 that are alike the least has .52."""

Thumbnails = NDArray[np.uint8]
"""(N, 32, 32), all 0 for what is too small or could not be read."""

_Floats = NDArray[np.float32]
_DETAIL, _AROUND, _LEVELS = 16, 5, 8
_CUTS = ((0.0, 1.0), (0.025, 1.0), (0.05, 1.0), (0.0, 0.975), (0.0, 0.95), (0.025, 0.975), (0.05, 0.95))
_AT_ONCE = 2**24  # correlations that are held at once
_TOGETHER = 128  # pictures whose cuts are held at once

NOTHING = bytes(SIDE * SIDE)


def thumbnail(pixels: Tensor, least_side: int = LEAST_SIDE) -> bytes:
    """uint8 (C, H, W) -> 32 rows of 32 grey levels; `NOTHING` of a picture below `least_side` px."""
    if min(pixels.shape[-2:]) < least_side:
        return NOTHING
    picture = as_picture(pixels).convert("L")
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def thumbnails(found: list[bytes]) -> Thumbnails:
    """Those that `thumbnail` gave, in one array."""
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, SIDE, SIDE)


def same_picture(one: Tensor, other: Tensor) -> bool:
    """Whether the two, uint8 (C, H, W) of any size, which may well be the same, are alike."""
    left, right = (thumbnails([thumbnail(each, 1)]) for each in (one, other))
    return bool(nearest(left, right)[0][0] == 0)


def nearest(left: Thumbnails, right: Thumbnails) -> tuple[NDArray[np.int64], _Floats]:
    """Of each picture of `right` the one of `left` that is most alike, -1 where none is, and their distance; (M,)."""
    index, distance = np.full(len(right), -1), np.full(len(right), np.inf, np.float32)
    lefts, rights = (np.flatnonzero(_tellable(each)) for each in (left, right))
    if len(lefts) and len(rights):
        i, j = _candidates(_coarse(left[lefts]), _coarse(right[rights]))
        i, j = _most_uncut(left, right, lefts[i], rights[j])
        best = np.maximum(_correlation(left, right, i, j), _correlation(right, left, j, i))
        for place in np.argsort(best, kind="stable")[np.count_nonzero(best < 1 - DISTANCE) :]:  # the best is last
            index[j[place]], distance[j[place]] = i[place], max(0.0, 1 - best[place])
    return index, distance


def _candidates(left: _Floats, right: _Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(i, j) of the pairs whose coarse levels correlate, at most MOST_PAIRS."""
    least, found = COARSE, [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    held, rows = 0, max(1, _AT_ONCE // len(left))
    for start in range(0, len(right), rows):
        correlation = right[start : start + rows] @ left.T
        j, i = np.nonzero(correlation >= least)
        found.append((i, j + start, correlation[j, i]))
        held += len(i)
        if held > 2 * MOST_PAIRS:
            found = _most(found)
            held, least = MOST_PAIRS, float(found[0][2].min())
    i, j, _ = _most(found)[0]
    return i, j


def _most(
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], _Floats]],
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], _Floats]]:
    """The MOST_PAIRS of the highest correlation, in one piece."""
    i, j, correlation = (np.concatenate(each) for each in zip(*found, strict=True))
    if len(i) > MOST_PAIRS:
        kept = np.argpartition(correlation, -MOST_PAIRS)[-MOST_PAIRS:]
        i, j, correlation = i[kept], j[kept], correlation[kept]
    return [(i, j, correlation)]


def _most_uncut(
    left: Thumbnails, right: Thumbnails, i: NDArray[np.int64], j: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The MOST_CUT pairs whose uncut detail correlates most."""
    if len(i) <= MOST_CUT:
        return i, j
    one, other = (_uncut(pictures) for pictures in (left, right))
    rows = max(1, _AT_ONCE // _DETAIL**2)
    parts = [slice(start, start + rows) for start in range(0, len(i), rows)]
    alike = np.concatenate([np.einsum("nk,nk->n", one[i[part]], other[j[part]]) for part in parts])
    kept = np.sort(np.argpartition(alike, -MOST_CUT)[-MOST_CUT:])
    return i[kept], j[kept]


def _correlation(cut: Thumbnails, whole: Thumbnails, i: NDArray[np.int64], j: NDArray[np.int64]) -> _Floats:
    """For each pair the correlation of the detail of `whole[j]` with that of `cut[i]`, at the best of its cuts."""
    best = np.zeros(len(i), np.float32)
    if not len(i):
        return best
    wholes, places = np.unique(j, return_inverse=True)
    parts = [_details(whole[some])[:, 0] for some in np.array_split(wholes, -(-len(wholes) // 512))]
    detail = torch.from_numpy(np.concatenate(parts))
    order = np.argsort(i, kind="stable")
    cuts, starts, sizes = np.unique(i[order], return_index=True, return_counts=True)
    groups = np.split(order, starts[1:])
    by_size = np.argsort(sizes, kind="stable")
    for first in range(0, len(cuts), _TOGETHER):
        some = by_size[first : first + _TOGETHER]
        details = torch.from_numpy(_details(cut[cuts[some]]))
        at = np.zeros((len(some), int(sizes[some].max())), np.int64)  # the pairs of each, filled up with any
        for row, group in zip(at, (groups[place] for place in some), strict=True):
            row[: len(group)] = places[group]
        # one product for all of them: threads that other work keeps waiting would wait at each
        found = torch.bmm(details, detail[torch.from_numpy(at)].transpose(1, 2)).amax(1).numpy()
        for row, group in zip(found, (groups[place] for place in some), strict=True):
            best[group] = row[: len(group)]
    return best


def _coarse(pictures: Thumbnails) -> _Floats:
    """(N, 64): 8 x 8 levels, of mean 0 and length 1."""
    each = SIDE // _LEVELS
    levels = pictures.reshape(-1, _LEVELS, each, _LEVELS, each).mean((2, 4), dtype=np.float32)
    return _unit(levels.reshape(-1, _LEVELS**2))


def _details(pictures: Thumbnails) -> _Floats:
    """(N, cuts, 256): the detail of each cut, the whole picture first, of mean 0 and length 1."""
    levels = _cut(pictures, _ways())
    return _unit(_less_around(levels).reshape(len(pictures), len(_CUTS) ** 2, -1))


def _uncut(pictures: Thumbnails) -> _Floats:
    """(N, 256): the detail of the whole picture, of mean 0 and length 1."""
    parts = (pictures[start : start + 4096] for start in range(0, len(pictures), 4096))
    return np.concatenate([_unit(_less_around(_cut(some, _ways()[:1])).reshape(len(some), -1)) for some in parts])


def _tellable(pictures: Thumbnails) -> NDArray[np.bool_]:
    """Which have enough detail to be told from others."""
    parts = (pictures[start : start + 4096] for start in range(0, len(pictures), 4096))
    spread = [_less_around(_cut(some, _ways()[:1])).std(axis=(1, 2, 3, 4)) for some in parts]
    return np.concatenate([np.zeros(0, np.float32), *spread]) >= PLAIN


def _cut(pictures: Thumbnails, ways: _Floats) -> _Floats:
    """(N, W, W, 16, 16): the levels of each picture within each pair of ways."""
    rows = np.einsum("wnm,bml->bwnl", ways, pictures.astype(np.float32), optimize=True)
    return np.asarray(np.einsum("vkl,bwnl->bwvnk", ways, rows, optimize=True), np.float32)


def _less_around(levels: _Floats) -> _Floats:
    around = _around()
    return np.asarray(levels - around @ levels @ around.T, np.float32)


@cache
def _ways() -> _Floats:
    """(7, 16, 32): of a row of 32 levels the part between two places, in 16 means."""
    ways = []
    for low, high in _CUTS:
        edges, cells = np.linspace(low * SIDE, high * SIDE, _DETAIL + 1), np.arange(SIDE)
        overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
        ways.append(overlap.clip(0) / (edges[1] - edges[0]))
    return np.asarray(ways, np.float32)


@cache
def _around() -> _Floats:
    """(16, 16): the mean of the 5 around each place, those at the edge repeated."""
    half = _AROUND // 2
    mean = np.zeros((_DETAIL, _DETAIL), np.float32)
    for place in range(_DETAIL):
        for other in range(place - half, place + half + 1):
            mean[place, min(max(other, 0), _DETAIL - 1)] += 1 / _AROUND
    return mean


def _unit(rows: _Floats) -> _Floats:
    rows = rows - rows.mean(-1, keepdims=True)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-6), np.float32)
