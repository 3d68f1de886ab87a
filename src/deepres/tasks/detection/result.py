"""What a detector is worth: average precision with its interval, by class and size, what was missed and what false."""

from typing import Literal

from pydantic import JsonValue

from deepres.base.records import Record
from deepres.base.wording import counted, percent, some
from deepres.tasks.blocks import AnsweredPicture, Block, Card, Outline, Panel, Panels, Pictures, Table
from deepres.tasks.detection.measure import COCOS, OVERLAP, SHOWN_ABOVE, TOLD, Measure
from deepres.tasks.result import Headline, Result

NO_OBJECT = "no object"
SIZES = ("small (up to 32² px)", "medium (up to 96² px)", "large")
RECALLS = ("1 box a picture", "10 boxes a picture", "100 boxes a picture")


class ClassPrecision(Record):
    """One class: `ap` and `ap50` are None where the pictures have no object of it that counts, as is `recall`.

    `recall` is the share of objects that some box finds, whatever its score; `num_ignored` the objects that count
    neither way.
    """

    name: str
    num_objects: int
    num_ignored: int
    num_found: int
    ap: float | None
    ap50: float | None
    recall: float | None


class PrecisionCurve(Record):
    """The highest precision of a class at each recall 0, .01, … 1 or above it, at an overlap."""

    name: str
    overlap: float
    precision: tuple[float, ...]


class WrongPicture(Record):
    """A picture with objects that no box shown has found, or with boxes that are false; at an overlap of .5."""

    index: int
    name: str
    num_objects: int
    num_missed: int
    num_false: int
    outlines: tuple[Outline, ...]


class OtherFigures(Record):
    """COCO's figures of masks where boxes are measured, or of boxes where masks are; as in `DetectionResult`."""

    measure: Measure
    ap: float
    ap_low: float
    ap_high: float
    ap50: float
    ap75: float | None
    by_size: tuple[float | None, ...]
    recalls: tuple[float | None, ...]

    def line(self) -> str:
        """`masks: AP 52.3 % (48.1 to 55.0 %), AP50 80.1 %, AP75 55.0 %; small 20.1 %, …`"""
        sizes = zip(("small", "medium", "large"), self.by_size, strict=True)
        told = ", ".join(f"{name} {_shown(value)}" for name, value in sizes)
        what = "masks" if self.measure == "masks" else "boxes"
        interval = f"{percent(self.ap_low)} to {percent(self.ap_high)}"
        return (
            f"{what}: AP {percent(self.ap)} ({interval}), AP50 {percent(self.ap50)}, AP75 {_shown(self.ap75)}; {told}"
        )


class DetectionResult(Result):
    """Figures over N pictures and C classes; shares are fractions in [0, 1].

    `ap` is the mean over the `num_classes` classes of which there is an object; its interval is of 1,000 draws of the
    pictures. `ap75`, `by_size` (small, medium, large) and `recalls` (of 1, 10 and 100 boxes a picture, then of small,
    medium and large objects) are COCO's, None by other measures and where there is no such object. What was missed and
    what is false goes by the boxes with a score of `shown_above` or more; no other figure does. `other`: of a network
    that draws masks, the figures of masks beside those of boxes, or the other way round.
    """

    task: Literal["detection"] = "detection"
    measure: Measure
    ap: float
    ap_low: float  # percentile bootstrap over pictures, 95 %
    ap_high: float
    ap50: float
    ap75: float | None
    by_size: tuple[float | None, ...]
    num_by_size: tuple[int, ...]
    recalls: tuple[float | None, ...]
    num_classes: int
    num_objects: int
    num_ignored: int
    num_found: int
    num_empty: int  # pictures without an object
    shown_above: float = SHOWN_ABOVE
    num_missed: int
    num_false: int
    classes: tuple[str, ...]
    per_class: tuple[ClassPrecision, ...]
    curves: tuple[PrecisionCurve, ...]
    most_missed: tuple[WrongPicture, ...]
    most_false: tuple[WrongPicture, ...]
    other: OtherFigures | None = None

    @property
    def error(self) -> float:
        """1 - AP, by which epochs are chosen; its interval is 1 - `ap_high` to 1 - `ap_low`."""
        return 1 - self.ap

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def _of(self) -> str:
        """What overlaps, where that is not the boxes."""
        return "masks of " if self.measure == "masks" else ""

    @property
    def has_worst(self) -> bool:
        return bool(self.num_missed or self.num_false)

    @property
    def headline(self) -> Headline:
        """The average precision; the interval has two decimals where it is narrower than 1 %."""
        digits = 1 if self.ap_high - self.ap_low >= 0.01 else 2
        return Headline(
            name=name_of(self.measure),
            value=self.ap,
            low=self.ap_low,
            high=self.ap_high,
            text=percent(self.ap),
            interval=f"{100 * self.ap_low:.{digits}f} to {100 * self.ap_high:.{digits}f} %",
            lower_is_better=False,
        )

    def facts(self) -> dict[str, JsonValue]:
        more: dict[str, JsonValue] = {"measure": self.measure, "ap50": self.ap50, "ap75": self.ap75}
        return super().facts() | more | {"error": self.error, "num_objects": self.num_objects}

    def lines(self) -> list[str]:
        """Headline, overlaps and sizes, what is shown and what of it is wrong, the hardest classes."""
        head = self.headline
        lines = [
            f"{self.split} {head.name} {head.text} (95 % interval {head.interval}) of "
            f"{counted(self.num_images, 'image')}, {counted(self.num_objects, 'object')} of "
            f"{counted(self.num_classes, 'class')}; {TOLD[self.measure]}"
        ]
        if self.measure in COCOS:
            sizes = zip(("small", "medium", "large"), self.by_size, strict=True)
            told = ", ".join(f"{name} {'–' if value is None else percent(value)}" for name, value in sizes)
            lines.append(f"AP50 {percent(self.ap50)}, AP75 {_shown(self.ap75)}; {told}")
        if self.other is not None:
            lines.append(self.other.line())
        lines.append(
            f"boxes with a score of {self.shown_above:g} or more, at an overlap of {self._of}{OVERLAP:g}: "
            f"{self.num_missed:,} of {counted(self.num_objects, 'object')} missed, "
            f"{counted(self.num_false, 'box')} false"
        )
        known = sorted((one for one in self.per_class if one.ap is not None), key=lambda one: one.ap or 0.0)
        if len(known) > 1 and (known[0].ap or 0.0) < 1:
            lines.append(f"lowest {head.name}: " + ", ".join(f"{one.name} ({_shown(one.ap)})" for one in known[:3]))
        absent = [one.name for one in self.per_class if one.ap is None]
        if absent:
            lines.append(f"{NO_OBJECT}, so left out of the mean: {some(absent)}")
        if self.num_ignored:
            neither = "counts neither as found nor as missed" if self.num_ignored == 1 else "count neither way"
            lines.append(f"{counted(self.num_ignored, 'object')} that {neither} (difficult, or a crowd)")
        return [*lines, self.told_how(), *self.told_beside()]

    def cards(self) -> tuple[Card, ...]:
        """Figures beside the headline."""
        cards = (
            []
            if self.measure not in COCOS
            else [
                Card(value=percent(self.ap50), name="AP50 (overlap .5)"),
                Card(value=_shown(self.ap75), name="AP75 (overlap .75)"),
                Card(value=_shown(self.recalls[2]), name="recall, 100 boxes a picture"),
            ]
        )
        of = f" of {len(self.classes)}" if self.num_classes < len(self.classes) else ""
        if self.other is not None:
            name = "of masks" if self.other.measure == "masks" else "of boxes"
            cards += [Card(value=percent(self.other.ap), name=f"AP {name}")]
            cards += [Card(value=percent(self.other.ap50), name=f"AP50 {name}")]
        return (
            *cards,
            Card(value=f"{self.num_classes}{of}", name="classes in the mean"),
            Card(value=f"{self.num_objects:,}", name="objects"),
            Card(value=f"{self.num_missed:,}", name=f"objects missed, boxes of a score of {self.shown_above:g} up"),
            Card(value=f"{self.num_false:,}", name=f"boxes false, of a score of {self.shown_above:g} up"),
        )

    def blocks(self) -> tuple[Block, ...]:
        """Classes, sizes, precision against recall, the pictures of most missed and of most false boxes."""
        blocks: list[Block] = [self._by_class()]
        if self.measure in COCOS:
            blocks.append(self._by_size())
        if self.curves:
            blocks.append(self._curves())
        told = (
            f"Boxes with a score of {self.shown_above:g} or more, at an overlap of {self._of}{OVERLAP:g}: found ones "
            "are blue, false ones orange, with their score; missed objects are yellow and dashed."
        )
        if any(outline.mask for one in (*self.most_missed, *self.most_false) for outline in one.outlines):
            told += " Masks lie on the picture in the same colours."
        for title, pictures in (("missed objects", self.most_missed), ("false boxes", self.most_false)):
            if pictures:
                shown = tuple(map(_picture, pictures))
                blocks.append(Pictures(title=f"Pictures with the most {title}", pictures=shown, note=told))
        return tuple(blocks)

    def _by_class(self) -> Table:
        order = sorted(self.per_class, key=lambda one: 2.0 if one.ap is None else one.ap)
        coco = self.measure in COCOS
        rows = tuple(
            (
                one.name,
                NO_OBJECT if one.ap is None else percent(one.ap),
                *((_shown(one.ap50),) if coco else ()),
                _shown(one.recall),
                f"{one.num_objects:,}",
                f"{one.num_ignored:,}",
                f"{one.num_found:,}",
            )
            for one in order
        )
        header = ("class", "AP", *(("AP50",) if coco else ()), "recall at .5", "objects", "ignored", "boxes found")
        return Table(
            title="Class by class, lowest average precision first",
            header=header,
            rows=rows,
            bars=tuple(one.ap or 0.0 for one in order),
            note=f"Average precision is {TOLD[self.measure]}. A bar is the AP.",
        )

    def _by_size(self) -> Table:
        sizes = zip(SIZES, self.num_by_size, self.by_size, self.recalls[3:], strict=True)
        rows = [
            (name, NO_OBJECT if ap is None else percent(ap), _shown(recall), f"{number:,}")
            for name, number, ap, recall in sizes
        ]
        rows += [
            (name, "–", _shown(recall), f"{self.num_objects:,}")
            for name, recall in zip(RECALLS, self.recalls[:3], strict=True)
        ]
        header = ("objects, or boxes", "AP", "recall", "objects")
        note = "Means over the overlaps of .5 to .95 and the classes."
        return Table(title="By size, and by how many boxes count", header=header, rows=tuple(rows), note=note)

    def _curves(self) -> Panels:
        recalls = [k / 100 for k in range(101)]
        named: dict[str, list[PrecisionCurve]] = {}
        for one in self.curves:
            named.setdefault(one.name, []).append(one)
        panels = tuple(
            Panel(
                title=name,
                lines=tuple(
                    (f"overlap {one.overlap:g}", tuple(zip(recalls, one.precision, strict=True))) for one in curves
                ),
            )
            for name, curves in named.items()
        )
        note = "The highest precision at a recall or above it, as it is counted."
        if len(named) < self.num_classes:
            note += f" The {len(named)} classes of lowest average precision of {self.num_classes}."
        return Panels(title="Precision against recall", x="recall", y="precision", panels=panels, note=note)


def name_of(measure: Measure) -> str:
    """What the figure is called: `AP` is COCO's."""
    return {"coco": "AP", "masks": "mask AP", "voc07": "VOC 2007 AP", "voc": "VOC AP"}[measure]


def _shown(fraction: float | None) -> str:
    return "–" if fraction is None else percent(fraction)


def _picture(one: WrongPicture) -> AnsweredPicture:
    wanted, answered = counted(one.num_objects, "object"), f"{one.num_missed:,} missed, {one.num_false:,} false"
    return AnsweredPicture(index=one.index, name=one.name, wanted=wanted, answered=answered, outlines=one.outlines)
