"""Pictures that stand in two parts: what the error is without them, and how the report shows them side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from deepres.base.wording import counted
from deepres.data.decode import BadImageError
from deepres.data.doubles import Double, Doubles, Place
from deepres.data.sample import Images
from deepres.data.splits import Part
from deepres.evaluate.figures import thumbnail
from deepres.evaluate.run import Evaluation, percent

SHOWN = 24
"""Pairs that a page shows at most."""


@dataclass(frozen=True)
class Side:
    """One of a pair as the page shows it; `address` None where it can no longer be read."""

    place: Place
    label: str
    address: str | None
    tiny: bool


@dataclass(frozen=True)
class Pair:
    """Two images that are the same picture, or nearly."""

    double: Double
    sides: tuple[Side, Side]


def told_of_doubles(evaluation: Evaluation, images: Images, doubles: Doubles | None) -> Evaluation:
    """With a note of what the error is without them; as it is where there are none, or `images` are others by now."""
    split, result = evaluation.result.split, evaluation.result
    ours = [pair.other for pair in doubles.pairs if pair.other.part == split] if doubles is not None else []
    same = (
        each.index < len(images) and PurePath(images.name(each.index)).name == PurePath(each.name).name for each in ours
    )
    if doubles is None or not ours or not all(same):
        return evaluation
    return replace(evaluation, result=result.replace(notes=(*result.notes, without_doubles(evaluation, doubles))))


def without_doubles(evaluation: Evaluation, doubles: Doubles) -> str:
    """`12 of 576 images stand in train too …: without them the error is 5.14 %`; "" where none does."""
    answers, result = evaluation.predictions, evaluation.result
    indices = answers.indices.numpy()
    kept = ~np.isin(indices, doubles.places(result.split))
    left, out = int(kept.sum()), int((~kept).sum())
    if not out:
        return ""
    where = " and ".join(sorted({pair.one.part for pair in doubles.pairs if pair.other.part == result.split}))
    told = f"{out:,} of {counted(len(indices), 'image')} {'stands' if out == 1 else 'stand'} in {where} too"
    told += " (the same picture, or nearly)"
    if not left:
        return f"{told}: the error says nothing of other images"
    wrong = int((answers.rank.numpy() > 0)[kept].sum())
    them = "it" if out == 1 else "them"
    return f"{told}: without {them} the error is {percent(wrong / left)}, {wrong:,} of {left:,} wrong"


def pairs_shown(doubles: Doubles, parts: Mapping[Part, Images]) -> list[Pair]:
    """The first `SHOWN` pairs of the parts that there are."""
    found = [pair for pair in doubles.pairs if {pair.one.part, pair.other.part} <= set(parts)][:SHOWN]
    return [Pair(pair, (_side(pair.one, parts), _side(pair.other, parts))) for pair in found]


def _side(place: Place, parts: Mapping[Part, Images]) -> Side:
    label = "/".join(place.name.split("/")[-2:])
    try:
        address, tiny = thumbnail(parts[place.part].image(place.index))
    except (BadImageError, IndexError):
        return Side(place, label, None, False)
    return Side(place, label, address, tiny)
