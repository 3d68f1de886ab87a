"""Images -> batches: small sets lie on the device as uint8, files are decoded by worker processes.

What a batch holds depends on the seed and its step only, never on the workers or on the batches before it: a run that
resumes at step t draws what the uninterrupted one would have drawn.
"""

from collections.abc import Generator
from contextlib import closing
from functools import partial
from time import perf_counter
from typing import cast

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.seeds import derive
from deepres.base.wording import counted, some
from deepres.data.images import Batch, Images
from deepres.data.loading.balance import EvenDraws
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.fetch import (
    Fetched,
    ReadTasks,
    fetched,
    note,
    on_canvases,
    on_one_canvas,
)
from deepres.data.loading.reader import Reader
from deepres.data.loading.sampler import batch_at, repeated
from deepres.data.loading.workers import Load, load_of
from deepres.data.on_device import held_by, on_device
from deepres.data.targets import Located, Targets, form_of, tensor_of
from deepres.data.transforms.config import Augmentation, Preparation, check_together
from deepres.data.transforms.geometry import Geometry, Moves, evaluated
from deepres.data.transforms.mixing import mix
from deepres.data.transforms.per_batch import BatchStage, PixelStage, normalise
from deepres.data.transforms.per_image import SampleStage, fit
from deepres.data.transforms.sides import OwnSizes, only_inside
from deepres.data.transforms.statistics import Statistics
from deepres.data.transforms.views import Views

RESIDENT_BYTES = 2**31  # sets of at most this size, as fitted to the network, are kept on the device


class TrainLoader:
    """Training batches by step number, from a set in memory or on disk.

    Images in memory that need nothing done one by one lie on the device, fitted once, and no worker is started; others
    pass through the workers, which decode and crop. Bad images that are left out are noted in `skipped`.

    Each of several processes gets its contiguous share of each batch, bitwise as it would be within it.

    Raises:
        InputError: no images, or an augmentation and a preparation that do not go together.
    """

    def __init__(
        self,
        images: Images,
        augmentation: Augmentation,
        preparation: Preparation,
        statistics: Statistics,
        config: TrainLoaderConfig,
    ) -> None:
        check_together(augmentation, preparation)
        if not len(images):
            raise InputError("training set: holds no images, wanted at least one")
        self.skipped: dict[str, str] = {}  # path -> reason
        self.waited_seconds = 0.0  # spent on making batches while the caller waited for them
        self._images = images
        self._augmentation, self._preparation, self._config = augmentation, preparation, config
        self._batch_size, self._seed = config.batch_size, config.seed
        share = config.batch_size // config.world_size
        self._own = torch.arange(config.rank * share, (config.rank + 1) * share)  # places within the batch
        # the first image is mixed with the one before it
        if (augmentation.mixup or augmentation.cutmix) and config.world_size > 1:
            self._own = torch.cat([(self._own[:1] - 1) % config.batch_size, self._own])
        self._alone = len(self._own) == share
        self._device = torch.device(config.device)
        self._num_classes = len(images.classes) if config.num_classes is None else config.num_classes
        targets = images.targets
        self._labels_on = held_by(self._device, targets) if isinstance(targets, Tensor) else self._device
        self._labels = targets.to(self._labels_on)
        self._moves = form_of(images.targets).moves
        self._even = EvenDraws(tensor_of(images.targets), self._num_classes) if config.even else None
        how = (augmentation, preparation, statistics.to(self._device))
        self._batch_stage = BatchStage(*how, seed=config.seed, batch_size=config.batch_size)
        self._pixel_stage = (
            PixelStage(*how, seed=config.seed, batch_size=config.batch_size) if config.with_pixels else None
        )
        one_by_one = augmentation.is_per_sample or preparation.fit == "sides"
        self._resident = None if one_by_one else _resident(images, preparation, self._device)
        stage = SampleStage(augmentation, preparation, config.seed, config.decode)
        canvases = partial(on_one_canvas, multiple=preparation.edge) if preparation.fit == "sides" else None
        self._read = Reader(images, stage, config.on_bad_image, canvases=canvases)

    @property
    def resident(self) -> bool:
        """Whether the images lie on the device, so that no worker is needed."""
        return self._resident is not None

    def load(self) -> Load:
        """What one process takes to read, decode and augment an image: a short measurement, which changes nothing."""
        indices, places = self._draw(0)
        pairs = list(zip(indices.tolist(), places.tolist(), strict=True))

        def read(call: int) -> int:
            index, place = pairs[call]
            return sum(group.pixels.nbytes for group in self._read[[index], [place]].groups)

        return load_of(read, len(pairs))

    def drawn(self, step: int) -> Tensor:
        """Which images step `step` draws, int64 (batch_size,), those of other processes among them."""
        return self._draw(step)[0]

    def batches(self, start: int, stop: int) -> Generator[Batch, None, None]:
        """The batches of steps `start` … `stop` - 1 of the run; each call with workers starts them anew."""
        asked = perf_counter()
        pixels = self._from_memory(start, stop) if self._resident is not None else self._from_workers(start, stop)
        with closing(pixels):
            for step, (images, kept, sizes) in enumerate(pixels, start):
                batch = self._finished(*self._preceded(images, kept, step), sizes, step)
                self.waited_seconds += perf_counter() - asked
                yield batch
                asked = perf_counter()

    def geometry(self, step: int, kept: Tensor | None = None) -> Geometry:
        """Where the points of the images of step `step` go (geometry.py): of this process' own, or those at `kept`.

        `kept` int64 (N,) are places within the whole batch. Mixing moves no point; its shares are in the targets.

        Raises:
            InputError: an augmentation that does not tell its maps.
        """
        kept = self._own[-self._batch_size :] if kept is None else kept
        indices, places = (drawn[kept].tolist() for drawn in self._draw(step))
        headers = [self._images.header(index) for index in indices]
        sizes = [(header.width, header.height) for header in headers]
        decode = self._config.decode if self._images.pixels is None else "full"
        moves = Moves(self._augmentation, self._preparation, self._seed, decode, self._batch_stage)
        return moves.of(step, kept, places, sizes)

    def _finished(self, pixels: Tensor, kept: Tensor, sizes: Tensor | None, step: int) -> Batch:
        indices, places = (drawn[kept] for drawn in self._draw(step))  # `kept` are places within the whole batch
        images, labels = self._mixed(self._batch_stage(pixels, step, kept, sizes), indices, step)
        if self._moves:
            seeds = [derive(self._seed, "within an image", place) for place in places.tolist()]
            labels = cast("Located", labels).placed(self.geometry(step, kept), torch.tensor(seeds))
        stage = self._pixel_stage
        plain = None if stage is None else self._mixed(stage(pixels, step, kept, sizes), indices, step)[0]
        own = None if sizes is None else OwnSizes(sizes, self._preparation.edge)
        batch = Batch(images, labels, indices, plain, own)
        return batch if self._alone else batch.at(slice(1, None))

    def _mixed(self, images: Tensor, indices: Tensor, step: int) -> tuple[Tensor, Targets]:
        labels, alphas = self._labels[on_device(indices, self._labels_on)], self._augmentation
        if not (alphas.mixup or alphas.cutmix):
            return images, labels
        if self._moves:
            raise InputError("augmentation.mixup and cutmix: targets that lie in the picture are not mixed; set 0")
        shares = {"mixup": alphas.mixup, "cutmix": alphas.cutmix}
        return mix(images, tensor_of(labels), self._num_classes, **shares, seed=self._seed, step=step)

    def _preceded(self, pixels: Tensor, kept: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """With the nearest readable image before this process' share, where that is wanted and could not be read."""
        if self._alone or kept[0] == self._own[0]:
            return pixels, kept
        indices, places = self._draw(step)
        for back in range(2, self._batch_size + 1):
            place = (self._own[1] - back) % self._batch_size
            groups = self._read[[int(indices[place])], [int(places[place])]].groups
            if groups:
                return torch.cat([groups[0].pixels.to(self._device), pixels]), torch.cat([place[None], kept])
        raise AssertionError("the share's own images can be read")

    def _draw(self, step: int) -> tuple[Tensor, Tensor]:
        times = self._config.repeats
        distinct = self._batch_size // times
        if self._even is not None:
            draw = self._even.batch_at(step, distinct, self._seed)
        else:
            draw = batch_at(step, distinct, len(self._images), self._seed)
        return repeated(draw, step, times) if times > 1 else draw

    def _draw_own(self, step: int) -> tuple[Tensor, Tensor]:
        indices, places = self._draw(step)
        return indices[self._own], places[self._own]

    def _from_memory(self, start: int, stop: int) -> "_Pixels":
        assert self._resident is not None
        for step in range(start, stop):
            indices, _ = self._draw(step)
            yield self._resident[on_device(indices[self._own], self._device)], self._own, None

    def _fetched(self, tasks: ReadTasks) -> Generator[Fetched, None, None]:
        return fetched(
            self._read, self._images, tasks, self._config.workers, self._device, self._config.prefetch_factor
        )

    def _from_workers(self, start: int, stop: int) -> "_Pixels":
        tasks = ReadTasks(lambda: (self._draw_own(step) for step in range(start, stop)))
        with closing(self._fetched(tasks)) as answers:
            for step, (task, answer) in enumerate(zip(tasks, answers, strict=True), start):
                note(answer, self._images, self.skipped)
                kept = self._own[[place for group in answer.groups for place in group.kept]]
                if not len(kept) or (not self._alone and len(kept) == 1 and kept[0] == self._own[0]):
                    which = some([self._images.name(index) for index in task[0]])
                    raise InputError(f"step {step}: no image of its batch can be read ({which}); mend or remove them")
                group = answer.groups[0]
                yield group.pixels.to(self._device, non_blocking=True), kept, group.sizes


def evaluation_batches(
    images: Images,
    preparation: Preparation,
    statistics: Statistics,
    config: LoaderConfig,
    *,
    skipped: dict[str, str] | None = None,
    showing: Views | None = None,
) -> Generator[Batch, None, None]:
    """Every image once, in the set's order; the last batch is short. Each process gets every world_size-th of them.

    With `showing` the batches of a task follow one another: the first pictures of its images, then the second, …, each
    in batches of one size. A mean image is then resized to the pictures that have another size (ours: the papers do
    not say what is subtracted at other scales).
    Under "skip" images that cannot be read are left out and noted in `skipped` (path -> reason).

    Raises:
        BadImageError: an image cannot be read, under "stop".
        InputError: none can be read, under "skip", by a process that reads them all.
    """
    device = torch.device(config.device)
    statistics = statistics.to(device)
    size = config.batch_size if showing is None else showing.at_once(config.batch_size)
    numbers = torch.split(torch.arange(len(images)), size)[config.rank :: config.world_size]
    moves = form_of(images.targets).moves

    def fit_one(pixels: Tensor, preparation: Preparation, name: str) -> tuple[Tensor, ...]:
        return (fit(pixels, preparation, name),)

    def batch(pixels: Tensor, indices: Tensor, sizes: Tensor | None = None) -> Batch:
        known = statistics if showing is None else statistics.at_size(*pixels.shape[-2:])
        x, targets = normalise(pixels.to(device, non_blocking=True), preparation, known), images.targets[indices]
        if moves:
            headers = [images.header(index) for index in indices.tolist()]
            geometry = evaluated(preparation, [(header.width, header.height) for header in headers])
            targets = cast("Located", targets).placed(geometry, torch.zeros(len(indices), dtype=torch.int64))
        there = held_by(device, targets) if isinstance(targets, Tensor) else device
        return Batch(x if sizes is None else only_inside(x, sizes), targets.to(there), indices)

    if images.pixels is not None and preparation.fit != "sides":
        for indices in numbers:
            pixels, name = images.pixels[indices], images.address
            shown = (
                (fit(pixels, preparation, name),) if showing is None else showing.pictures(pixels, preparation, name)
            )
            yield from (batch(picture, indices) for picture in shown)
        return
    tasks = ReadTasks(lambda: ((indices, indices) for indices in numbers))
    canvases = partial(on_canvases, multiple=preparation.edge) if preparation.fit == "sides" else None
    stage = SampleStage(Augmentation(), preparation, seed=0)
    read = Reader(images, stage, config.on_bad_image, showing, preparation, canvases)
    num_read = 0
    workers = config.workers if len(numbers) > 1 else 0  # one batch cannot be read while another is answered
    with closing(fetched(read, images, tasks, workers, device)) as answers:
        for task, answer in zip(tasks, answers, strict=True):
            note(answer, images, {} if skipped is None else skipped)
            for group in answer.groups:
                num_read += len(group.kept)
                yield batch(group.pixels, torch.tensor(task[0])[group.kept], group.sizes)
    if len(images) and not num_read and config.world_size == 1:
        which = some([images.name(index) for index in range(len(images))])
        raise InputError(f"none of {counted(len(images), 'image')} can be read ({which}); mend or replace them")


def prepare_one(image: Tensor, preparation: Preparation, statistics: Statistics) -> Tensor:
    """One uint8 image (C, H, W) as the network wants it, float32; to the bit what `evaluation_batches` yields."""
    return normalise(fit(image, preparation), preparation, statistics)


_Pixels = Generator[tuple[Tensor, Tensor, Tensor | None], None, None]
"""uint8 images, their places within the batch as planned, their own sizes where these are not that of the canvas."""


def _resident(images: Images, preparation: Preparation, device: torch.device) -> Tensor | None:
    pixels, side = images.pixels, preparation.size
    if pixels is None:
        return None
    if side is None and pixels.shape[1] == preparation.channels and pixels.nbytes <= RESIDENT_BYTES:
        return pixels.to(device)
    area = pixels.shape[-2] * pixels.shape[-1] if side is None else side * side
    if len(images) * preparation.channels * area > RESIDENT_BYTES:
        return None
    return torch.cat([fit(chunk, preparation, images.address) for chunk in torch.split(pixels, 500)]).to(device)
