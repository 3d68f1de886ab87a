"""Which weights: a path or a name, and what is to be said of them that they do not say themselves. No torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from deepres.base.normalisation import Values, as_values


@dataclass(frozen=True)
class WeightsSpec:
    """A run folder, a file or a name, and of bare weights what is not in them.

    `model` is the network that they are of, `variant` what they were trained as where several fit, `mean` and `std`
    those by which images were normalised, on a scale of 0 to 1: one number, or one for each channel.

    Raises:
        InputError: a mean or std that is no number.
    """

    name: str
    model: str | None = None
    variant: str | None = None
    mean: Values | None = None
    std: Values | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(self.name))
        for field in ("mean", "std"):
            object.__setattr__(self, field, as_values(getattr(self, field), field))

    @classmethod
    def of(cls, weights: "WeightsSpec | Path | str") -> "WeightsSpec":
        """The weights themselves, or those of that path or name, of which nothing is said."""
        return weights if isinstance(weights, WeightsSpec) else cls(str(weights))

    def called(self, name: str | Path) -> Self:
        """Other weights of which the same is said."""
        return replace(self, name=str(name))
