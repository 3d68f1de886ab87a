"""A tree of names -> classes and splits, whether it lies on a disk or in an archive: nothing is read here.

    CLASS/**/PICTURE                                    no split
    train/CLASS/**/PICTURE  val/…  test/…               spelled as in split_names.py, images/ above or below
    CLASS/train/PICTURE  CLASS/test/PICTURE             the class above the split

Classes are the sorted names of the class folders, as in torchvision (class10 before class2). A folder called images
says nothing, wherever it stands; one that alone holds all others is gone through. Where a class folder holds several
folders of pictures, `depth` says what a class is: 1, 2, … levels of folders, or "leaf", all of them; the class is then
named by its path, Fruit/Apple. `splits` "folders" takes every folder called like a split for one and leaves out what
stands beside, "none" takes none for one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from deepres.base.errors import InputError
from deepres.base.wording import counted, some
from deepres.data.sources.config import Depth, Splits
from deepres.data.sources.split_folders import parted
from deepres.data.sources.split_names import split_named
from deepres.data.sources.splits import Split
from deepres.data.sources.tree import Folder, grown, in_order, is_neutral

_ABOUT_PICTURES = frozenset({".txt", ".xml", ".json", ".csv", ".tsv", ".md", ".yaml", ".yml", ".html", ".log", ".mat"})

_ByKey = dict[tuple[str, ...], list[str]]  # the folders from the split down to pictures -> these


@dataclass(frozen=True)
class Listing:
    """One split: the folder where it lies, its pictures, the class of each; `labels` None where no folder tells it."""

    place: str
    pictures: tuple[str, ...]
    labels: tuple[int, ...] | None


@dataclass(frozen=True)
class Layout:
    """What a tree is taken as; `ignored` counts the files that are no pictures."""

    classes: tuple[str, ...]
    splits: Mapping[Split, Listing]
    ignored: int
    notes: tuple[str, ...]


def arranged(
    pictures: Iterable[str],
    where: str,
    *,
    others: Iterable[str] = (),
    folders: Iterable[str] = (),
    depth: Depth | None = None,
    splits: Splits = "auto",
) -> Layout:
    """What relative names below `where` are taken as: of pictures, other files, and folders that may be empty.

    Raises:
        InputError: it can be taken in several ways (the line says which, and how to choose), no class folders, an
            empty class in train, a class that train has not.
    """
    top, spelled = grown(pictures, others, folders, where)
    root = _unwrapped(top, depth, splits)
    by_split, said = parted(root, where, splits)
    notes = [f"{root.path}/ alone holds pictures: taken is what lies in it"] * (root is not top) + [*said]
    by_split = by_split or {"train": root}
    inner = {split: _unwrapped(folder, depth, splits, split) for split, folder in by_split.items()}
    notes += [
        f"{by_split[split].path}/: the class folders lie in {folder.path}/"
        for split, folder in inner.items()
        if by_split[split] is not root and folder is not by_split[split] and not is_neutral(folder.name)
    ]
    for split, folder in inner.items():
        if by_split[split] is not root and splits != "none":
            _require_no_split_within(folder, where)
    told = {p: f for p, f in inner.items() if p == "train" or len(by_split) == 1 or not f.is_flat}
    keys: dict[Split, _ByKey] = {}
    for split, folder in told.items():
        notes += _require_class_folders(folder, where, splits, empty_is_wrong=split == "train")
        keys[split] = {key: paths for key, paths in _leaves(folder, (), splits).items() if key}
    _require_one_depth(root, keys, where, depth)
    classed = {split: _classed(found, depth) for split, found in keys.items()}
    classes, lacking = _same(classed, by_split, where)
    listings: dict[Split, Listing] = {}
    for split, folder in inner.items():
        if split in classed:
            labels = tuple(label for label, name in enumerate(classes) for _ in classed[split].get(name, ()))
            pictures = tuple(path for name in classes for path in classed[split].get(name, ()))
            listings[split] = Listing(folder.path, pictures, labels)
        else:
            listings[split] = Listing(folder.path, tuple(in_order(folder.every_picture())), None)
    ignored = sum(1 for folder in by_split.values() for _ in folder.every_other())
    return Layout(classes, listings, ignored, (*notes, *lacking, *spelled))


def _unwrapped(folder: Folder, depth: Depth | None, splits: Splits, split: Split | None = None) -> Folder:
    """The folder below which, gone through folders that alone hold pictures, there are several, or another split."""
    inner = folder
    while not inner.pictures and len(inner.full) == 1:
        if splits != "none" and split_named(inner.full[0].name) not in (None, split):
            break
        if depth not in (None, 1) and not is_neutral(inner.full[0].name):
            break  # names are paths, and this folder begins them
        inner = inner.full[0]
    return folder if inner.pictures or not inner.full else inner


def _require_no_split_within(folder: Folder, where: str) -> None:
    """Refuse train/val/cat beside train/cat: what is called like a split, and holds classes that stand beside it."""
    for inside in folder.full:
        beside = {other.name for other in folder.full if other is not inside}
        if split_named(inside.name) and beside & {below.name for below in inside.full}:
            raise InputError(
                f"{inside.at(where)}: a split within {folder.path}/, whose class folders stand beside it; move it "
                f"out of {folder.path}/, or --set data.splits=none takes it as a class"
            )


def _require_class_folders(folder: Folder, where: str, splits: Splits, empty_is_wrong: bool) -> list[str]:
    """What there is to say of a split whose folders are classes."""
    loose = len(folder.pictures)
    if not folder.holds or (folder.is_flat and (splits != "none" or not folder.full)):
        suffixes = [PurePosixPath(path).suffix.lower() or "no suffix" for path in folder.every_other()]
        kinds = f" ({counted(len(suffixes), 'other file')}: {', '.join(sorted(set(suffixes))[:5])})" if suffixes else ""
        loose = sum(1 for _ in folder.every_picture())
        given = f"{counted(loose, 'image')} outside class folders" if loose else "no images"
        raise InputError(
            f"{folder.at(where)}: {given}{kinds}; wanted one folder a class, such as {folder.at(where)}/cat/1.jpg"
        )
    neutral = [inside for inside in folder.full if is_neutral(inside.name)] if splits != "none" else []
    if neutral:
        rest = [f"{inside.name}/" for inside in folder.full if inside not in neutral]
        raise InputError(
            f"{folder.at(where)}: {neutral[0].name}/ beside {some(rest)}: classes? name the folder of class "
            f"folders, or --set data.splits=none takes all {len(folder.full)} as classes"
        )
    notes = [f"outside the class folders of {PurePosixPath(folder.at(where)).name}/: {loose} not used"] if loose else []
    for inside in folder.folders.values():
        if not inside.holds and not (splits != "none" and is_neutral(inside.name)):
            others = list(inside.every_other())
            if others and all(PurePosixPath(path).suffix.lower() in _ABOUT_PICTURES for path in others):
                notes.append(f"{inside.name}/ holds {len(others)} other files and no images: it is no class")
            elif empty_is_wrong:
                raise InputError(f"{inside.at(where)}: a class without images; add some or remove the folder")
    return notes


def _leaves(folder: Folder, key: tuple[str, ...], splits: Splits) -> _ByKey:
    """The pictures by the folders above them; folders called images are not counted."""
    found: _ByKey = {key: list(folder.pictures)} if folder.pictures else {}
    for name, inside in folder.folders.items():
        if inside.holds:
            below = key if is_neutral(name) and (key or splits != "none") else (*key, name)
            for path, pictures in _leaves(inside, below, splits).items():
                found.setdefault(path, []).extend(pictures)
    return found


def _require_one_depth(root: Folder, keys: Mapping[Split, _ByKey], where: str, depth: Depth | None) -> None:
    every = sorted({key for found in keys.values() for key in found})
    tops = list(dict.fromkeys(key[0] for key in every))
    if depth is not None or len(every) == len(tops):
        return
    deepest = max(every, key=len)
    counts: dict[int, Depth] = {len(every): "leaf"}  # each way to tell classes apart once
    for level in range(len(deepest) - 1, 0, -1):
        if (count := len({key[:level] for key in every})) != len(every):
            counts[count] = level
    offers = [
        f"data.depth={level} ({count} classes such as {'/'.join(deepest[: None if level == 'leaf' else level])})"
        for count, level in sorted(counts.items())
    ]
    choice = f"--set {', '.join(offers[:-1])} or {offers[-1]}"
    holders = [name for name in tops if sum(key[0] == name for key in every) > 1]
    flat = {key[0] for key in every if len(key) == 1}
    if len(holders) == 1 and flat == set(tops) - {*holders} and flat and list(keys) == ["train"]:
        count = sum(key[0] == holders[0] for key in every)
        raise InputError(
            f"{root.at(where)}: {holders[0]}/ holds {count} folders of images itself, "
            f"{some(f'{name}/' for name in tops if name != holders[0])} none; is {holders[0]}/ the set? name "
            f"{root.at(where)}/{holders[0]}, or {choice}"
        )
    raise InputError(f"{root.at(where)}: folders of images within folders ({'/'.join(deepest)}): {choice}")


def _classed(leaves: _ByKey, depth: Depth | None) -> dict[str, list[str]]:
    """Class -> its pictures, in order."""
    found: dict[str, list[str]] = {}
    for key, paths in leaves.items():
        found.setdefault("/".join(key if depth == "leaf" else key[: depth or 1]), []).extend(paths)
    return {name: in_order(paths) for name, paths in found.items()}


def _same(
    classed: Mapping[Split, Mapping[str, object]], by_split: Mapping[Split, Folder], where: str
) -> tuple[tuple[str, ...], list[str]]:
    """The classes, in order, and which of them a split has no images of; one that train has not is refused."""
    first = next(iter(classed))
    if first != "train":
        return tuple(sorted({name for found in classed.values() for name in found})), []
    train, notes = classed["train"], []
    for split, found in classed.items():
        added, lacking = sorted(set(found) - set(train)), sorted(set(train) - set(found))
        if added:
            folded = {name.casefold(): name for name in train}
            near = next((folded[name.casefold()] for name in added if name.casefold() in folded), None)
            raise InputError(
                f"{where}: {by_split[split].name}/ has classes that {by_split['train'].name}/ has not: {some(added)}"
                + (f" ({by_split['train'].name}/ has {near})" if near else "")
                + "; rename or remove them"
            )
        if lacking:
            notes.append(f"{by_split[split].name}/ has no images of {some(lacking)}")
    return tuple(sorted(train)), notes
