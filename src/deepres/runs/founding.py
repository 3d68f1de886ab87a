"""What a run writes as it begins, bound to one another (base/manifest.py), and finds unchanged as it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepres.base.errors import InputError
from deepres.base.events import Doing, progress_of
from deepres.base.files import write_atomic
from deepres.base.manifest import MANIFEST, RUN, begin, holds_run, manifest_of, require_own, writing
from deepres.data.doubles import FILE as DOUBLES
from deepres.data.sources.open import Source, write_split
from deepres.data.transforms.statistics import Statistics
from deepres.nn.weights.folds import holds_folds
from deepres.predict.preprocessing import STATISTICS, run_statistics
from deepres.recipes.run import Run
from deepres.runs.context import RunContext, statistics_of
from deepres.runs.head import begin_head
from deepres.runs.resuming import ORIGIN
from deepres.runs.seen import DIGESTS, SPLIT, write_digests
from deepres.train.checkpoint import save_state
from deepres.train.precision import choose
from deepres.train.state import State

BEGUN = (STATISTICS, ORIGIN, DIGESTS, DOUBLES, SPLIT)
"""What a run writes as it begins, and never again."""


def require_no_run(folder: Path) -> None:
    """Refuse to begin where a run lies."""
    if holds_run(folder) or holds_folds(folder):
        raise InputError(
            f"{folder}: holds a run already; continue it with --resume {folder}, or choose another --output"
        )


def set_up(
    run: Run,
    source: Source,
    folder: Path,
    state: State,
    device: torch.device,
    name: str | None,
    on_event: Callable[[Any], None],
) -> tuple[Run, Statistics]:
    """Write what belongs to the run in `folder`, bound to one another, its plan last; the plan with a fitted head."""
    statistics = statistics_of(run, source)
    if run.train.fit_head:
        on_event(Doing("fitting the new head"))
        precision = choose(run.train.precision, device)
        run = begin_head(
            RunContext(run, source, folder, statistics, precision),
            state.network,
            progress_of(on_event, "fitting the new head"),
        )
        state = with_rates(state.network, run)
    statistics.save(folder / STATISTICS)
    write_atomic(folder / ORIGIN, source.origin.to_json())
    write_digests(folder, run, source)
    if source.train.paths:
        write_split(source, folder / SPLIT)
    begin(folder, BEGUN, name)
    save_state(state, folder / "state")
    with writing(folder) as new:
        run.written_in(folder).save(new / RUN)
    return run, statistics


def as_begun(folder: Path, on_event: Callable[[Any], None]) -> Statistics:
    """The run's statistics, once all that it wrote as it began is as it was."""
    for name in BEGUN:
        require_own(folder, name)
    if manifest_of(folder) is None:
        on_event(f"no {MANIFEST} in {folder} (a run of an older version?): its files are taken as they are")
    return run_statistics(folder)


def rewrite(run: Run, folder: Path) -> None:
    """Put down the plan by which the run goes on, as its own."""
    with writing(folder) as new:
        run.written_in(folder).save(new / RUN)


def with_rates(network: nn.Module, run: Run) -> State:
    """The state before the first step."""
    config = run.train
    return State(network, config.optimizer, config.ema_decay is not None, config.layer_decay, config.head_pace or 1.0)
