"""Arrays of pixels as others keep them -> uint8 (N, C, H, W): channels first or last, floats where their scale shows.

Floats are taken only where nothing has to be guessed: whole numbers from 0 to 255, or 0 to 1 in steps of 1/255. Bytes
that are all dark are taken as they are, and that is said.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepres.base.errors import InputError

_CHUNK = 1024  # images looked at together
_STEP = 1e-3  # how far from a whole number 255 x may lie: float16 rounds by as much
_CHANNELS = (1, 3)


def to_uint8(x: NDArray[np.generic], name: str, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3 -> uint8 (N, C, H, W), and notes on what was done.

    Raises:
        InputError: another shape, one that can be read both ways, or values whose scale cannot be known.
    """
    given = f"{where}: '{name}' is {x.dtype} {x.shape}"
    wanted = "wanted uint8 (N, H, W) or (N, H, W, 1 or 3)"
    if not x.size:
        raise InputError(f"{given}: there are no images in it; add some, or leave it out")
    if x.ndim == 4 and x.shape[3] == 4:
        raise InputError(f"{given}, with transparency; {wanted}: save {name}[..., :3]")
    if x.ndim == 2:
        raise InputError(f"{given}, flattened; {wanted}: reshape it")
    last, first = x.ndim == 4 and x.shape[3] in _CHANNELS, x.ndim == 4 and x.shape[1] in _CHANNELS
    if x.ndim not in (3, 4) or (x.ndim == 4 and not (last or first)):
        raise InputError(f"{given}, {wanted}")
    if last and first and x.shape[1] != x.shape[3]:
        raise InputError(f"{given}: channels first or last? {wanted}")
    scaled, said = _scaled(x, given)
    notes = (f"'{name}': {said}",) if said else ()
    pixels = torch.from_numpy(np.ascontiguousarray(scaled))
    if x.ndim == 3:
        return pixels.unsqueeze(1), notes
    if not last:
        return pixels, (*notes, f"'{name}': channels first, {x.shape}")
    return pixels.permute(0, 3, 1, 2), notes


def _scaled(x: NDArray[np.generic], given: str) -> tuple[NDArray[np.uint8], str]:
    """The same as uint8, and what was done."""
    if x.dtype == np.uint8:
        greatest = int(x.max())
        white = "255 * x" if greatest == 1 else f"255 / {greatest} * x"
        dark = f"the greatest value is {greatest} of 255; where {greatest} is white, save {white}"
        return x.astype(np.uint8, copy=False), dark if 0 < greatest < 32 else ""
    if x.dtype.kind == "b":
        return np.where(x, 255, 0).astype(np.uint8), "true is white (255)"
    if x.dtype.kind not in "iuf":
        raise InputError(f"{given}, wanted uint8 from 0 to 255")
    low, high, whole, steps = np.inf, -np.inf, True, True
    for start in range(0, len(x), _CHUNK):
        chunk = x[start : start + _CHUNK].astype(np.float64)
        if not np.isfinite(chunk).all():
            raise InputError(f"{given} and holds NaN or infinity; wanted uint8 from 0 to 255")
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        whole = whole and bool((chunk == np.rint(chunk)).all())
        steps = steps and bool((np.abs(255 * chunk - np.rint(255 * chunk)) < _STEP * 255).all())
    span = f"{given} from {low:g} to {high:g}"
    if whole and low >= 0 and 1 < high <= 255:
        return _cast(x, 1), f"{x.dtype} from {low:g} to {high:g} taken as levels of 255"
    if x.dtype.kind == "f" and not whole and steps and low >= 0 and high <= 1:
        return _cast(x, 255), f"{x.dtype} from {low:g} to {high:g} taken as parts of 255"
    if x.dtype.kind == "f" and low >= 0 and high <= 1:
        raise InputError(f"{span}; of 0 to 1? then save (255 * x).round().astype('uint8')")
    raise InputError(f"{span}, whose scale cannot be known; wanted uint8 from 0 to 255, before any normalisation")


def _cast(x: NDArray[np.generic], factor: int) -> NDArray[np.uint8]:
    cast = np.empty(x.shape, dtype=np.uint8)
    for start in range(0, len(x), _CHUNK):
        cast[start : start + _CHUNK] = np.rint(x[start : start + _CHUNK].astype(np.float64) * factor)
    return cast
