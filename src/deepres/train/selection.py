"""Which epoch's weights are kept, and how sure the choice is: what few held-out images can tell, and what they cannot.

Of 50 images one alone is 2 % of error, so that the epoch of the lowest error is often a lucky one. An epoch cannot be
told from the best where its error lies below the upper end of the best one's Wilson interval (95 %).
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal

from deepres.base.wording import counted
from deepres.data.loading.balance import Balance, effective
from deepres.tasks.classification.metrics import Scores, interval
from deepres.train.state import Best

Select = Literal["auto", "best", "last"]
"""The last epoch that cannot be told from the best; the best on held-out images; the last, whatever these say."""


def held_out(scores: Scores, balance: Balance) -> tuple[float, float, int]:
    """The error and the loss that choose the epoch, and of how many images the error is as sure.

    Where classes are made to weigh alike the error is the mean over them (`data/loading/balance.py`).
    """
    if balance == "none":
        return scores.error, scores.cross_entropy, scores.num_images
    return scores.balanced_error, scores.cross_entropy, effective([one.num_images for one in scores.per_class])


def interval_of(epoch: Best) -> tuple[float, float]:
    """Wilson's 95 % interval of its held-out error; that error alone where the number of images is not known."""
    return interval(round(epoch.error * epoch.images), epoch.images) if epoch.images else (epoch.error, epoch.error)


def alike(best: Best, error: float) -> bool:
    """Whether an epoch of that held-out error cannot be told from the best."""
    return error <= interval_of(best)[1]


def chosen(select: Select, best: Best | None, kept: Best | None) -> Best | None:
    """The epoch whose weights a run keeps; None: those of its last step."""
    return {"auto": kept or best, "best": best, "last": None}[select]


def told(select: Select, best: Best | None, kept: Best | None, history: Sequence[Mapping[str, Any]]) -> str:
    """One line: which epoch was chosen on how many images, and from how many others they cannot tell it.

    `history` has one row for each epoch. Empty where there was nothing to choose from, or nothing chosen.
    """
    epoch = chosen(select, best, kept)
    if epoch is None or best is None or not best.images or len(history) < 2:
        return ""
    low, high = interval_of(best)
    known = (row["val_error"] for row in history if isfinite(row["val_loss"] or 0) and row["val_error"] is not None)
    number = sum(error <= high for error in known)
    images = counted(best.images, "held-out image")
    figures = f"error {100 * best.error:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    which = f"epoch {epoch.epoch} of {len(history)} is kept"
    if number < 2:
        return f"{which}, the best on {images}: {figures}, which no other epoch reaches"
    if epoch == best:
        return f"{which}, the best on {images}: {figures}, within which {number} of {len(history)} epochs lie"
    return (
        f"{which}, the last of {number} that {images} cannot tell from the best, epoch {best.epoch}: {figures}; "
        f"its own is {100 * epoch.error:.1f} %"
    )
