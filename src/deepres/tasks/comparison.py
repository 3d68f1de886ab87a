"""Runs and files of predictions compared as their task says: errors with McNemar's test, or its figure, drawn again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.wording import columns
from deepres.tasks import paired
from deepres.tasks.classification.compare import Paired, all_pairs, table
from deepres.tasks.classification.pooling import Seeds, apart, measured_with, pooled, require_different
from deepres.tasks.classification.predictions import SavedPredictions, load_answers, voted
from deepres.tasks.paired import PairedDifference, SavedAnswers, holds_answers, load_saved, named_apart, task_of
from deepres.tasks.task import Compared, require


@dataclass(frozen=True)
class Comparison:
    """Runs on the same images: what each answered, every pair tested, runs that differ in the seed alone, and notes.

    `figure` is what they are compared by, None the error of one class an image; `rows` are a table of it, the best
    first, below their heads; `sentences` say what each pair shows. `str()` of it says all of that in a few lines.
    """

    answers: tuple[SavedPredictions, ...] | tuple[SavedAnswers, ...]
    pairs: tuple[Paired, ...] | tuple[PairedDifference, ...]
    seeds: tuple[Seeds, ...]
    notes: tuple[str, ...]
    sentences: tuple[str, ...]
    figure: Compared | None = None
    values: tuple[float, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    def table(self) -> str:
        """A line for each, the best first."""
        errors = [one for one in self.answers if isinstance(one, SavedPredictions)]
        return columns(self.rows, "<" * len(self.rows[0])) if self.rows else table(errors)

    def __str__(self) -> str:
        notes = (f"note: {note}" for note in self.notes)
        return "\n".join([self.table(), *map(str, self.seeds), *notes, *self.sentences])


def compared(paths: Sequence[Path], *, vote: bool = False, force: bool = False) -> Comparison:
    """What stands in these folders and files, compared; `vote` adds the majority vote of all, `force` other protocols.

    Raises:
        InputError: other images, other protocols, one named twice; a vote of what has no classes to vote for.
    """
    task, names = task_of(paths[0]), [str(path) for path in paths]
    kinds = {str(path): task_of(path).kind for path in paths if holds_answers(path)}
    other = next((name for name, kind in kinds.items() if kind != task.kind), None)
    if other is not None and names[0] in kinds:
        raise InputError(f"{names[0]} is of {task.kind}, {other} of {kinds[other]}; compare runs of one task")
    if "McNemar's test" not in task.tools:
        if vote:
            require(task, "--vote", names[0])
        return _by_figure(named_apart([load_saved(path) for path in paths], names), force=force)
    answers = named_apart([load_answers(path) for path in paths], names)
    require_different(answers)
    seeds, notes = pooled(answers), (*measured_with(answers), *apart(answers))
    every = [*answers, voted(answers)] if vote else answers
    pairs = all_pairs(every, force=force)
    return Comparison(tuple(every), tuple(pairs), tuple(seeds), notes, tuple(pair.sentence() for pair in pairs))


def _by_figure(answers: Sequence[SavedAnswers], *, force: bool) -> Comparison:
    values, pairs = paired.compare(answers, force=force)
    shown = answers[0].compared
    order = sorted(range(len(answers)), key=lambda place: values[place] * (1 if shown.lower_is_better else -1))
    rows = [(answers[at].name, answers[at].model, shown.text(values[at]), answers[at].protocol) for at in order]
    return Comparison(
        tuple(answers),
        pairs,
        (),
        tuple(f"{one.name}: {note}" for one in answers for note in one.notes),
        tuple(paired.sentence(pair, shown) for pair in pairs),
        shown,
        tuple(values),
        (("run", "network", shown.name, "protocol"), *rows),
    )
