"""Which weights: a path or a name, and what is to be said of them that they do not say themselves. No torch."""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Self

from deepres.base.arguments import path_text, word
from deepres.base.normalisation import Values, as_values

WANTED = "a run, its folder, a file, or a name such as resnet50.a1_in1k"


@dataclass(frozen=True)
class WeightsSpec:
    """A run folder, a file or a name, and of bare weights what is not in them.

    `model` is the network that they are of, `variant` what they were trained as where several fit, `mean` and `std`
    those by which images were normalised, on a scale of 0 to 1: one number, or one for each channel.

    >>> import deepres
    >>> deepres.WeightsSpec("theirs.pth", model="resnet18", mean=0.5, std=(0.25, 0.25, 0.25)).mean
    (0.5,)

    Raises:
        InputError: a mean or std that is no number.
    """

    name: str
    model: str | None = None
    variant: str | None = None
    mean: Values | None = None
    std: Values | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", path_text(self.name, "weights", WANTED))
        for field in ("model", "variant"):
            if getattr(self, field) is not None:
                word(getattr(self, field), field, "the name of a network (deepres.list_models() has them)")
        for field in ("mean", "std"):
            object.__setattr__(self, field, as_values(getattr(self, field), field))

    def __str__(self) -> str:
        """As messages call them."""
        return self.name

    @classmethod
    def of(cls, weights: "WeightsSpec | PathLike[str] | str") -> "WeightsSpec":
        """The weights themselves, or those of that path or name, of which nothing is said."""
        return weights if isinstance(weights, WeightsSpec) else cls(weights)  # type: ignore[arg-type]

    def called(self, name: str | Path) -> Self:
        """Other weights of which the same is said."""
        return replace(self, name=str(name))
