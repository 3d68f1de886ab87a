"""What is said of one picture: the boxes from a score on, and how many are left unsaid."""

from collections.abc import Sequence
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from deepres.base.records import Record
from deepres.base.wording import counted, shown


class RunLengthMask(Record):
    """COCO's run lengths of a picture of `size` (H, W), upright; pycocotools decodes them."""

    size: tuple[int, int]
    counts: str


class FoundBox(Record):
    """A class, its score, and corners (x1, y1, x2, y2), half open, in px of the upright picture.

    `segmentation` is the mask of a detector that draws masks; of others JSON has no such field.
    """

    name: str
    score: float
    corners: tuple[float, float, float, float]
    segmentation: RunLengthMask | None = None

    @model_serializer(mode="wrap")
    def _told(self, every: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = every(self)
        if self.segmentation is None:
            del fields["segmentation"]
        return fields


class BoxesAnswer(Record):
    """`boxes`, best first, have a score of `above` or more, `hidden` others less; or why there is no answer."""

    image: str
    boxes: tuple[FoundBox, ...]
    above: float
    hidden: int
    best_hidden: float | None = None
    problem: str | None = None

    def line(self) -> str:
        """A line a box, `street.jpg: car 0.98 (12, 40, 310, 220)`; that there is none; or the problem."""
        if self.problem is not None:
            return self.problem
        if not self.boxes:
            best = "" if self.best_hidden is None else f" (best {self.best_hidden:.2f})"
            return shown(f"{self.image}: no box with a score of {self.above:g} or more{best}")
        told = [
            f"{self.image}: {one.name} {one.score:.2f} ({', '.join(f'{side:.0f}' for side in one.corners)})"
            for one in self.boxes
        ]
        return "\n".join(shown(line) for line in told)

    def rows(self) -> list[dict[str, str]]:
        """A row a box; of a picture without one, an empty row."""
        return [
            dict(zip(COLUMNS, (one.name, f"{one.score:.6f}", *(f"{side:.8g}" for side in one.corners)), strict=True))
            for one in self.boxes
        ] or [{}]


COLUMNS = ("class", "score", "x1", "y1", "x2", "y2")
"""Of a table with a row a box (`rows`)."""


def told_hidden(answers: Sequence[BoxesAnswer], flag: str = "--above") -> str:
    """`12 boxes of 3 images have a score below 0.5 and are not shown; --above 0.05 shows them`; "" where none has."""
    hiding = [one for one in answers if one.hidden]
    if not hiding:
        return ""
    number, above = sum(one.hidden for one in hiding), hiding[0].above
    verb, shows = ("has", "it") if number == 1 else ("have", "them")
    return (
        f"{counted(number, 'box')} of {counted(len(hiding), 'image')} {verb} a score below {above:g} and "
        f"{'is' if number == 1 else 'are'} not shown; {flag} 0 shows {shows}"
    )
