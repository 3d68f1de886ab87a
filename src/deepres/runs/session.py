"""One start or resume of a run: its images, teachers, memory and network, by all processes of it alike."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from deepres.arch.readings.cost import cost
from deepres.arch.readings.norms import require_normalisable
from deepres.arch.readings.segments import CheckpointPlan
from deepres.base.events import UNSAID, Doing
from deepres.data.readable import require_readable
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source
from deepres.data.transforms.statistics import Statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.init import begin_at_shortcuts
from deepres.nn.memory import available_bytes, require_fits
from deepres.recipes.run import Run
from deepres.runs.context import RunContext
from deepres.runs.founding import with_rates
from deepres.runs.lock import Hold
from deepres.runs.starting_weights import first_network
from deepres.runs.teacher import FoundTeachers, find_teachers
from deepres.train.distributed import SINGLE_PROCESS, Distributed
from deepres.train.precision import choose
from deepres.train.state import State


def unheard(event: object) -> None:
    """What is told to nobody."""


@dataclass(frozen=True)
class Session:
    """Where a run starts or goes on, who is told of it, in which processes, and the command that asked for it.

    Of `processes` the first alone reads and writes the folder; `command` is written down beside what comes of the run.
    """

    folder: Path
    device: torch.device
    on_event: Callable[[Any], None] = unheard
    processes: Distributed = SINGLE_PROCESS
    command: str = UNSAID

    def images(self, run: Run, listed: Source | None = None, own: Callable[[], DataConfig] | None = None) -> Source:
        """The images, those that cannot be read refused, or told of.

        `listed` are those that the run comes with; `own` says how they are read now, where that has changed.
        """
        processes = self.processes
        processes.share(run.train.batch_size, run.train.pieces(processes.size))
        self.on_event(Doing(f"listing the images of {run.data.source}"))
        data = run.data if own is None else processes.on_rank_zero(own)
        source = processes.local_rank_zero_first(lambda: listed or open_source(data))
        self.on_event(Doing("opening every image file"))
        for line in processes.on_rank_zero(lambda: require_readable(source.splits(), data.on_bad_image)):
            self.on_event(line)
        facts = source.origin.replace(source="").to_json()
        processes.require_same("images", f"digest {sha256(facts.encode()).hexdigest()[:12]}")
        return source

    def teachers(self, run: Run, source: Source) -> tuple[Run, FoundTeachers | None]:
        """The run with its teachers by place and digest, and these; None where it has none."""
        found = find_teachers(run, source.classes, self.processes)
        return (run if found is None else run.replace(teacher=found.config)), found

    def memory_plan(self, run: Run, found: FoundTeachers | None) -> CheckpointPlan:
        """Which layers a step computes twice; a step that does not fit, or that a norm cannot take, is refused."""
        return self.processes.on_rank_zero(lambda: self._memory_plan(run, found))

    def state(self, run: Run, source: Source, *, begin: bool) -> tuple[State, str]:
        """The network as it is before the first step, with the weights that the run begins with under `begin`.

        And what was done to these, for a person to read.
        """
        return self.processes.on_all_ranks(lambda: self._state(run, source, begin=begin))

    def context(
        self,
        run: Run,
        source: Source,
        statistics: Statistics,
        found: FoundTeachers | None,
        hold: Hold,
        *,
        skipped: dict[str, str] | None = None,
        begun: str = "",
    ) -> RunContext:
        """What all parts of the run share from here on."""
        precision = choose(run.train.precision, self.device)
        teachers = None if found is None else found.ready(run, source.classes, statistics, precision)
        return RunContext(
            run,
            source,
            self.folder,
            statistics,
            precision,
            {} if skipped is None else skipped,
            processes=self.processes,
            begun=begun,
            teachers=teachers,
            hold=hold,
            command=self.command,
        )

    def _memory_plan(self, run: Run, found: FoundTeachers | None) -> CheckpointPlan:
        config, processes = run.train, self.processes
        pieces = config.pieces(processes.size)
        share = config.batch_size if config.sync_norm else processes.share(config.batch_size, pieces)
        description = run.model.architecture()
        require_normalisable(description, share, config.frozen, pieces)
        images, value_bytes = (
            processes.share(config.batch_size, pieces),
            choose(config.precision, self.device).dtype.itemsize,
        )
        beside = 0 if config.optimizer.kind == "sgd" else 4 * cost(description).parameters  # the second moments
        return require_fits(
            description,
            images,
            available_bytes(self.device) // (processes.local_size if self.device.type == "cpu" else 1),
            config.memory,
            accumulate=pieces,
            value_bytes=value_bytes,
            averaged=config.ema_decay is not None,
            beside=beside + (0 if found is None else found.memory(-(-images // pieces), value_bytes)),
        )

    def _state(self, run: Run, source: Source, *, begin: bool) -> tuple[State, str]:
        network, said = first_network(run, source.classes, run.weights if begin else None)
        if begin and run.train.zero_gamma and isinstance(network, ResidualNetwork):  # others are refused (Run)
            begin_at_shortcuts(network)
        placed = choose(run.train.precision, self.device).place(network)
        return with_rates(placed, run), said
