"""What all parts of a run share while it is carried out: plan, images, statistics, precision, the folder."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from torch import nn

from deepres.arch.catalogue.entry import backbone_of
from deepres.base.events import UNSAID, OnProgress
from deepres.base.files import read_bytes, write_atomic
from deepres.base.manifest import name_of, require_own, writing
from deepres.base.reading import json_object
from deepres.data.images import Images
from deepres.data.loading.config import TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader
from deepres.data.loading.workers import PREFETCH_FACTOR, WorkerPlan, resolved
from deepres.data.sources.open import Source
from deepres.data.transforms.statistics import Statistics, measure_statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.sync_batch_norm import synced
from deepres.nn.weights.hub import find_weights
from deepres.predict.preprocessing import Prepared, prepared_for
from deepres.recipes.run import Run
from deepres.runs.evaluate import EvaluationSetup, evaluate_network
from deepres.runs.lock import Hold
from deepres.runs.teaching import Teachers, taught
from deepres.tasks.evaluator import NO_FACTS, ResultFacts
from deepres.tasks.losses import Loss
from deepres.tasks.result import Evaluation
from deepres.tasks.task import Learning
from deepres.train.distributed import SINGLE_PROCESS, Distributed
from deepres.train.history import read_history
from deepres.train.loggers.logger import About, Logger
from deepres.train.precision import Precision

SKIPPED = "skipped.json"


@dataclass(frozen=True)
class RunContext:
    """`skipped` (name -> reason) collects the images that could not be read, those from before a resume included.

    `workers` is None until their number has been measured; `begun` says what was done to the weights that the run
    begins with; `teachers` are the networks whose answers are learnt; `hold` is asked before each write into it.
    `spares_test`: the end is measured on held-out images (`Planned`); `about_numbers` is what was said of its numbers
    there. `loggers` are told of each epoch.
    """

    run: Run
    source: Source
    folder: Path
    statistics: Statistics
    precision: Precision
    skipped: dict[str, str] = field(default_factory=dict)
    workers: WorkerPlan | None = None
    processes: Distributed = SINGLE_PROCESS
    begun: str = ""
    teachers: Teachers | None = None
    hold: Hold = field(default_factory=Hold)
    command: str = UNSAID
    spares_test: bool = False
    about_numbers: tuple[str, ...] = ()
    loggers: Mapping[str, Logger] = field(default_factory=dict)

    def about(self, step: int) -> About:
        """What its loggers are told of the run, which begins or goes on after `step`."""
        name = name_of(self.folder) or sha256(str(self.folder.resolve()).encode()).hexdigest()[:32]
        rows = [row for row in read_history(self.folder) if row["step"] <= step]
        return About(self.folder, name, self.run.model_dump(mode="json"), step, rows)

    def loss(self) -> Loss:
        """What training minimises."""
        train, source = self.run.train, self.source
        proposals_of = None if train.proposals_of is None else str(self.folder / train.proposals_of)
        learning = Learning(
            train.label_smoothing,
            train.balance,
            source.train.targets,
            source.classes,
            train.learns,
            proposals_of,
            train.loss,
        )
        return taught(self.run.task.loss(learning), self.teachers)

    def loader(self) -> TrainLoader:
        """The training batches."""
        run = self.run
        return TrainLoader(
            self.source.train,
            run.augmentation,
            run.preparation,
            self.statistics,
            TrainLoaderConfig(
                batch_size=run.train.batch_size,
                seed=run.seed,
                workers=self._worker_plan.workers,
                prefetch_factor=self._worker_plan.prefetch_factor,
                on_bad_image=run.data.on_bad_image,
                decode=run.data.decode,
                device=self.precision.device,
                num_classes=len(self.source.classes),
                rank=self.processes.rank,
                world_size=self.processes.size,
                with_pixels=self.teachers is not None and self.teachers.want_pixels,
                even=run.train.balance == "sampler",
                repeats=run.train.repeats,
            ),
        )

    def evaluate(
        self,
        network: nn.Module,
        images: Images,
        split: str,
        facts: ResultFacts = NO_FACTS,
        on_progress: OnProgress | None = None,
        precision: Precision | None = None,
        keep_scores: bool = False,
    ) -> Evaluation:
        """The network on one split of the images, asked the run's task; `facts` go into the result.

        `precision` None is that of training, good enough to choose an epoch; what is reported is measured in float32.
        """
        data = self.run.data.replace(workers=self._worker_plan.workers)
        evaluation = evaluate_network(
            network,
            images,
            Prepared(self.run.preparation, self.statistics),
            EvaluationSetup(data, precision or self.precision, keep_scores=keep_scores, task=self.run.task),
            split=split,
            facts=facts,
            on_progress=on_progress,
            processes=self.processes,
        )
        self.skipped.update({image.name: image.reason for image in evaluation.result.skipped})
        return evaluation

    def keep_skipped(self) -> None:
        """Write down what has been skipped so far, so that a resumed run counts it too."""
        text = json.dumps(self.skipped, indent=1) + "\n"
        path = self.folder / SKIPPED
        if self.skipped and not (path.is_file() and read_bytes(path) == text.encode()):
            with writing(self.folder) as new:
                write_atomic(new / SKIPPED, text)

    @property
    def _worker_plan(self) -> WorkerPlan:
        if self.workers is not None:
            return self.workers
        data = self.run.data
        return WorkerPlan(
            resolved(data.workers), PREFETCH_FACTOR if data.prefetch_factor == "auto" else data.prefetch_factor
        )


def statistics_of(run: Run, source: Source) -> Statistics:
    """Those by which the run's images are normalised: of its training images, or what came with its weights."""
    if run.statistics == "weights" and run.weights is not None:
        begun = find_weights(run.weights, backbone_of(run.model).name)
        return prepared_for(begun, run.model.architecture(), run.weights_mean, run.weights_std).statistics
    return measure_statistics(source.train, run.preparation, seed=run.seed, on_bad_image=run.data.on_bad_image)


def skipped_before(folder: Path) -> dict[str, str]:
    """What a run had skipped when it was stopped."""
    path = folder / SKIPPED
    require_own(folder, SKIPPED)
    return json_object(path, "list of skipped images", "remove it") if path.is_file() else {}


def norms_together(context: RunContext, network: nn.Module) -> AbstractContextManager[None]:
    """The context in which norms use the images of all processes, where the run wants that."""
    processes = context.processes
    several = context.run.train.sync_norm and processes.size > 1
    return synced(network, processes.norms) if several and isinstance(network, ResidualNetwork) else nullcontext()
