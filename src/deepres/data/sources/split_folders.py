"""Which folders of a tree are train, val and test; what can be a part or a class is refused with the question."""

from collections.abc import Iterable, Mapping, Sequence

from deepres.base.errors import InputError
from deepres.data.sources.config import Splits
from deepres.data.sources.split_names import is_fold, split_named, split_within
from deepres.data.sources.splits import SPLITS, Split
from deepres.data.sources.tree import Folder, some

_NONE = "data.splits=none"


def parted(root: Folder, where: str, splits: Splits) -> tuple[dict[Split, Folder], tuple[str, ...]]:
    """The parts, train first, and what there is to say; none where the folders are classes.

    Raises:
        InputError: two folders of one part; what can be taken as part or as class; folds.
    """
    if splits == "none":
        return {}, ()
    parts = _once(root, where, ((split_named(folder.name), folder) for folder in root.full))
    parts = parts or _alike(root, where)
    if not parts:
        above = _below_classes(root, where)
        return above, (
            f"every class folder holds {some(_names(above.values()))}: taken as these parts",
        ) if above else ()
    beside = [folder for folder in root.full if folder not in parts.values()]
    train = parts.get("train")
    clear = not beside or (train is not None and len(parts) > 1 and not train.is_flat)
    if not clear and splits == "auto":
        raise _part_or_class(root, where, parts, beside)
    notes = [f"{folder.name}/ stands beside {some(_names(parts.values()))}: it is not used" for folder in beside]
    empty = [folder for folder in root.folders.values() if not folder.holds and split_named(folder.name)]
    notes += [f"{folder.name}/ holds no images: it is not used" for folder in empty]
    taken = [f"{folder.name}/ is taken as {part}" for part, folder in parts.items() if folder.name != part]
    return parts, (*taken, *notes)


def _alike(root: Folder, where: str) -> dict[Split, Folder]:
    """Folders of which each speaks of a part and else says the same: seg_train, seg_test."""
    spoken = [(said[0], folder) for folder in root.full if (said := split_within(folder.name))]
    several = len({part for part, _ in spoken}) > 1
    rests = {said[1] for folder in root.full if (said := split_within(folder.name))}
    if several and len(rests) == 1 and len({part for part, _ in spoken}) == len(spoken):
        return _once(root, where, spoken)
    named, what, remedy = [folder for _, folder in spoken], "parts of a split", ""
    if not several and all(folder.is_flat for folder in named):
        named, what = [folder for folder in root.full if is_fold(folder.name)], "folds of one set"
        remedy = "list the files in a .csv with a column split, "
    if not named:
        return {}
    raise InputError(
        f"{root.at(where)}: {some(_names(named))} sound like {what}; name the parts train/, val/ and test/, {remedy}"
        f"or --set {_NONE} takes all {len(root.full)} folders as classes"
    )


def _below_classes(root: Folder, where: str) -> dict[Split, Folder]:
    """The parts of cat/train, cat/test, dog/train, …; none where no class folder holds parts."""
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
            f"parts, or --set {_NONE} takes these folders for no parts"
        )
    found: dict[Split, Folder] = {}
    for above in whole:
        for part, inside in _once(above, where, ((split_named(i.name), i) for i in above.full)).items():
            found.setdefault(part, Folder(part, root.path)).folders[above.name] = inside
    return {part: found[part] for part in SPLITS if part in found}


def _once(root: Folder, where: str, named: Iterable[tuple[Split | None, Folder]]) -> dict[Split, Folder]:
    """Split -> folder, in the order train, val, test; two of one part are refused."""
    found: dict[Split, Folder] = {}
    for part, folder in named:
        if part in found:
            twins = f"both {found[part].name}/ and {folder.name}/ mean {part}"
            raise InputError(f"{root.at(where)}: {twins}; remove one, or --set {_NONE} takes them as classes")
        if part is not None:
            found[part] = folder
    return {part: found[part] for part in SPLITS if part in found}


def _part_or_class(root: Folder, where: str, parts: Mapping[Split, Folder], beside: Sequence[Folder]) -> InputError:
    both = f"{some(_names(parts.values()))} beside {some(_names(beside))}"
    out = (
        f"--set data.splits=folders leaves {some(_names(beside))} out, or"
        if "train" in parts
        else "name what is for training train/, or"
    )
    return InputError(
        f"{root.at(where)}: {both}: parts of a split, or classes? {out} --set {_NONE} takes all {len(root.full)} as "
        "classes"
    )


def _names(folders: Iterable[Folder]) -> list[str]:
    return [f"{folder.name}/" for folder in folders]
