"""How published weights were trained, by their name: what public sources say, and where; no torch."""

from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import Field

from deepres.base.records import Record, parse

FILE = "trainings.json"
UNKNOWN = "not published here"


class Training(Record):
    """One way of training, of the weights that `names` match: `network.tag`, torchvision's as `resnet50.IMAGENET1K_V2`.

    None where no public source was found; without a `source` nothing was. `beyond` is what a reader must know besides.
    """

    names: Annotated[tuple[str, ...], Field(min_length=1)]
    epochs: str | None = None
    batch_size: str | None = None
    optimizer: str | None = None
    rate: str | None = None
    schedule: str | None = None
    weight_decay: str | None = None
    augmentation: str | None = None
    regularisation: str | None = None
    loss: str | None = None
    size: str | None = None
    averaging: str | None = None
    source: str | None = None
    beyond: str | None = None

    def lines(self) -> list[str]:
        """Field by field for a person; one line where nothing is known."""
        if self.source is None:
            return [f"{'trained':<15} {UNKNOWN}: no public source of how was found"]
        told = {name: value for name, value in self if name not in ("names", "beyond", "source")}
        each = [(name.replace("_", " "), value or UNKNOWN) for name, value in told.items()]
        ends = [("source", self.source), *([("note", self.beyond)] if self.beyond else [])]
        return [f"trained: {name:<14} {value}" for name, value in (*each, *ends)]


class Trainings(Record):
    """All of them; where several match a name, the first."""

    trainings: tuple[Training, ...]


@cache
def trainings() -> tuple[Training, ...]:
    """The ways of training that are known, or known to be unknown."""
    return parse(Trainings, (files("deepres.nn.weights") / FILE).read_text(encoding="utf-8"), FILE).trainings


def trained_by(name: str) -> Training | None:
    """How the weights of that name were trained: `resnet50.a1_in1k`, `ResNet50_Weights.IMAGENET1K_V2`.

    None of a name that is nobody's, such as a path.
    """
    return next((one for one in trainings() if any(fnmatchcase(_plain(name), mask) for mask in one.names)), None)


def _plain(name: str) -> str:
    """`resnet50.IMAGENET1K_V2` of torchvision's `ResNet50_Weights.IMAGENET1K_V2`; a hub's address without it."""
    network, dot, tag = name.rpartition("/")[2].partition(".")
    return f"{network.removesuffix('_Weights').lower()}{dot}{tag}"
