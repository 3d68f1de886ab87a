"""Runs that are equal but for the seed, told together as the papers do; what differs in more is never pooled."""

import json
from collections.abc import Sequence
from statistics import mean, median, stdev

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import percent, some
from deepres.tasks.classification.predictions import SavedPredictions

MOST_NAMED = 4


class Seeds(Record):
    """Errors of runs that differ in the seed alone: mean ± std (n - 1), median, best."""

    model: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    errors: tuple[float, ...]

    def __str__(self) -> str:
        runs = ", ".join(f"{run} ({seed})" for run, seed in zip(self.runs, self.seeds, strict=True))
        return (
            f"{self.model}: {100 * mean(self.errors):.2f} ± {100 * stdev(self.errors):.2f} % over "
            f"{len(self.errors)} runs that differ in the seed alone, "
            f"median {percent(median(self.errors))}, best {percent(min(self.errors))}: {runs}"
        )


def pooled(answers: Sequence[SavedPredictions]) -> tuple[Seeds, ...]:
    """The groups of two runs or more that are equal but for the seed, measured by one protocol in one precision."""
    return tuple(
        Seeds(
            model=group[0].model,
            runs=tuple(one.name for one in group),
            seeds=tuple(one.plan.seed for one in group if one.plan is not None),
            errors=tuple(one.error for one in group),
        )
        for group in _groups(answers)
        if len(group) > 1
    )


def apart(answers: Sequence[SavedPredictions]) -> tuple[str, ...]:
    """Why runs of the same network are not pooled: a line for each group beside the network's first one."""
    lines, first = [], dict[str, SavedPredictions]()
    for group in _groups(answers):
        one = group[0]
        known = first.setdefault(one.model, one)
        if known is not one:
            lines.append(f"{one.model}: {known.name} and {one.name} are not pooled: {_reason(known, one)}")
    return tuple(lines)


def measured_with(answers: Sequence[SavedPredictions]) -> tuple[str, ...]:
    """What has to be known beside the errors: notes of the results, precisions that differ."""
    lines = [f"{one.name}: {note}" for one in answers for note in one.notes]
    names: dict[str, list[str]] = {}
    for one in answers:
        names.setdefault(one.precision or "a precision that is not told", []).append(one.name)
    if len(names) > 1:
        lines.append("measured in " + "; ".join(f"{precision}: {', '.join(who)}" for precision, who in names.items()))
    return tuple(lines)


def require_different(answers: Sequence[SavedPredictions]) -> None:
    """Refuse the same weights measured twice in the same way, under whatever names.

    Raises:
        InputError: there are such; both are named.
    """
    seen: dict[tuple[str, str, str], SavedPredictions] = {}
    for one in answers:
        if one.weights is None:
            continue
        known = seen.setdefault((one.weights, one.protocol, one.precision), one)
        if known is not one:
            raise InputError(
                f"compare: {known.name} and {one.name} are the same weights (sha256 {one.weights[:12]}), measured in "
                "the same way: one run, not two; name each once"
            )


def _groups(answers: Sequence[SavedPredictions]) -> list[list[SavedPredictions]]:
    """In the order in which they come; what is not known to be equal, or has a seed that is there already, is alone."""
    groups: dict[str, list[SavedPredictions]] = {}
    for number, one in enumerate(answers):
        if one.plan is None:
            key = f"unknown {number}"
        else:
            key = json.dumps([one.model, one.plan.facts, one.protocol, one.precision], sort_keys=True)
            if any(other.plan is not None and other.plan.seed == one.plan.seed for other in groups.get(key, ())):
                key = f"again {number}"
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _reason(one: SavedPredictions, other: SavedPredictions) -> str:
    if one.plan is None or other.plan is None:
        unknown = one if one.plan is None else other
        return f"how {unknown.name} was trained is not known"
    names = [name for name in ("protocol", "precision") if getattr(one, name) != getattr(other, name)]
    names += one.plan.differences(other.plan)
    if not names:
        return f"both have seed {one.plan.seed}"
    return f"they differ in {some(names, MOST_NAMED)}"
