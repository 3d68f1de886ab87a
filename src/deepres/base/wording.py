"""Words that many messages share: a count with its noun, a duration, a difference, what was wrong with what."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `3,000 images`, `2 classes`; `plural` where the noun does not just take an s."""
    several = plural or f"{noun}{'es' if noun.endswith(('s', 'x', 'sh', 'tch')) else 's'}"
    return f"{number:,} {noun if number == 1 else several}"


def blamed(name: str, reason: str) -> str:
    """`cat.jpg: empty`, whether the reason names it already or not."""
    return reason if reason.startswith(f"{name}: ") else f"{name}: {reason}"


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
