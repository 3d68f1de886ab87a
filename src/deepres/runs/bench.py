"""How fast this machine trains and answers with a network: the rates of a run's parts, each measured alone."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.detector import naming
from deepres.base.errors import InputError
from deepres.base.files import open_regular, read_bytes
from deepres.base.heap import keep_freed_memory
from deepres.base.manifest import RUN
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.data.images import Batch
from deepres.data.loading.config import TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader
from deepres.data.loading.workers import choose_workers, num_cores, resolved
from deepres.data.sources.open import Source, open_source
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.environment import hardware, versions
from deepres.nn.inference import for_inference
from deepres.nn.memory import apply, available_bytes, require_fits
from deepres.nn.timing import timed
from deepres.predict.preprocessing import STATISTICS, run_statistics
from deepres.recipes.plan import Words
from deepres.recipes.run import Run, load_run
from deepres.runs.bottleneck import Bottleneck, Rates, bottleneck_of, shown
from deepres.runs.plan import Planned, plan_run
from deepres.tasks.classification.losses import cross_entropy
from deepres.train.compile import choose_compile_mode
from deepres.train.config import TrainConfig
from deepres.train.loop import Step, TrainingContext, train
from deepres.train.precision import Precision, choose
from deepres.train.state import State

SAMPLE = 256  # files whose bytes are read from the disk
_FOREVER = 10**9  # steps, images: the clock ends a measurement, not these


class Bench(Record):
    """All that `deepres bench` says."""

    model: str
    input: tuple[int, int, int]
    source: str | None
    precision: str
    steps: str
    inference: str
    hardware: str
    versions: dict[str, str]
    rates: Rates
    verdict: Bottleneck


def bench(
    target: str,
    *,
    source: str | None = None,
    device: torch.device,
    batch_size: int | None = None,
    seconds: float = 20.0,
    on_event: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Measure the network of a run folder, or of a name, for about `seconds`; with images the input path too.

    Nothing is written into the run; the batches that the step is timed on are noise. Steps are compiled where the
    run would compile them; those of a network without images never are.

    Raises:
        InputError: no such run, network or images; a batch that does not fit.
    """
    run, folder, opened = _run_of(target, source)
    description = architecture(target) if run is None else naming(run.model.architecture(), target)
    config = TrainConfig(iterations=1, compile="off") if run is None else run.train
    if batch_size is not None:
        config = config.replace(batch_size=batch_size, accumulate=1)
    precision = choose(config.precision, device)
    steps = config.steps(_FOREVER if opened is None else len(opened.train))
    on_event("training steps")
    step, how = _step_rate(description, config, precision, steps, 0.4 * seconds)
    how = _ALONE if run is None and how.startswith("plain") else how
    on_event("answers")
    network = create_model(description)
    answer = for_inference(network, device, close_calls=False)  # to random weights every call is close
    images = torch.rand(config.batch_size, *description.input)
    rates = Rates(
        step=step,
        answer_one=_rate_of(lambda: answer(images[:1]), 1, 0.1 * seconds, device),
        answer_batch=_rate_of(lambda: answer(images), len(images), 0.15 * seconds, device),
        batch_size=config.batch_size,
        cores=num_cores(),
        on_gpu=device.type == "cuda",
        workers=0 if run is None else resolved(run.data.workers),
    )
    if device.type == "cuda":
        pixels = (255 * images).to(torch.uint8).pin_memory()
        moved = _rate_of(lambda: pixels.to(device, non_blocking=True), len(pixels), 0.05 * seconds, device)
        rates = rates.replace(transfer=moved)
    if run is not None and opened is not None:
        on_event("images")
        rates = _with_input(rates, Planned(run, opened), folder, config.batch_size, device, 0.35 * seconds)
    return Bench(
        model=description.name,
        input=description.input,
        source=None if run is None else run.data.source,
        precision=str(precision),
        steps=how,
        inference=str(answer),
        hardware=hardware(device),
        versions=versions(),
        rates=rates,
        verdict=bottleneck_of(rates),
    )


_ALONE = "plain steps: of a network alone no length says whether compiling would pay; name a run"


def table(found: Bench) -> str:
    """A few lines for people, the verdict last."""
    rates = found.rates
    lines = [
        f"{found.model}, {'x'.join(map(str, found.input))}, {found.hardware}",
        f"{found.precision}; {found.steps}",
        f"{'training step':24}{shown(rates.step):>10} images/s  batch {rates.batch_size}",
        f"{'inference':24}{shown(rates.answer_one):>10} images/s  batch 1: {1000 / rates.answer_one:.1f} ms",
        f"{'inference':24}{shown(rates.answer_batch):>10} images/s  batch {rates.batch_size}",
    ]
    if rates.load is not None:
        how = (
            "images lie on the device"
            if rates.resident
            else f"one process; this run has {counted(rates.workers, 'worker')}"
        )
        lines.append(f"{'images, augmented':24}{shown(rates.load):>10} images/s  {how}")
    if rates.read is not None and rates.read_bytes is not None:
        lines.append(f"{'files from disk':24}{shown(rates.read):>10} images/s  {rates.read_bytes / 1e6:,.0f} MB/s")
    if rates.transfer is not None:
        lines.append(f"{'to the GPU':24}{shown(rates.transfer):>10} images/s")
    return "\n".join([*lines, found.verdict.sentence])


def _run_of(target: str, source: str | None) -> tuple[Run | None, Path | None, Source | None]:
    """The run in the folder and its images, or the one that suits the named network and the source; None without."""
    folder = Path(target)
    if (folder / RUN).is_file():
        run = load_run(folder)
        data = run.data if source is None else run.data.replace(source=source)
        return run.replace(data=data), folder, open_source(data)
    if folder.is_dir():
        raise InputError(f"{target}: no {RUN} in this folder; name a run folder, or a network of `deepres models`")
    if source is None:
        return None, None, None
    plan = plan_run(source, Words(model=target))
    return plan.run, None, plan.source


def _step_rate(
    description: Architecture, config: TrainConfig, precision: Precision, steps: int, seconds: float
) -> tuple[float, str]:
    """Images/s of the loop's own steps on one batch of noise at no learning rate to speak of, and how they run."""
    network = create_model(description)
    plan = require_fits(
        description,
        config.batch_size,
        available_bytes(precision.device),
        config.memory,
        accumulate=config.accumulate,
        value_bytes=precision.dtype.itemsize,
        averaged=config.ema_decay is not None,
    )
    placed = precision.place(network)
    assert isinstance(placed, ResidualNetwork)
    choice, piece = "off" if plan.segments else config.compile, config.batch_size // config.accumulate
    if choice != "off":
        keep_freed_memory()
    passes = steps * config.accumulate
    compile_plan = choose_compile_mode(choice, placed, precision, piece, passes, config.accumulate, whole=True)
    still = config.schedule.replace(kind="constant", lr=1e-9, warmup_lr=None, warmup_fraction=0)
    endless = config.replace(epochs=None, iterations=_FOREVER, schedule=still, head_only_fraction=0.0)
    state = State(placed, config.optimizer, averaged=config.ema_decay is not None)
    events = train(
        state,
        endless,
        _Noise(description, config.batch_size, precision.device),
        cross_entropy(config.label_smoothing),
        None,
        TrainingContext(
            num_images=_FOREVER * config.batch_size,
            precision=precision,
            seed=0,
            forward=compile_plan.forward(placed),
            capture=compile_plan.capture,
        ),
    )
    with apply(placed, plan):
        done = [event.seconds for event in _for(events, seconds) if isinstance(event, Step)]
    return config.batch_size / median(done[2:] or done), f"memory saved: {plan}" if plan.segments else str(compile_plan)


class _Noise:
    """The same batch for ever."""

    waited_seconds = 0.0

    def __init__(self, description: Architecture, batch_size: int, device: torch.device) -> None:
        images = torch.randn(batch_size, *description.input, device=device)
        places = torch.arange(batch_size)
        self._batch = Batch(images, (places % max(1, description.num_classes)).to(device), places)

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        return (self._batch for _ in range(start, stop))


def _for(events: Iterator[object], seconds: float, at_least: int = 4) -> list[object]:
    """What comes within `seconds`, but some of it in any case."""
    began, found = perf_counter(), []
    for event in events:
        found.append(event)
        if len(found) >= at_least and perf_counter() - began > seconds:
            break
    return found


def _rate_of(call: Callable[[], Tensor], images: int, seconds: float, device: torch.device) -> float:
    """Images/s from the median call, two calls of warm-up apart."""
    taken = timed(call, device, seconds, calls=_FOREVER, least=5)
    return images / median(taken[2:])


def _with_input(
    rates: Rates, plan: Planned, folder: Path | None, batch_size: int, device: torch.device, seconds: float
) -> Rates:
    """The rates with those of the run's own images, as one process makes batches of them."""
    run, source = plan.run, plan.source
    if folder is not None and (folder / STATISTICS).is_file():
        statistics = run_statistics(folder)
    else:
        statistics = measure_statistics(source.train, run.preparation, limit=100, on_bad_image="skip")
    size = min(batch_size, len(source.train))
    loader = TrainLoader(
        source.train,
        run.augmentation,
        run.preparation,
        statistics,
        TrainLoaderConfig(
            batch_size=size,
            seed=run.seed,
            on_bad_image="skip",
            decode=run.data.decode,
            device=device,
            num_classes=len(source.classes),
        ),
    )
    threads = torch.get_num_threads()
    resident = loader.resident
    if not resident:
        torch.set_num_threads(1)  # as in a worker
    try:
        batches = iter(loader.batches(0, _FOREVER))
        load = _rate_of(lambda: next(batches).images, size, seconds, device)
    finally:
        torch.set_num_threads(threads)
    rates = rates.replace(load=load, resident=resident)
    if run.data.workers == "auto" and not resident:
        rates = rates.replace(workers=choose_workers(load, rates.step, rates.cores, on_gpu=rates.on_gpu).number)
    if source.train.paths:
        count, size_bytes, taken = _read(source.train.paths)
        rates = rates.replace(read=count / taken, read_bytes=size_bytes / taken)
    return rates


def _read(paths: Sequence[Path]) -> tuple[int, int, float]:
    """Files, bytes and seconds of reading files spread over the set, the system's cache emptied of them first."""
    chosen = paths[:: max(1, len(paths) // SAMPLE)][:SAMPLE]
    if hasattr(os, "posix_fadvise"):
        for path in chosen:
            with open_regular(path) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = perf_counter()
    size = sum(len(read_bytes(path)) for path in chosen)
    return len(chosen), size, max(perf_counter() - began, 1e-9)
