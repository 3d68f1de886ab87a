"""Labels as others write them -> classes in order: numbers written as 3.0, empty ones, rows of zeros and one 1."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.wording import counted, is_text, quoted

_NUMBER = re.compile(r"[+-]?\d+(\.\d*([eE][+-]?\d+)?)?", re.ASCII)  # 1E5 is a name, 1.0e+00 numpy's 1
_VALUE = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_BETWEEN = "|,/+&"
BREAKS = re.compile("[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_NOTHING = frozenset({"nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "nat", "-", "?"})


def cleaned(labels: Sequence[str], where: Callable[[int], str]) -> tuple[list[str], tuple[str, ...]]:
    """The labels as classes are called, and notes: whole numbers lose their fraction (3.0 -> 3), words stay.

    `where(i)` says where label i stands. A word such as `None` among words is a class, and a note says so.

    Raises:
        InputError: an empty one; `NaN`; a word for nothing among numbers; numbers below 0, or no whole ones.
    """
    values = list(dict.fromkeys(labels))
    if "" in values:
        raise InputError(f"{where(labels.index(''))}: the label is empty; fill it in or remove the image")
    nothing = [value for value in values if value.casefold() in _NOTHING]
    numbers = [value for value in values if _NUMBER.fullmatch(value)]
    missing = [value for value in nothing if value.casefold() == "nan" or len(numbers) + len(nothing) == len(values)]
    if missing and (numbers or any(value.casefold() == "nan" for value in missing)):
        first = next(i for i, label in enumerate(labels) if label in missing)
        count = sum(label in missing for label in labels)
        more = f" ({count} such labels)" if count > 1 else ""
        raise InputError(
            f"{where(first)}: label '{labels[first]}' says that there is none{more}; fill it in or remove it"
        )
    notes = tuple(f"'{value}' is taken as the name of a class" for value in nothing)
    if numbers != values:
        if numbers:
            words = next(value for value in values if value not in numbers)
            told = f"{counted(len(numbers), 'label is a number', 'labels are numbers')} such as '{numbers[0]}', others"
            notes += (f"{told} names such as '{words}': each is a class of its own",)
        return list(labels), notes
    if negative := [value for value in values if value.startswith("-") and float(value)]:
        at = where(labels.index(negative[0]))
        raise InputError(
            f"{at}: label '{negative[0]}', wanted 0 or more; remove images without a class, or use names; "
            "numbers to be learnt: data.targets=numbers"
        )
    if all(value.isdigit() for value in values):
        return list(labels), notes
    whole: dict[str, str] = {}
    for value in values:
        if not float(value).is_integer():
            at = where(labels.index(value))
            raise InputError(
                f"{at}: label '{value}' is no whole number; wanted classes: whole numbers, or names; "
                "numbers to be learnt: data.targets=numbers"
            )
        whole[value] = str(int(float(value)))
    return [whole[label] for label in labels], notes


def require_names(names: Iterable[str], where: str) -> None:
    """Refuse names that no table and no record can hold.

    Raises:
        InputError: an empty one, one that goes over several lines, one that is no text.
    """
    for name in names:
        broken = BREAKS.search(name) is not None
        what = "empty" if not name.strip() else "over several lines" if broken else "" if is_text(name) else "no text"
        if what:
            raise InputError(f"{where}: a name is {what}: {quoted(name)}; give every class a name in one line")


def number_in(text: str) -> float:
    """The number that a cell says, as 3, -0.5 or 1e-3; NaN where it says none: 1_000, 1,5, ten, nan."""
    return float(text) if _VALUE.fullmatch(text) else float("nan")


def value_in(text: str) -> float:
    """The same where the words of yes and no are 1 and 0, as True of pandas."""
    return _WORDS.get(text.casefold(), number_in(text))


def joined(labels: Iterable[str]) -> str | None:
    """The first label that holds several names: each of its parts stands in other labels too, or alone; else None.

    Parts stand between | or commas; between / + & all of them stand alone somewhere. A list of Python is several too.
    """
    different = dict.fromkeys(labels)
    for between in _BETWEEN:
        parts = {label: [part.strip() for part in label.split(between)] for label in different if between in label}
        within = Counter(part for names in parts.values() for part in dict.fromkeys(names))
        for label, names in parts.items():
            known = [name in different or (between in "|," and within[name] > 1) for name in names]
            if all(known) and len(set(names)) == len(names):
                return label
    return next(
        (label for label in different if label[:1] == "[" and label[-1:] == "]" and {*label} & {"'", '"'}), None
    )


def repeated(names: Iterable[str]) -> str | None:
    """The first name that stands twice."""
    seen = set[str]()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels, sorted; by value where all are whole numbers."""
    different = set(labels)
    whole = all(label.isascii() and label.isdigit() for label in different)
    return tuple(sorted(different, key=lambda label: (int(label) if whole else 0, label)))


def alike(classes: Iterable[str]) -> tuple[str, ...]:
    """A note for classes whose names differ in nothing but case, blanks, hyphens, leading zeros or what is unseen."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
        plain = re.sub(r"[\s_\-]+", " ", unicodedata.normalize("NFKC", seen).casefold()).strip()
        groups[str(int(plain)) if plain.isascii() and plain.isdigit() else plain].append(name)
    same = [group for group in groups.values() if len(group) > 1]
    some = "; ".join(" and ".join(f"'{name}'" for name in group) for group in same[:5])
    more = f" and {len(same) - 5} more" if len(same) > 5 else ""
    return (f"classes with nearly one name are kept apart: {some}{more}",) if same else ()


def numbered(classes: Sequence[str]) -> tuple[str, ...]:
    """A note for classes called by numbers that are not their places: 1, 2, 3, or 0, 7, 14."""
    whole = all(name.isascii() and name.isdigit() for name in classes)
    if not whole or list(map(int, classes)) == list(range(len(classes))):
        return ()
    return (f"labels are {len(classes)} numbers from {classes[0]} to {classes[-1]}: classes are called by them",)


def one_hot(rows: NDArray[np.generic]) -> NDArray[np.int64] | None:
    """(N, K) of zeros and one 1 a row -> the place of the 1, int64 (N,); None where some row is not so."""
    if rows.ndim != 2 or rows.shape[1] < 2 or rows.dtype.kind not in "biuf":
        return None
    if not np.isin(rows, (0, 1)).all() or not (rows.sum(axis=1) == 1).all():
        return None
    places: NDArray[np.int64] = rows.argmax(axis=1).astype(np.int64)
    return places
