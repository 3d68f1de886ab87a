"""Pictures that stand in two splits, side by side on a page."""

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


def pairs_shown(doubles: Doubles, splits: Mapping[Split, Images]) -> list[Pair]:
    """The first `SHOWN` pairs of the splits that there are."""
    found = [pair for pair in doubles.pairs if {pair.one.split, pair.other.split} <= set(splits)][:SHOWN]
    return [Pair(pair, (_side(pair.one, splits), _side(pair.other, splits))) for pair in found]


def _side(place: ImageRef, splits: Mapping[Split, Images]) -> Side:
    label = "/".join(place.name.split("/")[-2:])
    try:
        address, tiny = thumbnail(splits[place.split].image(place.index))
    except (BadImageError, IndexError):
        return Side(place, label, None, False)
    return Side(place, label, address, tiny)
