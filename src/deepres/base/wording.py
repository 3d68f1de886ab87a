"""Words that many messages share: counts, shares, durations, differences, columns; texts made safe to show."""

from collections.abc import Iterable, Sequence
from unicodedata import category

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")  # within words of Persian and Hindi, and within emoji


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `3,000 images`, `2 classes`; `plural` where the noun does not just take an s."""
    several = plural or f"{noun}{'es' if noun.endswith(('s', 'x', 'sh', 'tch')) else 's'}"
    return f"{number:,} {noun if number == 1 else several}"


def tallied(name: str, count: str) -> str:
    """`alike       1,000 pairs`: a row of a table whose numbers end in one column; `count` as `counted` gives it."""
    number, what = count.split(" ", 1)
    return f"{name:<10} {number:>6} {what}"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def some(names: Iterable[str], most: int = 5) -> str:
    """`a, b, c and 7 more`: the first of them, and how many others there are."""
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most:,} more" if len(every) > most else "")


def shown(text: str, kept: str = "") -> str:
    r"""The text without what could steer a terminal or turn its letters round, which is written as JSON does: `\u001b`.

    Control characters, marks of direction, halves of pairs (bytes that are no UTF-8), ends of lines; `kept` stay.
    Every text that comes from outside passes through here before it is shown; to do so twice changes nothing.
    """
    return text if text.isprintable() else "".join(each if each in kept else _plain(each) for each in text)


def _plain(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS or category(letter) not in _STEERING:
        return letter
    pairs = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{pairs[at : at + 4]}" for at in range(0, len(pairs), 4))


def blamed(name: str, reason: str) -> str:
    """`cat.jpg: empty`, whether the reason names it already or not."""
    return f"{shown(name)}: {reason_alone(name, reason)}"


def reason_alone(name: str, message: str) -> str:
    """`empty` of `cat.jpg: empty`."""
    return message.removeprefix(f"{name}: ").removeprefix(f"{shown(name)}: ")


def is_share(figure: str) -> bool:
    """Whether a figure of that name is a fraction in [0, 1], shown in percent: `error`, `pair_error`, `1-AP`, `AP`."""
    return figure in ("error", "AP", "AP50") or figure.endswith("_error") or figure.startswith("1-")


def percent(fraction: float, digits: int = 2) -> str:
    """`1.11 %`, as the papers print an error; never `-0.00 %`."""
    return f"{round(100 * fraction, digits) + 0.0:.{digits}f} %"


def columns(lines: Sequence[Sequence[str]], sides: str) -> str:
    """The lines with each column as wide as its widest cell; `sides` has one of < and > for each column."""
    lines = [list(map(shown, line)) for line in lines]
    widths = [max(len(line[place]) for line in lines) for place in range(len(sides))]
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in lines
    )


def signed(number: float) -> str:
    """`+1.25`, `-0.40`, and `+0.00` for whatever rounds to it."""
    return f"{round(number, 2) + 0.0:+.2f}"


def duration(seconds: float) -> str:
    """`8 s`, `12 min`, `3.5 h`, `12 days`, `3.0 years`."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48), ("days", 86400, 600)):
        if seconds < size * limit:
            value = seconds / size
            return f"{value:.1f} {unit}" if unit in ("h", "days") and value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86400 / 365:.1f} years"


def is_text(name: str) -> bool:
    """Whether a name can be written down; a disk gives bytes that are no UTF-8 as halves of a pair (surrogates)."""
    return name.isprintable() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def quoted(name: str) -> str:
    """The name in quotes, in one line, what is no UTF-8 as bytes: 'caf\\xe9', 'a\\nb'."""
    shown = "".join(rf"\x{ord(each) - 0xDC00:02x}" if "\udc80" <= each <= "\udcff" else each for each in name)
    return "'" + "".join(each if each == " " or each.isprintable() else ascii(each)[1:-1] for each in shown) + "'"
