"""What boxes are worth by one of the measures: average precision, its interval, what was missed and what was false."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.tasks.bootstrap import Floats, Statistic, interval
from deepres.tasks.detection.ap_coco import FIFTY, coco_figures
from deepres.tasks.detection.ap_voc import voc_matches
from deepres.tasks.detection.detections import Detections, Truth
from deepres.tasks.detection.matches import Matches, PrecisionArea, average_precisions, of_11, of_101, of_all, statistic
from deepres.tasks.detection.measure import COCOS, Measure

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Figures:
    """By one measure. `ap` is its own, None without any object; `per_class` (C, 2) is AP and AP50, nan without one.

    `ap75`, `by_size` (small, medium, large) and `recalls` (of 1, 10, 100 boxes a picture; of small, medium, large
    objects) are COCO's alone. `matches` are those of each class, of which the overlap .5 is number `fifty`.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    by_size: tuple[float | None, ...]
    recalls: tuple[float | None, ...]
    per_class: Floats
    matches: tuple[Matches, ...]
    fifty: int
    share: PrecisionArea

    @property
    def statistic(self) -> Statistic:
        """Weights (D, N) of pictures -> AP (D,) of each draw, over the classes of which it has objects."""
        return statistic(self.matches, self.share)

    def interval(self, images: int, draws: int = DRAWS) -> tuple[float, float]:
        """95 % of the APs of `draws` seeded draws of the pictures, with replacement, within [0, 1] (bootstrap.py).

        It says how far APs of as many other pictures lie apart. AP itself is higher on fewer pictures (on drawn ones by
        about .02 with 50, .01 with 200), so that the AP of very many is below the interval more often than above it.
        """
        low, high = interval(self.statistic, images, draws=draws)
        return max(0.0, low), min(1.0, high)


def figures(found: Detections, truth: Truth, images: int, classes: int, measure: Measure) -> Figures:
    """Of boxes in pictures 0 to `images` - 1 and classes 0 to `classes` - 1."""
    if measure in COCOS:
        if measure == "masks" and (found.masks is None or truth.masks is None):
            which = "the network draws none" if found.masks is None else "these pictures have none"
            raise InputError(f"measure masks: {which}; wanted masks of both, or --measure coco of boxes")
        coco = coco_figures(found, truth, images, classes, of_masks=measure == "masks")
        three = (coco.ap, coco.ap50, coco.ap75)
        return Figures(*three, coco.by_size, coco.recalls, coco.per_class[:, :2], coco.matches, FIFTY, of_101)
    share = of_11 if measure == "voc07" else of_all
    matches = voc_matches(found, truth, images, classes)
    each = np.concatenate([average_precisions(of_class, share) for of_class in matches])
    known = each[~np.isnan(each)]
    ap = float(known.mean()) if len(known) else None
    return Figures(ap, ap, None, (None,) * 3, (None,) * 6, np.stack([each, each], axis=1), matches, 0, share)


@dataclass(frozen=True, eq=False)
class Shown:
    """What became of the boxes from a score on, at an overlap of .5: rows of detections, and of objects in the truth.

    `right` (M,) and `wrong` (M,) are neither of boxes below that score and of those that count as nothing; `missed`
    (G,) are the objects that none of them has found.
    """

    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    missed: NDArray[np.bool_]

    def counts(self, found: Detections, truth: Truth, images: int) -> tuple[Any, Any, Any]:
        """How many are right, missed and false in each picture, (N,) each."""
        boxes, objects = found.image.numpy(), truth.image.numpy()
        each = ((boxes, self.right), (objects, self.missed), (boxes, self.wrong))
        right, missed, false = (np.bincount(image[those], minlength=images) for image, those in each)
        return right, missed, false


def shown(known: Figures, found: Detections, truth: Truth, above: float) -> Shown:
    """Boxes with a score of `above` or more, which a better box leaves as they are: the best are matched first."""
    right, wrong = np.zeros(len(found), bool), np.zeros(len(found), bool)
    missed = np.zeros(len(truth), bool)
    for of_class in known.matches:
        said = of_class.scores >= above
        hit, out = of_class.right[known.fifty], of_class.ignored[known.fifty]
        right[of_class.row[said & hit]] = True
        wrong[of_class.row[said & ~hit & ~out]] = True
        missed[of_class.rows] = True
        missed[of_class.hit[known.fifty][said & hit]] = False
    return Shown(right, wrong, missed)
