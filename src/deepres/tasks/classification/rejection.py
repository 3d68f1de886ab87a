"""When it is better to say nothing: thresholds of the highest probability, found on held-out images. Free of torch.

The score is the highest probability, max softmax(z / T) (Hendrycks & Gimpel 2017): the number that is shown beside an
answer, and the one score that views averaged, several networks and exported files have too. An energy (Liu et al. 2020)
needs the logits, which these do not give.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted, percent

SHARES = (1, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.925, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Of the held-out images that are answered: for so many shares a threshold is kept."""
WANTED = "coverage=0.95 (of known images that share is answered), error=0.01 (of the answered), or probability=0.8"

Kind = Literal["coverage", "error", "probability"]


class Threshold(Record):
    """Of the held-out images `answered` have at least this highest `probability`, and of these `wrong` are wrong."""

    probability: Annotated[float, Field(ge=0, le=1)]
    answered: int
    wrong: int


class Rejection(Record):
    """Thresholds, the one that answers all first, as so many `images` of the split `found_on` tell them."""

    thresholds: Annotated[tuple[Threshold, ...], Field(min_length=1)]
    found_on: str
    images: int


class RejectionRule(NamedTuple):
    """Below which probability nothing is answered, and where that comes from, in words."""

    probability: float
    said: str


def rule_of(asked: str, known: Rejection | None) -> RejectionRule:
    """The rule that `asked` means: `coverage=C`, `error=E` by the thresholds that are known, or `probability=P`.

    By `coverage` as many held-out images as that are answered or a few more; by `error` as many as there can be of
    which no larger share is wrong.

    Raises:
        InputError: another spelling, a number that is no share, no thresholds, none with so few errors.
    """
    kind, _, text = asked.partition("=")
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if kind not in ("coverage", "error", "probability") or not 0 <= value <= 1:
        raise InputError(f"--reject {asked}: wanted {WANTED}")
    if kind == "probability":
        return RejectionRule(value, f"below a probability of {value:g}, as asked")
    if known is None:
        raise InputError(
            f"--reject {asked}: these weights keep no thresholds, which a run finds on its held-out images when it "
            "ends; wanted probability=P, or a run that holds images out"
        )
    if kind == "coverage":
        fitting = [one for one in known.thresholds if one.answered >= value * known.images]
        chosen = min(fitting, key=lambda one: one.answered)
    else:
        fitting = [one for one in known.thresholds if one.wrong <= value * one.answered]
        if not fitting:
            least = min(one.wrong / one.answered for one in known.thresholds)
            raise InputError(
                f"--reject {asked}: on {counted(known.images, 'held-out image')} no threshold has so few errors; the "
                f"least is error={least:.3g}"
            )
        chosen = max(fitting, key=lambda one: one.answered)
    share = percent(chosen.wrong / chosen.answered)
    return RejectionRule(
        chosen.probability,
        f"below a probability of {chosen.probability:.4f}: {chosen.answered:,} of "
        f"{counted(known.images, 'held-out image')} ({known.found_on}) are answered, {chosen.wrong:,} of these wrongly "
        f"({share})",
    )
