"""ClassificationResult, history and images -> one HTML file that needs nothing else; Results -> a Markdown table.

The same input gives the same bytes. All text is escaped; figures take their colours from the page.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from deepres.base.files import write_atomic
from deepres.base.wording import is_share, percent
from deepres.data.doubles import Doubles
from deepres.data.images import Images
from deepres.data.sources.splits import Split
from deepres.report.blocks import drawn
from deepres.report.charts import History, confusion_picture, curve, rejection, reliability, shades
from deepres.report.doubles import pairs_shown
from deepres.report.html import render
from deepres.tasks.classification.result import ClassificationResult, interval_text
from deepres.tasks.result import Result, printable
from deepres.tasks.worst import FILE as WORST

MOST_CLASSES_WITH_NUMBERS = 20
MOST_CLASSES_IN_PICTURE = 200
SCALES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class ConfusionCell:
    """One cell of the confusion table: its count, its strength in [0, 1], whether it lies on the diagonal."""

    count: int
    shade: float
    right: bool


@dataclass(frozen=True)
class FoldRow:
    """One fold's test result, or that of all as one, and the epoch that was chosen."""

    name: str
    result: Result
    epoch: int | None


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """What an evaluation's page shows; what is None or empty leaves its part of the page out.

    `images` is the set that `result` was measured on (None: no thumbnails). `run` is shown as a table, its nested
    mappings folded away below. `continued` are the steps after which the run was taken up again; `worst` is the list of
    worst.py, which the page holds to be saved; `doubles` are pictures that stand in two of `splits`; `folds` are a
    table of the folds that were pooled.
    """

    result: Result | None
    history: History = ()
    images: Images | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    chosen_epoch: int | None = None
    continued: Sequence[int] = ()
    worst: str = ""
    doubles: Doubles | None = None
    splits: Mapping[Split, Images] = field(default_factory=dict)
    folds: Sequence[FoldRow] = ()
    title: str = "deepres report"


def write_report(path: Path, known: ReportFacts) -> None:
    """Write one self-contained HTML file: headline, training, errors, classes, worst images, provenance.

    Raises:
        InputError: `images` is another set than the one that was measured; the place cannot be written.
    """
    facts, groups = _facts(known.run)
    result, images = known.result, known.images
    scored = result if isinstance(result, ClassificationResult) else None
    page = render(
        "evaluation.html.jinja",
        {"percent": percent, "value": _value},
        title=known.title,
        result=result,
        scored=scored,
        interval=result.headline.interval if result else "",
        scale=_scale(scored) if scored else None,
        facts=facts,
        groups=groups,
        curves=_curves(known.history, known.chosen_epoch, known.continued),
        history=known.history,
        columns=_columns(known.history),
        last=known.history[-1] if known.history else None,
        waiting=_mean(known.history, "data_wait_fraction"),
        chosen_epoch=known.chosen_epoch,
        table=_table(scored) if scored and len(scored.classes) <= MOST_CLASSES_WITH_NUMBERS else None,
        picture=_picture(scored) if scored else None,
        reliability=Markup(reliability(scored, scored.tempered)) if scored else "",
        rejection=Markup(rejection(scored.covered, scored.tempered)) if scored and scored.covered else "",
        halfway=scored.covered[(len(scored.covered) - 1) * 3 // 4] if scored and scored.covered else None,
        blocks=[drawn(block, images) for block in result.blocks()] if result else (),
        worst="data:text/csv;charset=utf-8;base64," + b64encode(known.worst.encode()).decode() if known.worst else "",
        worst_name=WORST,
        doubles=known.doubles,
        folds=known.folds,
        doubled=known.doubles.sentence({split: len(images) for split, images in known.splits.items()})
        if known.doubles
        else "",
        pairs=pairs_shown(known.doubles, known.splits) if known.doubles else (),
        provenance=_flat(result.provenance) if result else (),
    )
    write_atomic(path, printable(page))


def table(results: Mapping[str, ClassificationResult]) -> str:
    """Markdown: one row for each named result, in the mapping's order: images, error, interval, top-5 error."""
    rows = [
        "| name | split | protocol | images | error | 95 % interval | top-5 error |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for name, one in results.items():
        top5 = "–" if one.telling_top5 is None else percent(one.telling_top5)
        name = " ".join(name.replace("|", "\\|").split())
        rows.append(
            f"| {name} | {one.split} | {one.protocol} | {one.num_images} | {percent(one.error)} "
            f"| {interval_text(one)} | {top5} |"
        )
    return "\n".join(rows) + "\n"


def _scale(result: ClassificationResult) -> dict[str, Any]:
    """Places in percent of the headline's scale, which ends at the first round number above the interval."""
    end = next(scale for scale in SCALES if scale >= min(1.0, 1.1 * result.error_high))
    return {
        "low": 100 * result.error_low / end,
        "width": 100 * (result.error_high - result.error_low) / end,
        "error": 100 * result.error / end,
        "ticks": [(25 * i, f"{100 * end * i / 4:g}") for i in range(5)],
    }


def _curves(history: History, chosen_epoch: int | None, continued: Sequence[int]) -> list[Markup]:
    """What decides and the loss side by side, the rate below them."""
    both = {"train": "training", "val": "validation"}
    marks: dict[str, Any] = {"chosen_epoch": chosen_epoch, "continued": _epochs(history, continued)}
    named = dict.fromkeys(key.partition("_")[2] for row in history for key in row if key.startswith(("train_", "val_")))
    others = [name for name in named if name not in ("loss", "error")]
    shares = [name for name in ("error", *others) if is_share(name)]
    drawn = (
        *(
            curve(history, {f"{k}_{name}": v for k, v in both.items()}, f"{_title(name)} (%)", kind="percent", **marks)
            for name in shares
        ),
        *(
            curve(history, {f"{k}_{name}": v for k, v in both.items()}, _title(name), kind="log", **marks)
            for name in others
            if name not in shares
        ),
        curve(history, {f"{k}_loss": v for k, v in both.items()}, "Loss", kind="log", **marks),
        curve(history, {"lr": "learning rate"}, "Learning rate", kind="log", size=(9.2, 1.5)),
    )
    return [Markup(svg) for svg in drawn if svg is not None]


def _title(name: str) -> str:
    return f"{name[0].upper()}{name[1:]}".replace("_", " ")


def _epochs(history: History, steps: Sequence[int]) -> list[float]:
    """The places of steps on the axis of epochs."""
    each = next((row["step"] / row["epoch"] for row in history if row.get("step") and row.get("epoch")), None)
    return [] if each is None else [step / each for step in steps]


def _table(result: ClassificationResult) -> list[tuple[str, list[ConfusionCell]]]:
    strength = shades(np.asarray(result.confusion, dtype=np.float64))
    return [
        (name, [ConfusionCell(count, round(float(strength[t, p]), 3), t == p) for p, count in enumerate(row)])
        for t, (name, row) in enumerate(zip(result.classes, result.confusion, strict=True))
    ]


def _picture(result: ClassificationResult) -> str | None:
    in_range = MOST_CLASSES_WITH_NUMBERS < len(result.classes) <= MOST_CLASSES_IN_PICTURE
    return confusion_picture(result.confusion) if in_range else None


def _facts(run: Mapping[str, Any]) -> tuple[list[tuple[str, Any]], list[tuple[str, list[tuple[str, Any]]]]]:
    single = [(name, value) for name, value in run.items() if _tells(value) and not isinstance(value, Mapping)]
    nested = [(name, _flat(value)) for name, value in run.items() if isinstance(value, Mapping)]
    return single, nested


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            rows.extend(_flat(value, f"{prefix}{name}."))
        elif value is not None:
            rows.append((prefix + name, value))
    return rows


def _tells(value: object) -> bool:
    """Whether a fact says something: none, no and nothing are left out."""
    return value is not None and value is not False and value != "" and value != []


def _value(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_value, value))
    return str(value)


def _columns(history: History) -> list[str]:
    return list(dict.fromkeys(name for row in history for name in row))


def _mean(history: History, column: str) -> float | None:
    values = [row[column] for row in history if row.get(column) is not None and isfinite(row[column])]
    return sum(values) / len(values) if values else None
