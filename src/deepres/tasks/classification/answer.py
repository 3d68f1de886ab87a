"""What is said of one image: the likeliest classes with their probabilities."""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from deepres.base.records import Record
from deepres.base.wording import shown
from deepres.tasks.task import guessed_cells


class Guess(Record):
    """A class name and the probability that the network gives it."""

    name: str
    probability: float


UNKNOWN = "unknown"
"""The answer about an image that is put aside."""


class ClassAnswer(Record):
    """The guesses for one image, the likeliest first; or, where it cannot be read, why.

    `unknown`: whether none of them is probable enough to be an answer (rejection.py); None where that is not asked.
    """

    image: str
    guesses: tuple[Guess, ...]
    problem: str | None = None
    unknown: bool | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if name != "unknown" or value is not None}

    @property
    def label(self) -> str:
        """The likeliest class, or `unknown`."""
        return UNKNOWN if self.unknown else self.guesses[0].name

    def line(self) -> str:
        """`cat.jpg: cat 93.1 %  lynx 4.0 %`, `cat.jpg: unknown (cat 41.0 %  lynx 39.2 %)`, or the problem."""
        guesses = "  ".join(f"{guess.name} {100 * guess.probability:.1f} %" for guess in self.guesses)
        return self.problem or shown(f"{self.image}: {f'{UNKNOWN} ({guesses})' if self.unknown else guesses}")

    def rows(self) -> list[dict[str, str]]:
        """Each class with its probability; where it is asked whether there is an answer, that comes first."""
        cells = guessed_cells([(one.name, one.probability) for one in self.guesses])
        return [cells if self.unknown is None or not self.guesses else {"answer": self.label, **cells}]
