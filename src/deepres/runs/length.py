"""Whether a run was longer than its held-out images can tell: said as it ends, for the next one."""

from collections.abc import Mapping, Sequence
from typing import Any

from deepres.base.wording import counted
from deepres.recipes.run import Run
from deepres.train.selection import alike, values
from deepres.train.state import Best

OWN = ("small", "photos", "finetune")
"""Recipes for one's own images; a paper's length belongs to the paper."""

TELLING = 0.05  # an interval that goes further beyond the best error tells nothing about lengths
ROOM = 2  # a shorter run has its falling rate within it: so many times the epochs to where nothing more was gained


def told_length(run: Run, best: Best | None, history: Sequence[Mapping[str, Any]]) -> str:
    """One line: since when no held-out error was told from the best one, and a length to try; empty where none is."""
    epochs = run.train.epochs
    if best is None or not best.images or epochs is None or run.recipe not in OWN:
        return ""
    if best.high - best.value > TELLING:
        return ""
    found = enumerate(values(history, best.name), start=1)
    told = [number for number, value in found if value is None or not alike(best, value)]
    since = max(told, default=0) + 1
    enough = ROOM * since
    if len(history) != epochs or enough > 2 * epochs / 3:
        return ""
    return (
        f"from epoch {since} of {epochs} on {counted(best.images, 'held-out image')} tell no gain: "
        f"a shorter run, such as --epochs {enough}, may do as well"
    )
