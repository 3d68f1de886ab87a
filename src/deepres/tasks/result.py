"""What a network is worth on one split, by one protocol: the part of a result that every task has."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import JsonValue

from deepres.base import records
from deepres.base.records import Record
from deepres.base.wording import blamed, counted, percent
from deepres.base.wording import shown as safe
from deepres.tasks.blocks import Block, Card


class SkippedImage(Record):
    """An image that could not be read and was left out of every count."""

    name: str
    reason: str


class Headline(Record):
    """The one number that a network is told by, with its 95 % interval, both also as a person reads them."""

    name: str
    value: float
    low: float | None
    high: float | None
    text: str
    interval: str
    detail: str = ""
    lower_is_better: bool = True
    is_share: bool = True

    def told(self, value: float) -> str:
        """Another value of the same figure as a person reads it."""
        return percent(value) if self.is_share else f"{value + 0.0:.4g}"


class Result(Record, ABC):
    """What a network answered to one split under one protocol, with all that is needed to ask again.

    A task's own result adds its figures, and says which is the headline, what is printed and what the report shows.
    """

    num_images: int
    split: str
    protocol: str  # with all its settings, such as ten-crop:224/256
    shown: str = ""  # the same in words
    skipped: tuple[SkippedImage, ...]
    seconds: float
    images_per_second: float
    provenance: dict[str, JsonValue]
    precision: str = ""  # of convolutions and matrix products: float32, bfloat16; "" where older versions did not say
    notes: tuple[str, ...] = ()  # what has to be known beside the figures: images that were trained on …

    @property
    @abstractmethod
    def headline(self) -> Headline:
        """The number that stands first."""

    @abstractmethod
    def lines(self) -> list[str]:
        """What is printed of the figures, the headline first."""

    def cards(self) -> tuple[Card, ...]:
        """Figures beside the headline of the report."""
        return ()

    def blocks(self) -> tuple[Block, ...]:
        """Its section of the report."""
        return ()

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What the network's outputs are called."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return records.load(cls, path, "evaluation result")

    @property
    def tells_settled(self) -> bool:
        """Whether its lines say what held-out images settled."""
        return False

    @property
    def has_worst(self) -> bool:
        """Whether some image was answered wrongly."""
        return True

    def listed(self) -> str:
        """What worst.csv has, in words."""
        return "The images by what is wrong with the answers to them"

    @property
    def footnote(self) -> str:
        """What a reader of the report has to know of its figures."""
        return ""

    def facts(self) -> dict[str, JsonValue]:
        """What `summary.json` says of it."""
        head = self.headline
        return {
            "split": self.split,
            "num_images": self.num_images,
            head.name: head.value,
            "interval_95": [head.low, head.high],
            "measured_in": self.precision,
        }

    def figures(self) -> dict[str, float]:
        """Those of `facts` that are one number, by their names on its split: `test_error`."""
        named = {name: value for name, value in self.facts().items() if name != "num_images"}
        return {f"{self.split}_{name}": float(value) for name, value in named.items() if isinstance(value, int | float)}

    def told_how(self) -> str:
        """`protocol center, float32, 1,234 images/s`."""
        precision = self.precision or "precision not told"
        return f"protocol {self.protocol}, {precision}, {self.images_per_second:,.0f} images/s"

    def told_beside(self) -> list[str]:
        """Notes, what was shown, what was done to the images."""
        lines = [f"note: {note}" for note in self.notes]
        if self.shown and self.protocol != "center":
            lines.append(f"shown: {self.shown}")
        if self.provenance.get("preprocessing"):
            lines.append(f"preprocessing: {self.provenance['preprocessing']}")
        return lines


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A `Result`, the answers that it was counted from (`Metrics.answers`), and the task that was asked."""

    result: Any
    predictions: Any
    task: Any


def summary(result: Result) -> str:
    """A few lines for the terminal: what the result says, and the images that were left out."""
    lines = result.lines()
    if result.skipped:
        first = result.skipped[0]
        many = counted(len(result.skipped), "unreadable image")
        lines.append(f"skipped: {many}, first {blamed(first.name, first.reason)}")
    return "\n".join(map(safe, lines))


def printable(text: str) -> str:
    r"""The text, bytes of a file name that are no UTF-8 written as `\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
