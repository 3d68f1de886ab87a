"""Images -> batches: small sets lie on the device as uint8, files are decoded by worker processes.

What a batch holds depends on the seed and its step only, never on the workers or on the batches before it: a run that
resumes at step t draws what the uninterrupted one would have drawn.
"""

import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from deepres.base.errors import InputError, RunError
from deepres.data.batchwise import BatchStage, normalise
from deepres.data.decode import BadImageError
from deepres.data.mixing import mix
from deepres.data.order import batch_at
from deepres.data.sample import ArrayImages, Batch, FileImages, Images, StoredImages
from deepres.data.samplewise import Decode, SampleStage, fit
from deepres.data.statistics import Statistics
from deepres.data.transforms import Augmentation, Preparation, check_together
from deepres.data.workers import rate_of

RESIDENT_BYTES = 2**31  # sets of at most this size, as fitted to the network, are kept on the device
NAMED_FILES = 5  # as many names stand in an error

OnBadImage = Literal["stop", "skip"]


class TrainLoader:
    """Training batches by step number, from a set in memory or on disk.

    Images in memory that need nothing done one by one lie on `device`, fitted once, and no worker is started; others
    pass through `workers` processes (0 = this one), which decode and crop. A bad image stops the run with
    `BadImageError`, or under "skip" is left out of its batch, never replaced, and noted in `skipped`. Files are decoded
    as `decode` says (samplewise.py); images in memory always whole.

    Process `rank` of `world` gets its contiguous share of each batch of `batch_size`, bitwise as it would be within it.

    Raises:
        InputError: no images, or an augmentation and a preparation that do not go together.
    """

    def __init__(
        self,
        images: Images,
        augmentation: Augmentation,
        preparation: Preparation,
        statistics: Statistics,
        *,
        batch_size: int,
        seed: int,
        workers: int = 0,
        on_bad_image: OnBadImage = "stop",
        decode: Decode = "full",
        device: torch.device | str = "cpu",
        num_classes: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_together(augmentation, preparation)
        if not len(images):
            raise InputError("training set: holds no images, wanted at least one")
        self.skipped: dict[str, str] = {}  # path -> reason
        self.waited_seconds = 0.0  # spent on making batches while the caller waited for them
        self._images = images
        self._augmentation = augmentation
        self._batch_size = batch_size
        share = batch_size // world
        self._own = torch.arange(rank * share, (rank + 1) * share)  # places within the batch
        if (augmentation.mixup or augmentation.cutmix) and world > 1:  # the first image is mixed with the one before it
            self._own = torch.cat([(self._own[:1] - 1) % batch_size, self._own])
        self._alone = len(self._own) == share
        self._seed = seed
        self._workers = workers
        self._on_bad_image = on_bad_image
        self._device = torch.device(device)
        self._num_classes = len(images.classes) if num_classes is None else num_classes
        self._labels = images.labels.to(self._device)
        on_device = statistics.to(self._device)
        self._batch_stage = BatchStage(augmentation, preparation, on_device, seed=seed, batch_size=batch_size)
        self._resident = None if augmentation.is_per_sample else _resident(images, preparation, self._device)
        self._read = _Reader(images, SampleStage(augmentation, preparation, seed, decode), on_bad_image)

    @property
    def resident(self) -> bool:
        """Whether the images lie on the device, so that no worker is needed."""
        return self._resident is not None

    def rate(self) -> float:
        """Images/s that one process reads, decodes and augments here: a short measurement, which changes nothing."""
        indices, places = self._draw(0)
        pairs = list(zip(indices.tolist(), places.tolist(), strict=True))
        return rate_of(lambda call: self._read[[pairs[call][0]], [pairs[call][1]]], len(pairs))

    def batches(self, start: int, stop: int) -> Generator[Batch, None, None]:
        """The batches of steps `start` … `stop` - 1 of the run; each call with workers starts them anew."""
        asked = perf_counter()
        pixels = self._from_memory(start, stop) if self._resident is not None else self._from_workers(start, stop)
        with closing(pixels):
            for step, (images, kept) in enumerate(pixels, start):
                batch = self._finished(*self._preceded(images, kept, step), step)
                self.waited_seconds += perf_counter() - asked
                yield batch
                asked = perf_counter()

    def _finished(self, pixels: Tensor, kept: Tensor, step: int) -> Batch:
        indices = self._draw(step)[0][kept]  # `kept` are places within the whole batch
        images, labels = self._batch_stage(pixels, step, kept), self._labels[indices.to(self._device)]
        alphas = self._augmentation
        if alphas.mixup or alphas.cutmix:
            images, labels = mix(
                images, labels, self._num_classes, mixup=alphas.mixup, cutmix=alphas.cutmix, seed=self._seed, step=step
            )
        return Batch(images, labels, indices) if self._alone else Batch(images[1:], labels[1:], indices[1:])

    def _preceded(self, pixels: Tensor, kept: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """With the nearest readable image before this process' share, where that is wanted and could not be read."""
        if self._alone or kept[0] == self._own[0]:
            return pixels, kept
        indices, places = self._draw(step)
        for back in range(2, self._batch_size + 1):
            place = (self._own[1] - back) % self._batch_size
            answer = self._read[[int(indices[place])], [int(places[place])]]
            if answer.pixels is not None:
                return torch.cat([answer.pixels.to(self._device), pixels]), torch.cat([place[None], kept])
        raise AssertionError("the share's own images can be read")

    def _draw(self, step: int) -> tuple[Tensor, Tensor]:
        return batch_at(step, self._batch_size, len(self._images), self._seed)

    def _draw_own(self, step: int) -> tuple[Tensor, Tensor]:
        indices, places = self._draw(step)
        return indices[self._own], places[self._own]

    def _from_memory(self, start: int, stop: int) -> "_Pixels":
        assert self._resident is not None
        for step in range(start, stop):
            indices, _ = self._draw(step)
            yield self._resident[indices[self._own].to(self._device)], self._own

    def _from_workers(self, start: int, stop: int) -> "_Pixels":
        tasks = _Tasks(lambda: (self._draw_own(step) for step in range(start, stop)))
        with closing(_fetched(self._read, tasks, self._workers, self._device)) as answers:
            for step, (task, answer) in enumerate(zip(tasks, answers, strict=True), start):
                _note(answer, self._images, self.skipped)
                kept = self._own[answer.kept]
                if answer.pixels is None or (not self._alone and len(kept) == 1 and kept[0] == self._own[0]):
                    named = _named([self._images.name(index) for index in task[0]])
                    raise InputError(f"step {step}: no image of its batch can be read ({named}); mend or remove them")
                yield answer.pixels.to(self._device, non_blocking=True), kept


def evaluation_batches(
    images: Images,
    preparation: Preparation,
    statistics: Statistics,
    *,
    batch_size: int,
    workers: int = 0,
    device: torch.device | str = "cpu",
    on_bad_image: OnBadImage = "stop",
    skipped: dict[str, str] | None = None,
    rank: int = 0,
    world: int = 1,
) -> Generator[Batch, None, None]:
    """Every image once, in the set's order; the last batch is short. Of `world` processes each gets every world-th.

    Under "skip" images that cannot be read are left out and noted in `skipped` (path -> reason).

    Raises:
        BadImageError: an image cannot be read, under "stop".
        InputError: none can be read, under "skip", by a process that reads them all.
    """
    device = torch.device(device)
    on_device = statistics.to(device)
    numbers = torch.split(torch.arange(len(images)), batch_size)[rank::world]
    if isinstance(images, ArrayImages):
        for indices in numbers:
            pixels = fit(images.pixels[indices], preparation, images.address).to(device)
            yield Batch(normalise(pixels, preparation, on_device), images.labels[indices].to(device), indices)
        return
    tasks = _Tasks(lambda: ((indices, indices) for indices in numbers))
    read = _Reader(images, SampleStage(Augmentation(), preparation, seed=0), on_bad_image)
    num_read = 0
    with closing(_fetched(read, tasks, workers, device)) as answers:
        for task, answer in zip(tasks, answers, strict=True):
            _note(answer, images, {} if skipped is None else skipped)
            if answer.pixels is not None:
                indices = torch.tensor(task[0])[answer.kept]
                num_read += len(indices)
                pixels = answer.pixels.to(device, non_blocking=True)
                yield Batch(normalise(pixels, preparation, on_device), images.labels[indices].to(device), indices)
    if len(images) and not num_read and world == 1:
        named = _named([images.name(index) for index in range(len(images))])
        raise InputError(f"none of {len(images)} images can be read ({named}); mend or replace them")


def prepare_one(image: Tensor, preparation: Preparation, statistics: Statistics) -> Tensor:
    """One uint8 image (C, H, W) as the network wants it, float32; to the bit what `evaluation_batches` yields."""
    return normalise(fit(image, preparation), preparation, statistics)


Task = tuple[list[int], list[int]]  # indices into the set, places in the stream
_Pixels = Generator[tuple[Tensor, Tensor], None, None]  # uint8 images, and their places within the batch as planned


class _Answer(NamedTuple):
    """What a worker sends back; errors travel as text, for a worker's exception arrives as a wall of traceback."""

    pixels: Tensor | None  # uint8 (N, C, H, W); None where no image could be read
    kept: list[int]  # the places of these images within the task
    bad: list[tuple[int, str]]  # index and reason
    stops: type[InputError] | None = None
    message: str = ""


@dataclass(frozen=True)
class _Tasks:
    """Drawn afresh by each reader of it: one by the loader, which runs ahead, and one by the consumer."""

    draw: Callable[[], Iterable[tuple[Tensor, Tensor]]]

    def __iter__(self) -> Iterator[Task]:
        return ((indices.tolist(), places.tolist()) for indices, places in self.draw())


class _Reader(Dataset[_Answer]):
    """Task -> answer, in whichever process."""

    def __init__(self, images: Images, stage: SampleStage, on_bad_image: OnBadImage) -> None:
        self._images = images
        self._stage = stage
        self._on_bad_image = on_bad_image

    def __getitem__(self, task: Task) -> _Answer:
        done: list[Tensor] = []
        kept: list[int] = []
        bad: list[tuple[int, str]] = []
        for position, (index, place) in enumerate(zip(*task, strict=True)):
            name = self._images.name(index)
            try:
                image = self._image(index, place, name)
                if done and image.shape != done[0].shape:
                    raise InputError(_sizes_differ(name, image, self._images.name(task[0][kept[0]]), done[0]))
            except BadImageError as error:
                if self._on_bad_image == "stop":
                    message = f"{error} (--set data.on_bad_image=skip leaves such images out)"
                    return _Answer(None, [], [], BadImageError, message)
                bad.append((index, str(error).removeprefix(f"{name}: ")))
            except InputError as error:
                return _Answer(None, [], [], InputError, str(error))
            else:
                done.append(image)
                kept.append(position)
        return _Answer(torch.stack(done) if done else None, kept, bad)

    def _image(self, index: int, place: int, name: str) -> Tensor:
        cutter = self._stage.cutter
        if cutter is None or not isinstance(self._images, FileImages | StoredImages):
            return self._stage(self._images.image(index), place, name)
        return self._stage.after_cut(self._images.cut(index, cutter, place), place, name)


def _fetched(read: _Reader, tasks: _Tasks, workers: int, device: torch.device) -> Generator[_Answer, None, None]:
    """The answers in the order of the tasks; the workers end when this generator does."""
    loader = DataLoader(
        read,
        batch_size=None,
        sampler=tasks,
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_interrupts_to_parent,
        generator=torch.Generator(),  # else the global one is drawn from
    )
    answers = iter(loader)
    try:
        while (answer := _next(answers)) is not None:
            if answer.stops is not None:
                raise answer.stops(answer.message)
            yield answer
    finally:
        del answers


def _next(answers: Iterator[_Answer]) -> _Answer | None:
    try:
        return next(answers, None)
    except RuntimeError as cause:
        if "DataLoader worker" not in str(cause):
            raise
        raise RunError(
            f"a loader process died ({str(cause).splitlines()[0]}); "
            f"the machine may be short of memory: use fewer workers (--set data.workers=0)"
        ) from cause


def _resident(images: Images, preparation: Preparation, device: torch.device) -> Tensor | None:
    if not isinstance(images, ArrayImages):
        return None
    side = preparation.size
    if side is None and images.pixels.shape[1] == preparation.channels and images.pixels.nbytes <= RESIDENT_BYTES:
        return images.pixels.to(device)
    area = images.pixels.shape[-2] * images.pixels.shape[-1] if side is None else side * side
    if len(images) * preparation.channels * area > RESIDENT_BYTES:
        return None
    return torch.cat([fit(chunk, preparation, images.address) for chunk in torch.split(images.pixels, 500)]).to(device)


def _note(answer: _Answer, images: Images, skipped: dict[str, str]) -> None:
    for index, reason in answer.bad:
        skipped.setdefault(images.name(index), reason)


def _sizes_differ(name: str, image: Tensor, other_name: str, other: Tensor) -> str:
    (height, width), (other_height, other_width) = image.shape[-2:], other.shape[-2:]
    return (
        f"{name}: {width} x {height} px, {other_name}: {other_width} x {other_height}; a batch wants one size, "
        f"set preparation.crop, resize and fit"
    )


def _named(names: list[str]) -> str:
    rest = f" and {len(names) - NAMED_FILES} more" if len(names) > NAMED_FILES else ""
    return ", ".join(names[:NAMED_FILES]) + rest


def _unchanged(answer: Any) -> Any:
    return answer


def _leave_interrupts_to_parent(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole group by torchrun and by schedulers
