"""What is said of one image: the classes that are on it, each with its probability."""

from deepres.base.records import Record
from deepres.base.wording import shown
from deepres.tasks.task import guessed_cells


class LabelGuess(Record):
    """A class, its probability, and whether that reaches its threshold."""

    name: str
    probability: float
    said: bool


class LabelsAnswer(Record):
    """`labels`: the classes that are said to be there; `guesses`: the likeliest ones; or why there is no answer."""

    image: str
    labels: tuple[str, ...]
    guesses: tuple[LabelGuess, ...]
    problem: str | None = None

    def line(self) -> str:
        """`street.jpg: car 93.1 %  person 71.0 %`, or `sky.jpg: none (likeliest bird 12.0 %)`, or the problem."""
        if self.problem is not None:
            return self.problem
        told = [f"{one.name} {100 * one.probability:.1f} %" for one in self.guesses if one.said]
        more = len(self.labels) - len(told)
        told += [f"and {more} more"] if more else []
        if not told:
            first = self.guesses[0]
            told = [f"none (likeliest {first.name} {100 * first.probability:.1f} %)"]
        return shown(f"{self.image}: {'  '.join(told)}")

    def rows(self) -> list[dict[str, str]]:
        """`labels` separated by `;`, then the probabilities of the likeliest."""
        guesses = guessed_cells([(one.name, one.probability) for one in self.guesses])
        return [{"labels": ";".join(self.labels), **guesses}]
