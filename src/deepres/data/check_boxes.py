"""A look at boxes before training: counts by class, sizes, pictures without objects, what was left out or clipped."""

from collections.abc import Mapping, Sequence
from statistics import median

import torch
from torch import Tensor

from deepres.base.records import Record
from deepres.base.wording import counted, tallied
from deepres.data.boxes import CLIPPED, LEFT_OUT, NO_FILE, BoxTargets
from deepres.data.images import Images

SMALL, LARGE = 32**2, 96**2
"""Areas in px^2 below which an object is small, and from which it is large: COCO's."""


class BoxReport(Record):
    """The boxes of one split; what is ignored (crowds, difficult objects) is among the `objects`.

    `without_objects` counts pictures, `no_labels` those among them that no file of labels is of.
    """

    split: str
    objects: int
    ignored: int
    per_class: tuple[int, ...]
    without_objects: int
    no_labels: int
    left_out: int  # boxes without area
    clipped: int
    duplicates: int  # of the same class and place as another on the picture
    small: int
    medium: int
    large: int
    side: tuple[float, float, float] | None  # least, middle and greatest of all sides in px; None: no box
    most: int  # objects on a picture
    middle: float


def check_boxes(splits: Mapping[str, Images]) -> tuple[BoxReport, ...] | None:
    """The boxes of each split; None where targets are no boxes."""
    found = []
    for split, images in splits.items():
        if not isinstance(images.targets, BoxTargets):
            return None
        found.append(_report(split, images.targets, len(images.classes)))
    return tuple(found)


def lines(reports: Sequence[BoxReport]) -> list[str]:
    """As a table of splits, and what to know."""
    head = f"{'boxes':<6}{'objects':>9}{'ignored':>9}{'small':>9}{'medium':>9}{'large':>9}  {'sides in px':<24}an image"
    rows = [head]
    for one in reports:
        counts = (one.objects, one.ignored, one.small, one.medium, one.large)
        sides = "no box" if one.side is None else f"{one.side[0]:.3g}-{one.side[2]:.4g} (median {one.side[1]:.3g})"
        rows.append(
            f"{one.split:<6}"
            + "".join(f"{count:>9,}" for count in counts)
            + f"  {sides:<24}{one.middle:g}, at most {one.most}"
        )
    empty, none = sum(one.without_objects for one in reports), sum(one.no_labels for one in reports)
    told = f"{none:,} of them without a file of labels, {empty - none:,} whose labels name none"
    rows += ["", tallied("empty", counted(empty, "image")) + " without objects" + (f": {told}" if empty else "")]
    left, clipped, twice = (
        sum(getattr(one, name) for one in reports) for name in ("left_out", "clipped", "duplicates")
    )
    rows.append(tallied("bad", counted(left, "box")) + " without area, left out")
    rows.append(tallied("outside", counted(clipped, "box")) + " clipped, by 1 px at most; more is refused")
    rows.append(tallied("twice", counted(twice, "box")) + " of the class and place of another on their image, kept")
    return rows


def advice(reports: Sequence[BoxReport]) -> dict[str, bool]:
    """What to do -> whether there is reason to."""
    objects, small = sum(one.objects for one in reports), sum(one.small for one in reports)
    return {
        "boxes without area are left out: mend the labels": any(one.left_out for one in reports),
        "images without labels are taken as images without objects: see that nothing is missing; data.unlabelled=stop "
        "refuses them": any(one.no_labels for one in reports),
        f"{small:,} of {objects:,} objects are small (below 32 x 32 px): resize pictures up rather than down": small * 2
        > objects,
    }


def duplicates(targets: BoxTargets) -> int:
    """How many boxes have the class and place of another on their picture."""
    rows = zip(*(each.tolist() for each in (targets.pictures, targets.classes, targets.corners)), strict=True)
    return len(targets.classes) - len({(picture, label, *corners) for picture, label, corners in rows})


def _report(split: str, targets: BoxTargets, num_classes: int) -> BoxReport:
    sides = (targets.corners[:, 2:] - targets.corners[:, :2]).flatten()
    counts, areas, remarks = targets.counts, targets.areas, targets.remarks
    small, large = int((areas < SMALL).sum()), int((areas >= LARGE).sum())
    return BoxReport(
        split=split,
        objects=len(areas),
        ignored=int(targets.ignored.sum()),
        per_class=tuple(torch.bincount(targets.classes, minlength=num_classes).tolist()),
        without_objects=int((counts == 0).sum()),
        no_labels=int(remarks[:, NO_FILE].sum()),
        left_out=int(remarks[:, LEFT_OUT].sum()),
        clipped=int(remarks[:, CLIPPED].sum()),
        duplicates=duplicates(targets),
        small=small,
        medium=len(areas) - small - large,
        large=large,
        side=_span(sides),
        most=int(counts.max()) if len(counts) else 0,
        middle=float(median(counts.tolist() or [0])),
    )


def _span(sides: Tensor) -> tuple[float, float, float] | None:
    if not len(sides):
        return None
    return round(float(sides.min()), 2), round(float(sides.median()), 2), round(float(sides.max()), 2)
