"""What is said of one image: the likeliest classes with their probabilities."""

from deepres.base.records import Record
from deepres.base.wording import shown
from deepres.tasks.task import guessed_cells


class Guess(Record):
    """A class name and the probability that the network gives it."""

    name: str
    probability: float


class ClassAnswer(Record):
    """The guesses for one image, the likeliest first; or, where it cannot be read, why."""

    image: str
    guesses: tuple[Guess, ...]
    problem: str | None = None

    def line(self) -> str:
        """`cat.jpg: cat 93.1 %  lynx 4.0 %`, or the problem."""
        guesses = "  ".join(f"{guess.name} {100 * guess.probability:.1f} %" for guess in self.guesses)
        return self.problem or shown(f"{self.image}: {guesses}")

    def rows(self) -> list[dict[str, str]]:
        """Each class with its probability."""
        return [guessed_cells([(one.name, one.probability) for one in self.guesses])]
