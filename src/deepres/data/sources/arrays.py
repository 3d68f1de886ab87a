"""Images in NumPy's .npz: `x` (N, H, W) or (N, H, W, C) uint8 with C = 1 or 3, `y` (N,) whole numbers, `classes` names.

Accepted: one file with x and y (or x_train and y_train), and where it has them x_val, y_val, x_test, y_test; or files
NAME_train.npz, NAME_test.npz (and NAME_val.npz) side by side, given by the first one or by a folder with one such pair;
given by NAME_test.npz it is that split alone.
Other names that the field uses for the same are known (`train_images`, `X_test`, `labels`, `class_names`), and what
they held is said; y may be (N, 1), one-hot, or names. Without `classes`, classes are called as the labels that there
are: 0, 1, …. Nothing is unpickled.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepres.base import npz
from deepres.base.errors import InputError
from deepres.base.reading import reading
from deepres.data.forms import FormName
from deepres.data.images import ArrayImages, Images
from deepres.data.sources.labels import cleaned, in_order, numbered, one_hot, require_names
from deepres.data.sources.pixels import to_uint8
from deepres.data.sources.split_names import split_named
from deepres.data.sources.splits import SPLITS, RawDataset, Split

_PIXELS = frozenset({"x", "image", "images", "data", "img", "imgs", "pixels", "features"})
_LABELS = frozenset({"y", "label", "labels", "target", "targets", "cls", "class"})
_MOST = 2**31
_SPLITS = frozenset({"split", "splits", "subset", "partition", "is_train", "is_test", "is_valid"})
_NAMES = frozenset({"classes", "classnames", "labelnames", "targetnames", "categories", "names"})


@dataclass(frozen=True)
class _Content:
    """The arrays of one file by what they are; those that are nothing known are not read."""

    path: Path
    pixels: dict[Split | None, str]  # split (None: the file's own) -> the array's name
    labels: dict[Split | None, str]
    arrays: dict[str, NDArray[np.generic]]
    classes: tuple[str, ...] | None
    unused: tuple[str, ...]


@dataclass(frozen=True)
class _Labelled:
    """One split: pixels (N, C, H, W), and its labels as numbers, as names, or targets of another form."""

    path: Path
    pixels: Tensor
    labels: NDArray[np.int64] | list[str] | Tensor
    notes: tuple[str, ...]


def pair_in(folder: Path) -> Path | None:
    """The one NAME_train.npz in `folder` that has NAME_test.npz beside it, or None."""
    pairs = [path for path in sorted(folder.glob("*_train.npz")) if _sibling(path, "test").is_file()]
    return pairs[0] if len(pairs) == 1 else None


def read_npz(path: Path, channels: int | None = None, targets: FormName | None = None) -> RawDataset:
    """The arrays of `path` and of its siblings; `channels` None keeps what they have.

    `targets` is what stands beside an image; None: one class, or several where rows of 0 and 1 say so.

    Raises:
        InputError: not an npz, no x or y, a wrong type or shape, a label outside the classes.
    """
    own = _content(path)
    of_name = split_named(path.stem.rpartition("_")[2]) if "_" in path.stem and None in own.pixels else None
    contents: dict[Split, _Content] = {of_name or "train": own}
    if of_name == "train":
        others = {split: _sibling(path, split) for split in SPLITS if split != "train"}
        contents |= {split: _content(file) for split, file in others.items() if file.is_file()}
    names = own.classes
    for content in contents.values():
        if content.classes != names:
            raise InputError(f"{content.path}: 'classes' differs from that of {path.name}; make them the same")
    paired = of_name is not None
    if not paired:
        told = {split or "train" for split in (*own.pixels, *own.labels)}
        contents = {split: own for split in SPLITS if split in told}
    found = {split: _labelled(content, split, paired, targets) for split, content in contents.items()}
    classes, labels = _classes(found, names)
    name = path.stem.rpartition("_")[0] if paired else path.stem
    splits: dict[Split, Images] = {
        split: ArrayImages(with_channels(one.pixels, channels), labels[split], classes, f"{name}/{split}")
        for split, one in found.items()
    }
    unused = {content.path.name: content.unused for content in contents.values() if content.unused}
    notes = dict.fromkeys(f"{name}: arrays not used: {', '.join(rest[:5])}" for name, rest in unused.items())
    notes |= dict.fromkeys(f"{one.path.name}: {note}" for one in found.values() for note in one.notes)
    given = next(iter(splits.values())).image(0).shape[0]
    return RawDataset(name, "arrays", classes, splits, given, notes=(*notes, *(() if names else numbered(classes))))


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


def _sibling(path: Path, split: str) -> Path:
    return path.with_name(f"{path.stem.rpartition('_')[0]}_{split}.npz")


def _content(path: Path) -> _Content:
    with npz.opened(path, path, "an .npz of plain arrays", "save it with numpy.savez") as stored:
        pixels, labels, names, rest = _roles(path, stored.names)
        wanted = [*pixels.values(), *labels.values(), *names]
        arrays = {name: stored[name] for name in wanted}
    classes = _class_names(path, names[0], arrays[names[0]]) if names else None
    return _Content(path, pixels, labels, arrays, classes, tuple(rest))


def _roles(
    path: Path, names: Iterable[str]
) -> tuple[dict[Split | None, str], dict[Split | None, str], list[str], list[str]]:
    """Which array is what, by its name: pixels and labels of each split, class names, others."""
    pixels: dict[Split | None, str] = {}
    labels: dict[Split | None, str] = {}
    classes: list[str] = []
    others: list[str] = []
    for name in names:
        words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+", name)]
        split = next((split for word in words if (split := split_named(word))), None)
        rest = "".join(word for word in words if not split_named(word))
        of = pixels if rest in _PIXELS else labels if rest in _LABELS else None
        if rest in _NAMES and split is None:
            classes.append(name)
        elif of is None:
            others.append(name)
        elif split in of:
            raise InputError(f"{path}: both '{of[split]}' and '{name}' may hold the same; leave one out")
        else:
            of[split] = name
    if None in pixels and (told := [name for name in others if name.lower() in _SPLITS]):
        raise InputError(
            f"{path}: '{told[0]}' beside '{pixels[None]}' may say which images are for training, and is not read; save "
            "x_train, y_train, x_test, y_test, or leave it out"
        )
    if None in pixels and "train" in pixels:
        raise InputError(f"{path}: both '{pixels[None]}' and '{pixels['train']}' may be for training; leave one out")
    if len(classes) > 1:
        raise InputError(f"{path}: both '{classes[0]}' and '{classes[1]}' may name the classes; leave one out")
    if not pixels:
        there = ", ".join(sorted(names)) or "none"
        raise InputError(f"{path}: no array 'x_train', there are {there}; wanted x and y (numpy.savez(…, x=…, y=…))")
    return pixels, labels, classes, others


def _class_names(path: Path, name: str, names: NDArray[np.generic]) -> tuple[str, ...]:
    found = _texts(path, name, names) if names.ndim == 1 and names.dtype.kind in "SU" else []
    if not found or len(set(found)) != len(found):
        raise InputError(f"{path}: '{name}' is {names.dtype} {names.shape}, wanted a list of different names (str)")
    require_names(found, f"{path}: '{name}'")
    return tuple(found)


def _texts(path: Path, name: str, values: NDArray[np.generic]) -> list[str]:
    """The names in an array of texts, or of bytes that are UTF-8; errors also as `require_names`."""
    with reading(path, f"names in UTF-8 in '{name}'", "save them as texts: numpy.array(names, dtype=str)"):
        texts = [each.decode() if isinstance(each, bytes) else str(each) for each in values.tolist()]
        # within, as numpy's own texts may hold what is no letter; an empty label is told by its place
        require_names((text for text in dict.fromkeys(texts) if text), f"{path}: '{name}'")
    return texts


def _labelled(content: _Content, split: Split, paired: bool, targets: FormName | None) -> _Labelled:
    """One split of a file; the plain names x and y count for train, and for any split in a file of its own."""
    own = None if (paired or split == "train") and None in content.pixels else split
    for kind, named in (("x", content.pixels), ("y", content.labels)):
        if own not in named:
            given = ", ".join(sorted([*content.arrays, *content.unused]))
            missing = kind if own is None else f"{kind}_{own}"
            raise InputError(f"{content.path}: no array '{missing}', there are {given}; wanted x and y")
    x, y = (named[own] for named in (content.pixels, content.labels))
    pixels, said = to_uint8(content.arrays[x], x, str(content.path))
    labels, told = _numbers(content.path, y, content.arrays[y], len(pixels), targets)
    return _Labelled(content.path, pixels, labels, (*said, *told))


def _numbers(
    path: Path, name: str, y: NDArray[np.generic], count: int, targets: FormName | None = None
) -> tuple[NDArray[np.int64] | list[str] | Tensor, tuple[str, ...]]:
    """Labels (N,), (N, 1) or one-hot (N, classes), of whole numbers or names; or targets of another form (N, K)."""
    given = f"{path}: '{name}' is {y.dtype} {y.shape}"
    if targets == "numbers":
        if y.dtype.kind not in "biuf" or y.ndim not in (1, 2) or len(y) != count or not np.isfinite(y).all():
            raise InputError(f"{given}, wanted finite numbers ({count},) or ({count}, columns)")
        return torch.from_numpy(y.reshape(count, -1).astype(np.float64)), ()
    if targets == "classes" or (targets is None and y.ndim == 2 and y.shape[1] > 1 and one_hot(y) is None):
        if y.dtype.kind not in "biuf" or y.ndim != 2 or len(y) != count or not np.isin(y, (0, 1)).all():
            raise InputError(
                f"{given}, several labels an image; wanted rows of 0 and 1 ({count}, classes), or whole numbers "
                f"({count},), one an image; numbers to be learnt: data.targets=numbers"
            )
        return torch.from_numpy(y.astype(np.float32)), ()
    if y.shape == (count, 1):
        y = y[:, 0]
    if y.ndim == 2 and len(y) == count:
        places = one_hot(y)
        if places is None:
            raise InputError(f"{given}, several labels an image; wanted whole numbers ({count},), one an image")
        return places, (f"'{name}': rows of zeros and one 1 taken as classes 0 to {y.shape[1] - 1}",)
    if y.shape != (count,) or y.dtype.kind not in "biufUS":
        raise InputError(f"{given}, wanted whole numbers ({count},), one an image")
    if y.dtype.kind in "US":
        return cleaned(_texts(path, name, y), lambda i: f"{path}: '{name}'[{i}]")
    if y.dtype.kind == "f" and not (np.isfinite(y).all() and (y == np.rint(y)).all()):
        raise InputError(
            f"{given} with fractions, wanted whole numbers ({count},), one an image; "
            "numbers to be learnt: data.targets=numbers"
        )
    low, high = int(y.min()), int(y.max())
    if low < 0 or high > _MOST:
        raise InputError(
            f"{given} from {low} to {high}, wanted 0 or more; remove images without a class; "
            "numbers to be learnt: data.targets=numbers"
        )
    return y.astype(np.int64), ()


def _classes(
    found: dict[Split, _Labelled], names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], dict[Split, Tensor]]:
    """The classes, and each split's labels as their numbers."""
    tensors = {split: one.labels for split, one in found.items() if isinstance(one.labels, Tensor)}
    if tensors:
        return _named(found, tensors, names), tensors
    if names is not None and all(not isinstance(one.labels, list) for one in found.values()):
        for one in found.values():
            _require_range(one.path, torch.as_tensor(one.labels), names)
        return names, {split: torch.as_tensor(one.labels) for split, one in found.items()}
    texts = {split: [str(label) for label in one.labels] for split, one in found.items()}
    classes = names or in_order(label for labels in texts.values() for label in labels)
    index = {name: number for number, name in enumerate(classes)}
    for split, labels in texts.items():
        strange = next((label for label in labels if label not in index), None)
        if strange is not None:
            raise InputError(f"{found[split].path}: label '{strange}' is not among the names of classes; add it there")
    return classes, {split: torch.tensor([index[label] for label in labels]) for split, labels in texts.items()}


def _named(
    found: dict[Split, _Labelled], targets: dict[Split, Tensor], names: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The names of the columns of targets that have several: given, or their numbers."""
    widths = {split: one.shape[1] for split, one in targets.items()}
    if len(targets) < len(found) or len({*widths.values(), *(() if names is None else (len(names),))}) > 1:
        known = ", ".join(f"{split} {width}" for split, width in widths.items())
        given = "" if names is None else f", and {len(names)} names"
        path = next(iter(found.values())).path
        raise InputError(f"{path}: targets of different widths ({known}{given}); make them the same in all splits")
    width = next(iter(widths.values()))
    return names or (("y",) if width == 1 else tuple(str(number) for number in range(width)))


def _require_range(path: Path, labels: Tensor, classes: tuple[str, ...]) -> None:
    low, high = int(labels.min()), int(labels.max())
    if high >= len(classes):
        from_1 = "; subtract 1 where they begin at 1" if low == 1 and high == len(classes) else ""
        raise InputError(
            f"{path}: labels from {low} to {high}, wanted 0 to {len(classes) - 1} ({len(classes)} classes){from_1}"
        )
