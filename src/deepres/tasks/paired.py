"""Which of several networks is better on the same images, whatever the task: its figure, drawn again and again.

Every draw takes the same images of all networks, so that what is hard for all of them cancels (paired bootstrap). Of
one class an image McNemar's exact test says it instead (`classification/compare.py`).
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.files import resolved
from deepres.base.manifest import require_own
from deepres.base.npz import read_arrays
from deepres.base.reading import parse_json
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.tasks.bootstrap import Floats, drawn, paired
from deepres.tasks.kinds import AnyTask, task_in
from deepres.tasks.task import Compared

DRAWS = 4000
LEVEL = 0.05
FILE = "predictions.npz"
_WANTED = "wanted a .npz that deepres eval --predictions wrote, or the folder of a run that has ended"


@dataclass(frozen=True, eq=False)
class SavedAnswers:
    """What one network answered, by `columns` in the order of the images' places, and how its task compares it."""

    name: str
    model: str
    task: AnyTask
    images: tuple[str, ...]
    columns: dict[str, NDArray[Any]]
    protocol: str
    source: str
    notes: tuple[str, ...]
    compared: Compared


class PairedDifference(Record):
    """`first` against `second`: how much worse its figure is (above 0: worse), 95 % of the draws, p-values."""

    first: str
    second: str
    num_images: int
    figure: str
    difference: float
    low: float
    high: float
    p_value: float
    p_corrected: float
    num_pairs: int = 1

    @property
    def shown(self) -> bool:
        """Whether a difference is shown."""
        return self.p_corrected < LEVEL


def holds_answers(path: Path) -> bool:
    """Whether answers lie there: a file of predictions, or the folder of a run that has ended."""
    return (path if path.suffix == ".npz" else path / FILE).is_file()


def task_of(path: Path) -> AnyTask:
    """The task of the answers in a run's folder or file; one class an image where they do not say."""
    file = path if path.suffix == ".npz" else path / FILE
    if not holds_answers(path):
        return task_in(None, str(path))
    if file != path:
        require_own(path, FILE)
    return task_in(_about(file).get("task"), f"{file}: about")


def load_saved(path: Path) -> SavedAnswers:
    """What stands in a run's folder or in a `.npz` of predictions.

    Raises:
        InputError: no such file, or one that holds other columns than its task has.
    """
    file = path if path.suffix == ".npz" else path / FILE
    if file != path:
        require_own(path, FILE)
    columns = read_arrays(file, file, "a file of predictions", _WANTED)
    about = _about(file)
    task = task_in(about.get("task"), f"{file}: about")
    try:
        columns = {name: column for name, column in columns.items() if name != "about"}
        if columns["index"].ndim != 1 or not (np.diff(columns["index"]) > 0).all():
            raise ValueError("its images are not in the order of their places, each once")
        if columns["name"].shape != columns["index"].shape:
            raise ValueError(f"{columns['name'].size} names of {columns['index'].size} images")
        compared = task.compared(columns)
        images = tuple(columns["name"].tolist())
    except (KeyError, IndexError, ValueError, TypeError) as cause:
        raise InputError(f"{file}: not what {task.kind} answers ({cause}); evaluate the run again") from cause
    where = f"{about.get('source') or '?'}, {about.get('split', '?')}"
    name = path.stem if path.suffix == ".npz" else resolved(path).name
    facts = (str(about.get("model") or "?"), task, images, columns, str(about.get("protocol", "center")), where)
    return SavedAnswers(name, *facts, tuple(about.get("notes") or ()), compared)


def compare(
    answers: Sequence[SavedAnswers], *, force: bool = False
) -> tuple[list[float], tuple[PairedDifference, ...]]:
    """The figure of each, and every pair of them, p-values corrected for their number (Holm).

    Raises:
        InputError: other images or targets, or another protocol (but under `force`).
    """
    first = answers[0]
    for one in answers[1:]:
        if one.task.kind != first.task.kind:
            raise InputError(
                f"{first.name} is of {first.task.kind}, {one.name} of {one.task.kind}: compare like with like"
            )
        if one.images != first.images or not np.array_equal(one.columns["truth"], first.columns["truth"]):
            raise InputError(
                f"{first.name} was measured on {counted(len(first.images), 'image')} ({first.source}), {one.name} on "
                f"{len(one.images):,} others ({one.source}), or on other targets; measure both on the same "
                "(deepres eval RUN SOURCE --predictions FILE)"
            )
        if one.compared.name != first.compared.name:
            raise InputError(
                f"{first.name} was measured by {first.compared.name}, {one.name} by {one.compared.name}: the numbers "
                "say different things; measure both by one"
            )
        if one.protocol != first.protocol and not force:
            raise InputError(
                f"{first.name} was measured by protocol {first.protocol}, {one.name} by {one.protocol}: the numbers "
                "say different things; measure both by one, or insist with --force"
            )
    images = len(first.images)
    whole = np.ones((1, images))
    values = [float(one.compared.statistic(whole)[0]) for one in answers]
    draws: list[list[Floats]] = [[] for _ in answers]
    for weights in drawn(images, DRAWS, 0, "compare"):
        for found, one in zip(draws, answers, strict=True):
            found.append(one.compared.statistic(weights))
    every = [np.concatenate(found) for found in draws]
    sign = 1 if first.compared.lower_is_better else -1
    pairs = []
    for a, b in combinations(range(len(answers)), 2):
        low, high, p_value = paired(sign * (every[a] - every[b]), DRAWS)
        pairs.append(
            PairedDifference(
                first=answers[a].name,
                second=answers[b].name,
                num_images=images,
                figure=first.compared.name,
                difference=sign * (values[a] - values[b]),
                low=low,
                high=high,
                p_value=p_value,
                p_corrected=p_value,
            )
        )
    corrected = holm([pair.p_value for pair in pairs])
    return values, tuple(
        pair.replace(p_corrected=p, num_pairs=len(pairs)) for pair, p in zip(pairs, corrected, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm 1979: of n p-values the k-th smallest (from 0) times n - k, never falling, at most 1."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = highest
    return corrected


def sentence(pair: PairedDifference, shown: Compared) -> str:
    """`b is better than a by 1.2 % (95 % interval 0.7 to 1.7 %; p = 0.002)`, or that none is."""
    better, worse = (pair.second, pair.first) if pair.difference > 0 else (pair.first, pair.second)
    low, high = sorted((abs(pair.low), abs(pair.high))) if pair.low * pair.high > 0 else (pair.low, pair.high)
    sure = f"95 % interval {shown.text(low)} to {shown.text(high)}; paired bootstrap p = {pair.p_value:.2g}"
    if pair.num_pairs > 1:
        sure += f", {pair.p_corrected:.2g} corrected for {pair.num_pairs} pairs"
    if not pair.shown:
        return f"{pair.first} and {pair.second}: no difference shown ({shown.text(pair.difference)}, {sure})"
    return f"{better} is better than {worse} by {shown.text(abs(pair.difference))} ({sure})"


class Named(Protocol):
    """Answers under a name."""

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def named_apart(answers: Sequence[N], paths: Sequence[str]) -> list[N]:
    """The same under names of their own: folders of one name (`a/run`, `b/run`) get their paths as names.

    Raises:
        InputError: one of them is named twice.
    """
    count_of = Counter(os.path.realpath(path) for path in paths)
    twice = [path for path in paths if count_of[os.path.realpath(path)] > 1]
    if twice:
        also = f", also as {twice[1]}" if twice[1] != twice[0] else ""
        raise InputError(f"compare {twice[0]}: named twice{also}; name each run once")
    count, pairs = Counter(one.name for one in answers), zip(answers, paths, strict=True)
    return [replace(one, name=path) if count[one.name] > 1 else one for one, path in pairs]  # type: ignore[type-var]


def _about(file: Path) -> dict[str, Any]:
    columns = read_arrays(file, file, "a file of predictions", _WANTED)
    if "about" not in columns:
        return {}
    found = parse_json(str(columns["about"]), f"{file}: about")
    if not isinstance(found, dict):
        raise InputError(f"{file}: about is {json.dumps(found)[:40]}, wanted an object; evaluate the run again")
    return found
