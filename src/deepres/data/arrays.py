"""Images in NumPy's .npz: `x` (N, H, W) or (N, H, W, C) uint8 with C = 1 or 3, `y` (N,) whole numbers, `classes` names.

Accepted: one file with x and y (or x_train and y_train), and where it has them x_val, y_val, x_test, y_test; or files
NAME_train.npz, NAME_test.npz (and NAME_val.npz) side by side, given by the first one or by a folder with one such pair.
Without `classes`, they are called 0, 1, … up to the largest label. Nothing is unpickled.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.sample import ArrayImages, Images
from deepres.data.splits import PARTS, Found, Part

Arrays = dict[str, NDArray[np.generic]]


def pair_in(folder: Path) -> Path | None:
    """The one NAME_train.npz in `folder` that has NAME_test.npz beside it, or None."""
    pairs = [path for path in sorted(folder.glob("*_train.npz")) if _sibling(path, "test").is_file()]
    return pairs[0] if len(pairs) == 1 else None


def read_npz(path: Path, channels: int | None = None) -> Found:
    """The arrays of `path` and of its siblings; `channels` None keeps what they have.

    Raises:
        InputError: not an npz, no x or y, a wrong type or shape, a label outside the classes, a test file alone.
    """
    if path.stem.endswith("_test") and _sibling(path, "train").is_file():
        raise InputError(f"{path}: the test part of a pair; give {_sibling(path, 'train')}")
    files: dict[Part, Path] = {"train": path}
    if path.stem.endswith("_train"):
        files |= {part: _sibling(path, part) for part in PARTS if _sibling(path, part).is_file()}
    loaded = {part: _load(file) for part, file in files.items()}
    given = {part: _classes(files[part], arrays) for part, arrays in loaded.items()}
    for part, classes in given.items():
        if classes != given["train"]:
            raise InputError(f"{files[part]}: 'classes' differs from that of {path.name}; make them the same")
    if len(files) == 1:
        arrays = loaded["train"]
        files = {part: path for part in PARTS if part == "train" or f"x_{part}" in arrays}
        pairs = {part: _pair(path, arrays, part, required=part != "train") for part in files}
    else:
        pairs = {part: _pair(files[part], arrays, part, required=False) for part, arrays in loaded.items()}
    count = 1 + max(int(y.max()) for _, y in pairs.values())
    classes = given["train"] or tuple(str(number) for number in range(count))
    name = path.stem.removesuffix("_train")
    parts: dict[Part, Images] = {}
    for part, (x, y) in pairs.items():
        _require_range(files[part], y, classes)
        parts[part] = ArrayImages(with_channels(x, channels), y, classes, f"{name}/{part}")
    return Found(name, "arrays", classes, parts, parts["train"].image(0).shape[0])


def with_channels(pixels: Tensor, channels: int | None) -> Tensor:
    """(N, C, H, W) uint8 -> `channels` channels: grey repeated, or RGB to luma (ITU-R 601, to the bit as in Pillow)."""
    if channels is None or channels == pixels.shape[1]:
        return pixels.contiguous()
    if channels == 3:
        return pixels.repeat(1, 3, 1, 1)
    luma = torch.empty_like(pixels[:, :1], memory_format=torch.contiguous_format)
    for start in range(0, len(pixels), 1024):
        red, green, blue = pixels[start : start + 1024].to(torch.int32).unbind(1)
        luma[start : start + 1024, 0] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return luma


def _sibling(path: Path, part: str) -> Path:
    return path.with_name(f"{path.stem.rpartition('_')[0]}_{part}.npz")


def _load(path: Path) -> Arrays:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as cause:  # TypeError: an .npy inside
        reason = str(cause).splitlines()[0]
        raise InputError(f"{path}: wanted an .npz of plain arrays, {reason}; save it with numpy.savez") from cause


def _classes(path: Path, arrays: Arrays) -> tuple[str, ...] | None:
    if "classes" not in arrays:
        return None
    names = arrays["classes"]
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) != len(names):
        raise InputError(f"{path}: 'classes' is {names.dtype} {names.shape}, wanted a list of different names (str)")
    return tuple(str(name) for name in names)


def _pair(path: Path, arrays: Arrays, part: Part, required: bool) -> tuple[Tensor, Tensor]:
    """Pixels (N, C, H, W) and labels of one part; the plain names x and y count where `required` is off."""
    x_name, y_name = f"x_{part}", f"y_{part}"
    if not required and "x" in arrays:
        x_name, y_name = "x", "y"
    for name in (x_name, y_name):
        if name not in arrays:
            raise InputError(f"{path}: no array '{name}', there are {', '.join(sorted(arrays))}; wanted x and y")
    x, y = arrays[x_name], arrays[y_name]
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)) or 0 in x.shape:
        raise InputError(f"{path}: '{x_name}' is {x.dtype} {x.shape}, wanted uint8 (N, H, W) or (N, H, W, 1 or 3)")
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise InputError(f"{path}: '{y_name}' is {y.dtype} {y.shape}, wanted whole numbers ({len(x)},), one an image")
    pixels = torch.from_numpy(np.ascontiguousarray(x))
    pixels = pixels.unsqueeze(1) if x.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return pixels, torch.from_numpy(y.astype(np.int64))


def _require_range(path: Path, labels: Tensor, classes: tuple[str, ...]) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise InputError(
            f"{path}: labels from {low} to {high}, wanted 0 to {len(classes) - 1} ({len(classes)} classes)"
        )
