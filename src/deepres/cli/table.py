"""Lines of text in columns."""

from collections.abc import Sequence

from deepres.base.wording import shown


def columns(lines: Sequence[Sequence[str]], sides: str) -> str:
    """The lines with each column as wide as its widest cell; `sides` has one of < and > for each column."""
    lines = [list(map(shown, line)) for line in lines]
    widths = [max(len(line[place]) for line in lines) for place in range(len(sides))]
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in lines
    )
