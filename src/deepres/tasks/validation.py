"""What held-out images say of an epoch: a key, of which the lower is the better, and figures to be shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite


@dataclass(frozen=True)
class Validation:
    """`key` decides, its first number first; `shown` are figures by name, `loss` and the one called `name` among them.

    `name` is what `key[0]` is called, `low` and `high` its 95 % interval (None: not known how sure it is), `images` how
    many it is of (0: not known). Fractions are told by their names (`wording.is_share`).
    """

    key: tuple[float, ...]
    shown: Mapping[str, float] = field(default_factory=dict)
    images: int = 0
    name: str = "error"
    low: float | None = None
    high: float | None = None

    @property
    def finite(self) -> bool:
        """Whether it can be compared: what is lost is no epoch to be kept."""
        return all(map(isfinite, self.key))


def by_error(error: float, loss: float, images: int = 0) -> Validation:
    """The share of wrong images decides, of equal ones the mean loss; its interval is Wilson's, of so many images."""
    from deepres.tasks.classification.metrics import interval

    low, high = interval(round(error * images), images) if images else (None, None)
    return Validation((error, loss), {"loss": loss, "error": error}, images, low=low, high=high)
