"""Several networks on the same images -> one HTML page: errors with intervals, seeds, each against the best."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from deepres.base.files import write_atomic
from deepres.base.wording import percent, signed
from deepres.report.blocks import drawn
from deepres.report.charts import intervals
from deepres.report.html import render
from deepres.tasks.blocks import Table
from deepres.tasks.classification.compare import LEVEL, Paired, against_best, small
from deepres.tasks.classification.metrics import interval
from deepres.tasks.classification.pooling import Seeds
from deepres.tasks.classification.predictions import SavedPredictions
from deepres.tasks.comparison import Comparison
from deepres.tasks.result import printable


def write_report(path: Path, found: Comparison) -> None:
    """Write one self-contained HTML file: of errors a page of plots and pairs, of another figure two tables.

    Raises:
        InputError: the place cannot be written.
    """
    answers = [one for one in found.answers if isinstance(one, SavedPredictions)]
    pairs = [pair for pair in found.pairs if isinstance(pair, Paired)]
    if found.figure is None:
        write_comparison(path, answers, pairs, found.seeds, found.notes)
        return
    figures = Table(title=found.figure.name.capitalize(), header=found.rows[0], rows=found.rows[1:])
    told = Table(title="Pairs", header=("what they show",), rows=tuple((line,) for line in found.sentences))
    blocks = [drawn(block, None) for block in (figures, told)]
    page = render("blocks.html.jinja", {}, title=f"{len(found.answers)} networks compared", blocks=blocks)
    write_atomic(path, printable(page))


def write_comparison(
    path: Path,
    answers: Sequence[SavedPredictions],
    pairs: Sequence[Paired],
    seeds: Sequence[Seeds] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write one self-contained HTML file; the same input gives the same bytes. `notes` stand above the errors.

    Raises:
        InputError: the place cannot be written.
    """
    rows = [
        (one, *interval(one.num_wrong, len(one.images)))
        for one in sorted(answers, key=lambda one: (one.error, one.name))
    ]
    page = render(
        "comparison.html.jinja",
        {"percent": percent, "small": small, "signed": signed},
        title=f"{len(answers)} networks compared",
        rows=rows,
        num_images=len(answers[0].images),
        sources=tuple(dict.fromkeys(one.source for one in answers)),
        plot=Markup(intervals([(one.name, one.error, low, high) for one, low, high in rows])),
        seeds=[str(each) for each in seeds],
        notes=notes,
        best=rows[0][0].name,
        versus=against_best(answers, pairs),
        sentences=[pair.sentence() for pair in pairs] if len(pairs) <= 3 else [],
        num_pairs=len(pairs),
        level=LEVEL,
    )
    write_atomic(path, printable(page))
