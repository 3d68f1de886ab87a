"""Which epoch's weights are kept, and how sure the choice is: what few held-out images can tell, and what they cannot.

Of 50 images one alone is 2 % of error, so that the epoch of the lowest error is often a lucky one. An epoch cannot be
told from the best where its error lies below the upper end of the best one's 95 % interval.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from deepres.base.wording import counted, is_share
from deepres.train.config import Select
from deepres.train.state import Best


def alike(best: Best, value: float) -> bool:
    """Whether an epoch that held-out images give that value cannot be told from the best."""
    return value <= best.high


def values(history: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """What decided, epoch by epoch; None where an epoch was lost, or nothing was held out."""
    return [row.get(f"val_{name}") if isfinite(row.get("val_loss") or 0) else None for row in history]


def chosen(select: Select, best: Best | None, kept: Best | None) -> Best | None:
    """The epoch whose weights a run keeps; None: those of its last step."""
    return {"auto": kept or best, "best": best, "last": None}[select]


def choice_text(select: Select, best: Best | None, kept: Best | None, history: Sequence[Mapping[str, Any]]) -> str:
    """One line: which epoch was chosen on how many images, and from how many others they cannot tell it.

    `history` has one row for each epoch. Empty where there was nothing to choose from, or nothing chosen.
    """
    epoch = chosen(select, best, kept)
    if epoch is None or best is None or not best.images or len(history) < 2:
        return ""
    number = sum(value is not None and alike(best, value) for value in values(history, best.name))
    images = counted(best.images, "held-out image")
    share = is_share(best.name)
    own, at, low, high = (
        f"{100 * value:.1f}" if share else f"{value:.3g}" for value in (epoch.value, best.value, best.low, best.high)
    )
    unit = " %" if share else ""
    figures = f"{best.name.replace('_', ' ')} {at}{unit} (95 % interval {low} to {high}{unit})"
    which = f"epoch {epoch.epoch} of {len(history)} is kept"
    if number < 2:
        return f"{which}, the best on {images}: {figures}, which no other epoch reaches"
    if epoch == best:
        return f"{which}, the best on {images}: {figures}, within which {number} of {len(history)} epochs lie"
    return (
        f"{which}, the last of {number} that {images} cannot tell from the best, epoch {best.epoch}: {figures}; "
        f"its own is {own}{unit}"
    )
