"""Result, history and images -> one HTML file that needs nothing else.

The same input gives the same bytes. All text is escaped; figures take their colours from the page.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from markupsafe import Markup

from deepres.base.files import write_atomic
from deepres.base.wording import is_share, percent
from deepres.data.doubles import Doubles
from deepres.data.images import Images
from deepres.data.sources.splits import Split
from deepres.report.blocks import drawn
from deepres.report.charts import History, curve
from deepres.report.doubles import pairs_shown
from deepres.report.html import render
from deepres.tasks.result import Headline, Result, printable
from deepres.tasks.worst import FILE as WORST

SCALES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


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
    page = render(
        "evaluation.html.jinja",
        {"percent": percent, "value": _value},
        title=known.title,
        result=result,
        head=result.headline if result else None,
        scale=_scale(result.headline) if result else None,
        facts=facts,
        groups=groups,
        curves=_curves(known.history, known.chosen_epoch, known.continued),
        history=known.history,
        columns=_columns(known.history),
        held_out=any(name.startswith("val_") for row in known.history for name in row),
        last=known.history[-1] if known.history else None,
        waiting=_mean(known.history, "data_wait_fraction"),
        chosen_epoch=known.chosen_epoch,
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


def _scale(head: Headline) -> dict[str, Any] | None:
    """Places in percent of a share's scale, which ends at the first round number above its interval."""
    if not head.is_share or head.low is None or head.high is None:
        return None
    end = next(scale for scale in SCALES if scale >= min(1.0, 1.1 * head.high))
    return {
        "low": 100 * head.low / end,
        "width": 100 * (head.high - head.low) / end,
        "value": 100 * head.value / end,
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
