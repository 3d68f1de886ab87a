"""Answers and the boxes of their pictures -> the result, and the list of the pictures that were answered worst."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from deepres.data.boxes import BoxTargets
from deepres.data.images import Images
from deepres.tasks.blocks import Outline
from deepres.tasks.detection.ap_coco import SEVENTY_FIVE
from deepres.tasks.detection.detections import Detections, Truth
from deepres.tasks.detection.figures import Figures, Shown, figures, shown
from deepres.tasks.detection.matches import curve
from deepres.tasks.detection.measure import COCOS, OVERLAP, SHOWN_ABOVE, Measure
from deepres.tasks.detection.metrics import BoxAnswers, require_object
from deepres.tasks.detection.result import ClassPrecision, DetectionResult, OtherFigures, PrecisionCurve, WrongPicture
from deepres.tasks.result import Evaluation, printable

WORST_PICTURES = 12
MOST_CURVES = 40
"""Classes whose curves are kept: those of the lowest average precision."""
MOST_OUTLINES = 60
_SIZES = ((0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, np.inf))
"""Areas in px² of small, medium and large objects; COCO counts one that stands on an edge on both sides."""
_RECALLS = np.linspace(0.0, 1.0, 101)


def concluded(answers: BoxAnswers, images: Images, facts: Mapping[str, Any], task: Any, measure: Measure) -> Evaluation:
    """The evaluation that answers come to, by a measure; truth is that of `images`.

    Raises:
        InputError: none of these pictures has an object.
    """
    names = tuple(printable(name) for name in images.classes)
    assert isinstance(images.targets, BoxTargets)
    answers = answers.known(images.targets)
    require_object(answers.truth, names, str(facts["split"]))
    found, truth = answers.detections.placed(answers.indices), answers.truth.placed(answers.indices)
    known = figures(found, truth, len(answers), len(names), measure)
    interval = known.interval(len(answers))
    other = None
    if measure in COCOS and found.masks is not None and truth.masks is not None:
        beside: Measure = "coco" if measure == "masks" else "masks"
        drawn = figures(found, truth, len(answers), len(names), beside)
        low, high = drawn.interval(len(answers))
        three = {"ap": drawn.ap, "ap_low": low, "ap_high": high, "ap50": drawn.ap50, "ap75": drawn.ap75}
        other = OtherFigures(measure=beside, **three, by_size=drawn.by_size, recalls=drawn.recalls)
    seen = shown(known, found, truth, SHOWN_ABOVE)
    counts = ~truth.ignored.numpy()
    areas = truth.areas.numpy()[counts]
    told = {index: printable(images.name(index)) for index in answers.indices.tolist()}
    per_class = tuple(_of_class(number, name, known, found, truth) for number, name in enumerate(names))
    result = DetectionResult(
        num_images=len(answers),
        measure=measure,
        ap=known.ap,
        ap_low=interval[0],
        ap_high=interval[1],
        ap50=known.ap50,
        ap75=known.ap75,
        by_size=known.by_size,
        num_by_size=tuple(int(((areas >= low) & (areas <= high)).sum()) for low, high in _SIZES),
        recalls=known.recalls,
        other=other,
        num_classes=sum(one.ap is not None for one in per_class),
        num_objects=int(counts.sum()),
        num_ignored=int((~counts).sum()),
        num_found=len(found),
        num_empty=len(answers) - len(np.unique(truth.image.numpy()[counts])),
        num_missed=int(seen.missed.sum()),
        num_false=int(seen.wrong.sum()),
        classes=names,
        per_class=per_class,
        curves=_curves(per_class, known),
        most_missed=_worst(seen, found, truth, answers.indices, told, names, "missed"),
        most_false=_worst(seen, found, truth, answers.indices, told, names, "false"),
        images_per_second=len(answers) / facts["seconds"],
        **facts,
    )
    return Evaluation(result, answers, task)


def worst_rows(evaluation: Evaluation, images: Images) -> list[tuple[object, ...]]:
    """Every picture with a missed object or a false box, most of both first; boxes as the result shows them."""
    answers, result = evaluation.predictions, evaluation.result
    found, truth = answers.detections.placed(answers.indices), answers.truth.placed(answers.indices)
    known = figures(found, truth, len(answers), len(result.classes), result.measure)
    right, missed, false = shown(known, found, truth, result.shown_above).counts(found, truth, len(answers))
    rows: list[tuple[object, ...]] = [("image", "objects", "found", "missed", "false", "split")]
    for place in np.argsort(-(missed + false), kind="stable").tolist():
        if missed[place] + false[place]:
            name = images.name(int(answers.indices[place]))
            each = (right[place] + missed[place], right[place], missed[place], false[place])
            rows.append((name, *map(int, each), result.split))
    return rows


def _of_class(number: int, name: str, known: Figures, found: Detections, truth: Truth) -> ClassPrecision:
    of_class, own = known.matches[number], truth.classes == number
    ap, ap50 = known.per_class[number].tolist()
    there = of_class.num_objects
    return ClassPrecision(
        name=name,
        num_objects=there,
        num_ignored=int((own & truth.ignored).sum()),
        num_found=int((found.classes == number).sum()),
        ap=ap if there else None,
        ap50=ap50 if there else None,
        recall=int(of_class.right[known.fifty].sum()) / there if there else None,
    )


def _curves(per_class: Sequence[ClassPrecision], known: Figures) -> tuple[PrecisionCurve, ...]:
    numbers = [number for number, one in enumerate(per_class) if one.ap is not None]
    kept = sorted(sorted(numbers, key=lambda number: per_class[number].ap or 0.0)[:MOST_CURVES])
    overlaps = ((known.fifty, OVERLAP),) if known.ap75 is None else ((known.fifty, OVERLAP), (SEVENTY_FIVE, 0.75))
    return tuple(
        PrecisionCurve(
            name=per_class[number].name,
            overlap=overlap,
            precision=tuple(round(value, 6) for value in curve(known.matches[number], place, _RECALLS)),
        )
        for number in kept
        for place, overlap in overlaps
    )


def _worst(
    seen: Shown,
    found: Detections,
    truth: Truth,
    indices: Tensor,
    told: Mapping[int, str],
    names: Sequence[str],
    by: str,
) -> tuple[WrongPicture, ...]:
    """The pictures with the most `by` ("missed" or "false") boxes, of equal ones those with most of the other kind."""
    right, missed, false = seen.counts(found, truth, len(indices))
    first, second = (missed, false) if by == "missed" else (false, missed)
    order = np.lexsort((-second, -first))[:WORST_PICTURES].tolist()
    return tuple(
        WrongPicture(
            index=int(indices[place]),
            name=told[int(indices[place])],
            num_objects=int(right[place] + missed[place]),
            num_missed=int(missed[place]),
            num_false=int(false[place]),
            outlines=_outlines(seen, found, truth, place, names),
        )
        for place in order
        if first[place]
    )


def _outlines(seen: Shown, found: Detections, truth: Truth, place: int, names: Sequence[str]) -> tuple[Outline, ...]:
    own = np.flatnonzero(seen.missed & (truth.image.numpy() == place)).tolist()
    outlines = [Outline(kind="missed", label=names[int(truth.classes[row])], **_place(truth, row)) for row in own]
    kinds: tuple[tuple[Literal["right", "false"], Any], ...] = (("false", seen.wrong), ("right", seen.right))
    for kind, which in kinds:
        for row in np.flatnonzero(which & (found.image.numpy() == place)).tolist():
            label = f"{names[int(found.classes[row])]} {found.scores[row]:.2f}"
            outlines.append(Outline(kind=kind, label=label, **_place(found, row)))
    return tuple(outlines[:MOST_OUTLINES])


def _place(boxes: Detections | Truth, row: int) -> dict[str, Any]:
    """A box, and its mask where there is one."""
    corners = tuple(round(value, 2) for value in boxes.corners[row].tolist())
    return {"corners": corners, "mask": None if boxes.masks is None else boxes.masks.runs[row].facts()}
