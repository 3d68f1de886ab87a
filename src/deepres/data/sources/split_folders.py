"""Which folders of a tree are train, val and test; what can be a split or a class is refused with the question."""

from collections.abc import Iterable, Mapping, Sequence

from deepres.base.errors import InputError
from deepres.base.wording import some
from deepres.data.sources.config import Splits
from deepres.data.sources.split_names import is_fold, split_named, split_within
from deepres.data.sources.splits import SPLITS, Split
from deepres.data.sources.tree import Folder

_NONE = "data.splits=none"


def parted(root: Folder, where: str, splits: Splits) -> tuple[dict[Split, Folder], tuple[str, ...]]:
    """The splits, train first, and what there is to say; none where the folders are classes.

    Raises:
        InputError: two folders of one split; what can be taken as split or as class; folds.
    """
    if splits == "none":
        return {}, ()
    by_split = _once(root, where, ((split_named(folder.name), folder) for folder in root.full))
    by_split = by_split or _alike(root, where)
    if not by_split:
        above = _below_classes(root, where)
        return above, (
            f"every class folder holds {some(_names(above.values()))}: taken as these splits",
        ) if above else ()
    beside = [folder for folder in root.full if folder not in by_split.values()]
    train = by_split.get("train")
    clear = not beside or (train is not None and len(by_split) > 1 and not train.is_flat)
    if not clear and splits == "auto":
        raise _split_or_class(root, where, by_split, beside)
    notes = [f"{folder.name}/ stands beside {some(_names(by_split.values()))}: it is not used" for folder in beside]
    empty = [folder for folder in root.folders.values() if not folder.holds and split_named(folder.name)]
    notes += [f"{folder.name}/ holds no images: it is not used" for folder in empty]
    taken = [f"{folder.name}/ is taken as {split}" for split, folder in by_split.items() if folder.name != split]
    return by_split, (*taken, *notes)


def _alike(root: Folder, where: str) -> dict[Split, Folder]:
    """Folders of which each speaks of a split and else says the same: seg_train, seg_test."""
    spoken = [(said[0], folder) for folder in root.full if (said := split_within(folder.name))]
    several = len({split for split, _ in spoken}) > 1
    rests = {said[1] for folder in root.full if (said := split_within(folder.name))}
    if several and len(rests) == 1 and len({split for split, _ in spoken}) == len(spoken):
        return _once(root, where, spoken)
    named, what, remedy = [folder for _, folder in spoken], "splits", ""
    if not several and all(folder.is_flat for folder in named):
        named, what = [folder for folder in root.full if is_fold(folder.name)], "folds of one set"
        remedy = "list the files in a .csv with a column split, "
    if not named:
        return {}
    raise InputError(
        f"{root.at(where)}: {some(_names(named))} sound like {what}; name the splits train/, val/ and test/, {remedy}"
        f"or --set {_NONE} takes all {len(root.full)} folders as classes"
    )


def _below_classes(root: Folder, where: str) -> dict[Split, Folder]:
    """The splits of cat/train, cat/test, dog/train, …; none where no class folder holds splits."""
    holding = [folder for folder in root.full if any(split_named(inside.name) for inside in folder.full)]
    if not holding:
        return {}
    whole = [f for f in holding if not f.pictures and all(split_named(inside.name) for inside in f.full)]
    first = holding[0]
    within = some(_names(inside for inside in first.full if split_named(inside.name)))
    if any(not inside.is_flat for folder in holding for inside in folder.full):
        raise InputError(
            f"{root.at(where)}: {first.name}/ holds {within} with class folders itself; name {first.at(where)}"
        )
    if len(whole) < len(root.full):
        others = _names(folder for folder in root.full if folder not in whole)
        raise InputError(
            f"{root.at(where)}: {first.name}/ holds {within}, {some(others)} not that alone; give every class the same "
            f"splits, or --set {_NONE} takes these folders for no splits"
        )
    found: dict[Split, Folder] = {}
    for above in whole:
        for split, inside in _once(above, where, ((split_named(i.name), i) for i in above.full)).items():
            found.setdefault(split, Folder(split, root.path)).folders[above.name] = inside
    return {split: found[split] for split in SPLITS if split in found}


def _once(root: Folder, where: str, named: Iterable[tuple[Split | None, Folder]]) -> dict[Split, Folder]:
    """Split -> folder, in the order train, val, test; two of one split are refused."""
    found: dict[Split, Folder] = {}
    for split, folder in named:
        if split in found:
            twins = f"both {found[split].name}/ and {folder.name}/ mean {split}"
            raise InputError(f"{root.at(where)}: {twins}; remove one, or --set {_NONE} takes them as classes")
        if split is not None:
            found[split] = folder
    return {split: found[split] for split in SPLITS if split in found}


def _split_or_class(root: Folder, where: str, by_split: Mapping[Split, Folder], beside: Sequence[Folder]) -> InputError:
    both = f"{some(_names(by_split.values()))} beside {some(_names(beside))}"
    out = (
        f"--set data.splits=folders leaves {some(_names(beside))} out, or"
        if "train" in by_split
        else "name what is for training train/, or"
    )
    return InputError(
        f"{root.at(where)}: {both}: splits, or classes? {out} --set {_NONE} takes all {len(root.full)} as classes"
    )


def _names(folders: Iterable[Folder]) -> list[str]:
    return [f"{folder.name}/" for folder in folders]
