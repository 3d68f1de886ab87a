"""How fast a run goes on this machine, measured for a moment each: loading, steps, answers; what its workers are."""

from dataclasses import replace
from statistics import fmean
from time import perf_counter, process_time
from typing import Any, NamedTuple, Self

import torch
from torch import nn

from deepres.arch.architecture import Architecture
from deepres.arch.localiser import anchors_of
from deepres.arch.readings.cost import cost
from deepres.arch.readings.norms import fewest_images
from deepres.arch.readings.segments import CheckpointPlan
from deepres.base import records
from deepres.base.heap import return_freed_memory
from deepres.base.manifest import require_own, writing
from deepres.base.wording import counted
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.loading.workers import (
    WorkerPlan,
    batches_fitting,
    choose_prefetch_factor,
    choose_workers,
    load_of,
    num_cores,
    room_for_batches,
)
from deepres.data.sources.open import Source
from deepres.data.transforms.per_image import SampleStage
from deepres.data.transforms.statistics import Statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.freeze import freeze
from deepres.nn.memory import available_bytes
from deepres.nn.timing import MOST_CALLS, timed
from deepres.recipes.run import Run
from deepres.runs.context import RunContext
from deepres.tasks.task import FirstValues, Learning
from deepres.train.compile import CompilePlan, choose_compile_mode, noise_loss
from deepres.train.distributed import Distributed
from deepres.train.precision import Precision, choose
from deepres.train.state import State
from deepres.train.timing import passes

COMPILE = "compile.json"
HOLES = 3  # bytes that a heap full of holes takes for each one in use, where layers are computed twice

MOST_IMAGES = 32  # of a timed step
STEP_SECONDS = 1.0
MOST_READ = 2000  # images from which statistics are measured
MOST_MACS = 2e11  # of a timed pass on a CPU, a second or two there
MOST_BURDEN = 8.0


class Pace(NamedTuple):
    """Wall clock in seconds: `trained` of a training image, `answered` of one that is evaluated, by all processes.

    `before` is what comes before the first step, `burden` how many times as long as alone a process takes here;
    `reported` is an answer in the end, where that takes longer than one while training goes on.
    """

    trained: float
    answered: float
    before: float = 0.0
    burden: float = 1.0
    reported: float = 0.0

    def replace(self, **changes: float) -> Self:
        """The same with some figures changed."""
        return self._replace(**changes)


class Settled(NamedTuple):
    """How many workers, how many batches ahead; the line that says why; images/s of the steps timed for it."""

    worker_plan: WorkerPlan
    sentence: str
    step_rate: float


def settle_workers(context: RunContext, network: nn.Module) -> Settled | None:
    """The workers of a run whose `data.workers` or `data.prefetch_factor` is "auto"; what is given stays as it is.

    None where both are given, where no worker is wanted, or where images lie in memory.
    """
    data, config, processes = context.run.data, context.run.train, context.processes
    if data.workers == 0 or "auto" not in (data.workers, data.prefetch_factor):
        return None
    loader = context.loader()
    if loader.resident or not isinstance(network, ResidualNetwork) or anchors_of(network.description) is not None:
        return None
    on_gpu = context.precision.device.type == "cuda"
    rate = step_rate(network, context.precision, min(config.batch_size // config.accumulate, MOST_IMAGES))
    step = rate * (1 - (0.0 if context.teachers is None else context.teachers.known.share))
    load = loader.load()
    images = config.batch_size // processes.size
    room = room_for_batches(available_bytes(torch.device("cpu"))) // processes.local_size
    if data.workers == "auto":
        cores, fitting = max(1, num_cores() // processes.local_size), batches_fitting(load, images, room)
        workers, said = choose_workers(1 / load.seconds, step, cores, on_gpu=on_gpu, fitting=fitting)
    else:
        workers, said = data.workers, f"workers: {data.workers} as given"
    if data.prefetch_factor == "auto":
        factor, why = choose_prefetch_factor(load, images, step, workers, room)
    else:
        factor, why = data.prefetch_factor, f"each {counted(data.prefetch_factor, 'batch')} ahead as given"
    return Settled(WorkerPlan(workers, factor), f"{said}, {why}", rate)


def settle_steps(
    context: RunContext, state: State, plan: CheckpointPlan, *, in_haste: bool, step_rate: float | None = None
) -> CompilePlan:
    """How steps are carried out: as the run began, where it is resumed; layers computed twice are never compiled.

    With `in_haste` nothing is measured: there is not the time in which it could pay. `step_rate` in images/s, where it
    has been timed, tells a run that is short.
    """
    config, path, processes = context.run.train, context.folder / COMPILE, context.processes
    if config.sync_norm and processes.size > 1:
        return CompilePlan(choice=config.compile, reason="norms exchange statistics within a step")
    if plan.segments:
        holes = HOLES * plan.peak_bytes > available_bytes(context.precision.device)
        if holes and context.precision.device.type == "cpu" and return_freed_memory():
            return CompilePlan(
                choice=config.compile,
                reason="layers are computed twice, and freed memory is returned at once (faster: preload tcmalloc)",
            )
        return CompilePlan(choice=config.compile, reason="layers are computed twice")
    require_own(context.folder, COMPILE)
    if path.is_file():
        before = records.load(CompilePlan, path, "record of how steps are carried out")
        if before.choice == config.compile and before.lacking(state.network, context.precision) is None:
            return _by_kernels_here(context, before, state.progress.step)
    network = state.network
    if not isinstance(network, ResidualNetwork):
        return CompilePlan(choice=config.compile, reason="the sizes of its pictures change from step to step")
    if anchors_of(network.description) is not None:
        return CompilePlan(choice=config.compile, reason="what is learnt of a picture is drawn on the host")
    pieces = config.pieces(processes.size)
    left = (state.progress.length(config.steps(len(context.source.train))) - state.progress.step) * pieces
    share = processes.share(config.batch_size, pieces) // pieces
    if in_haste and config.compile == "auto":
        compile_plan = CompilePlan(reason="too little time to find out whether compiling pays")
    else:
        about = None if step_rate is None else share / step_rate
        whole = processes.size == 1 and context.teachers is None
        compile_plan = choose_compile_mode(
            config.compile, network, context.precision, share, left, pieces, about, whole
        )
    with writing(context.folder) as new:
        compile_plan.save(new / COMPILE)
    return compile_plan


def _by_kernels_here(context: RunContext, before: CompilePlan, step: int) -> CompilePlan:
    """The same plan; where its kernels have changed since, it says from which step on rounding may be another."""
    here = before.with_kernels_of_here()
    if here == before:
        return before
    said = f"{before.reason}; from step {step:,} on by another version of the kernels, whose rounding may differ"
    changed = here.replace(reason=said)
    with writing(context.folder) as new:
        changed.save(new / COMPILE)
    return changed


def step_rate(network: ResidualNetwork, precision: Precision, batch_size: int, seconds: float | None = None) -> float:
    """Images/s of forward and backward passes on noise, by a copy of the network, the first one apart.

    They take about `seconds` together, STEP_SECONDS where none are given.
    """
    description = network.description
    loss = noise_loss(description.input, batch_size, description.num_classes, precision)
    work = passes(network, precision, loss, lambda twin: twin)
    taken = timed(work, precision.device, STEP_SECONDS if seconds is None else seconds)
    return batch_size / min(taken[1:])


def pace_of(run: Run, source: Source, device: torch.device, processes: Distributed, taught: int = 0) -> Pace:
    """How fast training and evaluation of this run go here: steps and answers on noise, some images read.

    `taught` are the multiply-adds of what teachers answer to an image.
    """
    precision = choose(run.train.precision, device)
    here = _pace_of_pictures if run.preparation.fit == "sides" else _pace_here
    measured = processes.all_gather(lambda: here(run, source, precision, processes))
    pace = Pace(*(max(figures) for figures in zip(*measured, strict=True)))
    return pace.replace(trained=pace.trained * (1 + taught / (3 * cost(run.model.architecture()).macs)))


def _pace_here(run: Run, source: Source, precision: Precision, processes: Distributed) -> Pace:
    config, description, device = run.train, run.model.architecture(), precision.device
    assert isinstance(description, Architecture)
    share = config.batch_size // (processes.size * config.pieces(processes.size))
    on_gpu = device.type == "cuda"
    few = max(fewest_images(description), int(MOST_MACS / (3 * cost(description).macs)))
    batch = share if on_gpu else min(share, few)
    cores = max(1, num_cores() // processes.local_size)
    began, worked = perf_counter(), process_time()
    load = _load(run, source) / cores
    network = create_model(description, seed=run.seed)
    state = State(precision.place(network), config.optimizer, averaged=False)
    loss = noise_loss(description.input, batch, description.num_classes, precision)

    def step() -> None:
        loss(state.network).backward()  # type: ignore[no-untyped-call]
        state.optimiser.step(1e-9)
        state.optimiser.zero_grad()

    images = torch.zeros(batch, *description.input, device=device)

    def answer() -> None:
        with torch.inference_mode():
            state.network(images)

    trained = fmean(timed(step, device, STEP_SECONDS)[1:]) / batch
    state.network.eval()
    answered = fmean(timed(answer, device, STEP_SECONDS)[1:]) / batch
    together = max if on_gpu else float.__add__  # on a CPU loading takes from what steps have
    before = min(len(source.train), MOST_READ) * load * cores if run.statistics == "images" else 0.0
    burden = (perf_counter() - began) / max(1e-9, process_time() - worked)
    return Pace(
        together(trained, load) / processes.size,
        together(answered, load) / processes.size,
        before,
        min(MOST_BURDEN, max(1.0, burden)),
    )


def _pace_of_pictures(run: Run, source: Source, precision: Precision, processes: Distributed) -> Pace:
    """Of pictures that keep their shape: on some of them, as what they take depends on what is on them."""
    config, device, task = run.train, precision.device, run.task
    share = config.batch_size // (processes.size * config.pieces(processes.size))
    channels = run.preparation.channels
    plain = torch.zeros(channels), torch.ones(channels)
    statistics = Statistics(*plain, plain[1], torch.eye(channels), None, 0)
    began, worked = perf_counter(), process_time()
    first = task.network(run.model.architecture(), source.classes, FirstValues(seed=run.seed))[0]
    state = State(precision.place(first), config.optimizer, averaged=False)
    freeze(state.network, config.frozen)
    loss = task.loss(Learning(targets=source.train.targets, names=source.classes))
    reading: Any = {"batch_size": share, "device": device, "on_bad_image": run.data.on_bad_image}
    loading = TrainLoaderConfig(**reading, seed=run.seed, num_classes=len(source.classes))
    loader = TrainLoader(source.train, run.augmentation, run.preparation, statistics, loading)
    batches = loader.batches(0, MOST_CALLS)
    few = source.train.select(range(min(share, len(source.train))))
    asked = LoaderConfig(**reading)

    def step() -> None:
        batch = next(batches)
        with precision.autocast():
            value, _ = loss(state.network, replace(batch, images=precision.images(batch.images)))
        value.backward()  # type: ignore[no-untyped-call]
        state.optimiser.step(1e-9)
        state.optimiser.zero_grad()

    def answered_by(network: Any) -> float:
        def answer() -> None:
            with torch.inference_mode():
                for batch in evaluation_batches(few, run.preparation, statistics, asked):
                    task.outputs(network, batch)

        return fmean(timed(answer, device, STEP_SECONDS)[1:]) / len(few)

    trained = fmean(timed(step, device, STEP_SECONDS)[1:]) / share
    batches.close()
    plainly = state.network.eval()
    fast = None if precision.dtype is not torch.bfloat16 else task.made_fast(plainly, device, "bfloat16")
    reported = answered_by(plainly)
    burden = (perf_counter() - began) / max(1e-9, process_time() - worked)
    return Pace(
        trained / processes.size,
        (reported if fast is None else answered_by(fast)) / processes.size,
        0.0,
        min(MOST_BURDEN, max(1.0, burden)),
        reported / processes.size,
    )


def _load(run: Run, source: Source) -> float:
    """Seconds in which one process reads and augments an image; 0 where all lie in memory as they are used."""
    images = source.train
    if images.pixels is not None and not run.augmentation.is_per_sample:
        return 0.0
    stage = SampleStage(run.augmentation, run.preparation, run.seed)

    def read(call: int) -> int:
        try:
            return stage(images.image(call), call, images.name(call)).nbytes
        except ValueError:  # it cannot be read: training says so
            return 0

    return load_of(read, len(images)).seconds
