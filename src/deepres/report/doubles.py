"""Pictures that stand in two parts, side by side on a page."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepres.data.decode import BadImageError
from deepres.data.doubles import Double, Doubles, ImageRef
from deepres.data.images import Images
from deepres.data.sources.splits import Split
from deepres.report.charts import thumbnail

SHOWN = 24
"""Pairs that a page shows at most."""


@dataclass(frozen=True)
class Side:
    """One of a pair as the page shows it; `address` None where it can no longer be read."""

    place: ImageRef
    label: str
    address: str | None
    tiny: bool


@dataclass(frozen=True)
class Pair:
    """Two images that are the same picture, or nearly."""

    double: Double
    sides: tuple[Side, Side]


def pairs_shown(doubles: Doubles, parts: Mapping[Split, Images]) -> list[Pair]:
    """The first `SHOWN` pairs of the parts that there are."""
    found = [pair for pair in doubles.pairs if {pair.one.part, pair.other.part} <= set(parts)][:SHOWN]
    return [Pair(pair, (_side(pair.one, parts), _side(pair.other, parts))) for pair in found]


def _side(place: ImageRef, parts: Mapping[Split, Images]) -> Side:
    label = "/".join(place.name.split("/")[-2:])
    try:
        address, tiny = thumbnail(parts[place.part].image(place.index))
    except (BadImageError, IndexError):
        return Side(place, label, None, False)
    return Side(place, label, address, tiny)
