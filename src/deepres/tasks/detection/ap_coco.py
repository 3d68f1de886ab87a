"""COCO's average precision and recalls of boxes or masks, by hotcoco (MIT), which equals pycocotools."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepres.base.errors import RunError
from deepres.tasks.bootstrap import Floats
from deepres.tasks.detection.detections import Detections, Truth
from deepres.tasks.detection.matches import Matches

SIZES = ("all", "small", "medium", "large")
"""By the area of an object: all, below 32² px, up to 96² px, above."""
MOST = (1, 10, 100)
"""Boxes of a picture and class that count at most, the best ones."""
FIFTY, SEVENTY_FIVE = 0, 5
"""Where the overlaps .5 and .75 stand among the ten, .5, .55, … .95."""


@dataclass(frozen=True, eq=False)
class CocoFigures:
    """The twelve of COCO, None where there is no object to find, and the matches of each class with 100 boxes.

    `ap` is the mean over ten overlaps and the classes with objects, `by_size` that of small, medium and large objects;
    `recalls` are those of 1, 10 and 100 boxes a picture, then of small, medium and large objects; `per_class` (C, 3) is
    AP, AP50, AP75 of each class, nan without an object.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    by_size: tuple[float | None, ...]
    recalls: tuple[float | None, ...]
    per_class: Floats
    matches: tuple[Matches, ...]

    @property
    def twelve(self) -> tuple[float | None, ...]:
        """As COCO prints them."""
        return (self.ap, self.ap50, self.ap75, *self.by_size, *self.recalls)


def coco_figures(found: Detections, truth: Truth, images: int, classes: int, *, of_masks: bool = False) -> CocoFigures:
    """The figures of boxes in pictures 0 to `images` - 1 and classes 0 to `classes` - 1, or of their masks.

    What the truth says to ignore is taken as COCO takes crowds: a box that hits no object, and of whose own area the
    share asked for lies in it, is neither right nor wrong, and any number of boxes may. Of a picture and class the 100
    best boxes count.
    """
    from hotcoco import COCO, COCOeval

    known = COCO(_as_coco(truth, images, classes, of_masks=of_masks))
    rows = _masks_of(found) if of_masks else _boxes_of(found)
    kind = "segm" if of_masks else "bbox"
    asked = COCOeval(known, _loaded(known, rows), kind)
    asked.evaluate()
    asked.accumulate()
    of = asked.eval
    if of is None:
        raise RunError("hotcoco has measured nothing; install another version of it (1.3 is known to measure)")
    precision, recall = np.asarray(of["precision"]), np.asarray(of["recall"])  # (T, R, C, sizes, most), (T, C, …)
    each = [precision[:, :, :, 0, -1], precision[FIFTY, :, :, 0, -1][None], precision[SEVENTY_FIVE, :, :, 0, -1][None]]
    with np.errstate(invalid="ignore"):
        per_class = np.stack([np.where(one < 0, np.nan, one).mean((0, 1)) for one in each], axis=1)
    return CocoFigures(
        ap=_mean(each[0]),
        ap50=_mean(each[1]),
        ap75=_mean(each[2]),
        by_size=tuple(_mean(precision[:, :, :, size, -1]) for size in range(1, len(SIZES))),
        recalls=(
            *(_mean(recall[:, :, 0, most]) for most in range(len(MOST))),
            *(_mean(recall[:, :, size, -1]) for size in range(1, len(SIZES))),
        ),
        per_class=per_class,
        matches=_matches(known, rows, kind, found, truth, images),
    )


def _boxes_of(found: Detections) -> Any:
    """(M, 7): image, box, score, class, as hotcoco loads them."""
    first, last = found.image.numpy()[:, None] + 1, found.classes.numpy()[:, None] + 1
    return np.concatenate([first, _with_sides(found), found.scores.numpy()[:, None], last], axis=1)


def _masks_of(found: Detections) -> Any:
    """The same with masks, a dictionary each."""
    assert found.masks is not None
    columns = (found.image.tolist(), found.classes.tolist(), found.scores.tolist(), found.masks.runs)
    rows = [
        {"image_id": image + 1, "category_id": of_class + 1, "score": score, "segmentation": runs.facts()}
        for image, of_class, score, runs in zip(*columns, strict=True)
    ]
    found_rows = np.empty(len(rows), dtype=object)
    found_rows[:] = rows
    return found_rows


def _as_coco(truth: Truth, images: int, classes: int, *, of_masks: bool) -> dict[str, Any]:
    """COCO's JSON, everything counted from 1: in it an object 0 cannot be told from none."""
    masks: list[dict[str, Any]] = [{} for _ in range(len(truth))]
    if of_masks:
        assert truth.masks is not None
        masks = [{"segmentation": runs.facts()} for runs in truth.masks.runs]
    columns = (truth.image.tolist(), truth.classes.tolist(), _with_sides(truth).tolist(), truth.areas.tolist())
    return {
        "images": [{"id": one + 1} for one in range(images)],
        "categories": [{"id": one + 1, "name": str(one)} for one in range(classes)],
        "annotations": [
            {
                "id": row,
                "image_id": image + 1,
                "category_id": of_class + 1,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
                **drawn,
            }
            for row, (image, of_class, box, area, crowd, drawn) in enumerate(
                zip(*columns, truth.ignored.tolist(), masks, strict=True), start=1
            )
        ],
    }


def _with_sides(boxes: Detections | Truth) -> Floats:
    """(M, 4): x, y, width, height."""
    corners = boxes.corners.numpy()
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _mean(values: Floats) -> float | None:
    """COCO's -1 stands for a class without an object, which is in no mean."""
    known = values[values > -1]
    return float(known.mean()) if len(known) else None


def _matches(known: Any, rows: Any, kind: str, found: Detections, truth: Truth, images: int) -> tuple[Matches, ...]:
    """What hotcoco matches, of objects of any size; of the other boxes it need not be asked, which saves most time."""
    from hotcoco import COCOeval

    image, of_class, scores = found.image.numpy(), found.classes.numpy(), found.scores.numpy()
    own_image, own_class = truth.image.numpy(), truth.classes.numpy()
    classes = len(known.get_cat_ids())
    pair = image * classes + of_class
    near = np.isin(pair, own_image * classes + own_class)
    counted = ~near & _best(pair, scores)
    asked = COCOeval(known, _loaded(known, rows[near]), kind)
    whole = asked.params
    whole.area_rng, whole.area_rng_lbl, whole.max_dets = [whole.area_rng[0]], ["all"], [MOST[-1]]
    asked.evaluate()
    hit = np.full((len(whole.iou_thrs), len(found)), -1, np.int64)
    ignored = np.zeros(hit.shape, bool)
    places = np.flatnonzero(near)
    for one in asked.eval_imgs:
        if one is not None and one["dtIds"]:
            here = places[np.asarray(one["dtIds"], np.int64) - 1]
            counted[here] = True
            hit[:, here] = np.asarray(one["dtMatches"], np.int64) - 1
            ignored[:, here] = one["dtIgnore"]
    matches = []
    for number in range(classes):
        row, objects = np.flatnonzero(counted & (of_class == number)), np.flatnonzero(own_class == number)
        objects = objects[~truth.ignored.numpy()[objects]]
        by_image = row[np.argsort(image[row], kind="stable")]
        by_score = by_image[np.argsort(-scores[by_image], kind="stable")]
        each = np.bincount(own_image[objects], minlength=images)
        boxes = (by_score, image[by_score], scores[by_score], hit[:, by_score], ignored[:, by_score])
        matches.append(Matches(*boxes, each, objects))
    return tuple(matches)


def _loaded(known: Any, rows: Any) -> Any:
    return known.load_res(rows.tolist() if rows.dtype == object else rows)


def _best(pair: Any, scores: Floats) -> Any:
    """Whether a box is among the best that count of its picture and class."""
    order = np.lexsort((-scores, pair))
    first = np.searchsorted(pair[order], pair[order])
    best = np.zeros(len(pair), bool)
    best[order] = np.arange(len(pair)) - first < MOST[-1]
    return best
