"""Folder and column names -> train, val or test, as the field spells them: `Training`, `val_images`, `TEST set`."""

import re
import unicodedata
from pathlib import Path

from deepres.data.sources.splits import Split

_WORDS: dict[Split, str] = {
    "train": r"train(?:ing|s|val)?|trn",
    "val": r"val(?:id(?:ation|ate)?|s)?|validations|dev(?:elopment|el)?|eval(?:uation)?",
    "test": r"test(?:ing|s)?|tst|holdouts?|heldout",
}
_ABOUT = (
    r"(?:images?|imgs?|pictures?|pics?|photos?|data(?:sets?)?|sets?|splits?|folders?|dirs?|files?|samples?|examples?"
    r"|crops?|frames?|subsets?|partitions?|parts?|jpe?gs?|pngs?|(?:19|20)\d\d)"
)
_WHOLE = {split: re.compile(rf"{_ABOUT}*(?:{word}){_ABOUT}*") for split, word in _WORDS.items()}
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SAID = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_FOLD = re.compile(r"(?:k?folds?|splits?|cv|crossval|partition)\d+")


def split_named(name: str) -> Split | None:
    """Which split a name means, whatever its case, plural and separators, and what it says beside (images, data, set).

    `train2017` is one, `train1` and `train_cropped` are not: what is beside the word has to say nothing.
    """
    word = _plain(name)
    return next((split for split, pattern in _WHOLE.items() if pattern.fullmatch(word)), None)


def split_of_column(column: str) -> Split | None:
    """The split that a column of yes and no asks for: `is_valid` val, `isTest` test."""
    word = _plain(column)
    return split_named(word[2:]) if word.startswith("is") else None


def split_of_cell(column: str, cell: str) -> Split | None:
    """Which split a cell means in a column of that name: `valid` in any, True in `is_valid` or `valid`.

    Not val and not test is train; not train is test.
    """
    asked, said = split_of_column(column) or split_named(column), _SAID.get(cell.casefold())
    if asked is None or said is None:
        return split_named(cell)
    return asked if said else "test" if asked == "train" else "train"


def split_within(name: str) -> tuple[Split, str] | None:
    """The split of which one word of `name` speaks, and what else it says: `seg_train` (train, "seg"), `trainA`."""
    words = _TOKEN.findall(name)
    for place, word in enumerate(words):
        split = split_named(word)
        if split is not None:
            rest = [_plain(other) for other in words[:place] + words[place + 1 :]]
            return split, " ".join(other for other in rest if not re.fullmatch(_ABOUT, other))
    return None


def others_beside(path: Path) -> tuple[str, ...]:
    """A note of each file beside `train.csv` that is called by another split: `test.csv`."""
    own = split_named(path.stem)
    if own is None:
        return ()
    files = sorted(file for file in path.parent.glob(f"*{path.suffix}") if file.is_file())
    others = [file.name for file in files if split_named(file.stem) not in (None, own)]
    remedy = "in one table with a column split" if path.suffix != ".zip" else "in one folder as train/ and test/"
    return tuple(f"{name} beside {path.name} is not used; put both {remedy}" for name in others)


def is_fold(name: str) -> bool:
    """Whether the name is one of several splits of equal rank: `fold1`, `split_0`."""
    return _FOLD.fullmatch(_plain(name)) is not None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", name).casefold())
