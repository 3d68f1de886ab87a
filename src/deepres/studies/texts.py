"""Figures of a study as a table shows them: the printed one, ours, and how they compare."""

from deepres.studies.readings import decimals, is_read
from deepres.studies.study import Column, Printed
from deepres.studies.verdict import CellResult

MARKS = {"reproduced": "✓", "within the spread": "≈", "not reproduced": "✗", "not run": "–", "shown": ""}


def printed_text(printed: Printed, column: Column) -> str:
    """`6.43 (6.61 ± 0.16)`, `> 20`, as the paper has it."""
    sign = {"above": "> ", "below": "< ", None: ""}[printed.bound]
    if column.measure in ("parameters", "multiply_adds"):
        return f"{sign}{printed.value:.{decimals(printed.value)}f}"
    text = f"{sign}{_number(printed.value, column)}"
    if printed.mean is not None:
        spread = "" if printed.std is None else f" ± {_number(printed.std, column)}"
        return f"{text} ({_number(printed.mean, column)}{spread})"
    return text if printed.std is None else f"{text} ± {_number(printed.std, column)}"


def ours_text(found: CellResult, column: Column) -> str:
    """`8.81 ± 0.12 (5)`: the figure as the paper quotes it, the spread of the seeds and their number."""
    if found.quoted is None:
        return "diverged" if found.diverged else ""
    text = _number(found.quoted, column)
    if found.std is not None:
        text += f" ± {_number(found.std, column)}"
    if found.wanted > 1 or len(found.values) > 1:
        text += f" ({len(found.values)}" + (f" of {found.wanted})" if len(found.values) < found.wanted else ")")
    return text + (f", {found.diverged} diverged" if found.diverged else "")


def _number(value: float, column: Column) -> str:
    """As a table shows it; what is read from descriptions with one digit more than is printed at most."""
    if is_read(column):
        return f"{value:.4g}"
    return f"{value:.3g}" if column.measure == "response" else f"{value:.2f}"
