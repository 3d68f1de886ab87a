"""Arguments of public functions, checked where they come in: whole numbers, words, yes or no."""

from operator import index
from os import PathLike, fspath

from deepres.base.errors import InputError

MOST = 2**24
"""The most classes, images or channels that are asked for; more is a slip, and would not fit any memory."""


def whole(value: object, name: str, least: int, most: int = MOST) -> int:
    """The value as an int; NumPy's whole numbers count, True and '3' do not.

    Raises:
        InputError: it is no whole number from `least` to `most`.
    """
    wanted = f"wanted a whole number, {least} or more"
    if isinstance(value, bool | str | float) or not hasattr(value, "__index__"):
        raise InputError(f"{name}: given {_shown(value)}; {wanted}")
    try:
        number = index(value)
    except TypeError as cause:  # an array, or a tensor of fractions
        raise InputError(f"{name}: given {_shown(value)}; {wanted}") from cause
    if number < least:
        raise InputError(f"{name}: given {number}; {wanted}")
    if number > most:
        raise InputError(f"{name}: given {number}; wanted at most {most}")
    return number


def word(value: object, name: str, wanted: str) -> str:
    """The value, which is a text that says something.

    Raises:
        InputError: it is no text, or empty.
    """
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name}: given {_shown(value)}; wanted {wanted}")
    return value


def path_text(value: object, name: str, wanted: str) -> str:
    """The value as text: a path, or a text that says something.

    Raises:
        InputError: it is neither.
    """
    return word(fspath(value) if isinstance(value, PathLike) else value, name, wanted)


def words(value: object, name: str, wanted: str) -> tuple[str, ...]:
    """The value as a tuple of texts; one text alone is none, for its letters would be meant.

    Raises:
        InputError: it is no list of texts that say something.
    """
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise InputError(f"{name}: given {_shown(value)}; wanted {wanted}")
    return tuple(word(one, name, wanted) for one in value)


def flag(value: object, name: str) -> bool:
    """The value, which is True or False.

    Raises:
        InputError: it is neither.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name}: given {_shown(value)}; wanted True or False")
    return value


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 40 else f'{text[:40]}…'} ({type(value).__name__})"
