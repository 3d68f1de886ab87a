"""What is made slimmer: a trained network, the images that decide about it, and the run that a slim one becomes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from deepres.arch.spare import spare_units, why_none
from deepres.base.errors import InputError
from deepres.base.files import digest
from deepres.base.manifest import holds_run
from deepres.base.wording import counted
from deepres.data.images import Batch, Images
from deepres.data.loading.config import LoaderConfig, OnBadImage
from deepres.data.loading.loader import evaluation_batches
from deepres.data.rng import generator
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source
from deepres.nn.build import ResidualNetwork
from deepres.nn.weights.files import WEIGHTS
from deepres.nn.weights.folds import holds_folds
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.exported.names import require_network
from deepres.predict.predictor import Predictor
from deepres.recipes.plan import Words
from deepres.recipes.run import Run, load_run
from deepres.runs.measured_on import READ_AS_THE_RUN
from deepres.runs.plan import plan_run
from deepres.runs.resuming import require_same_images
from deepres.runs.seen import overlap, own_now
from deepres.runs.teacher import placed
from deepres.runs.together import batch_size, largest_side
from deepres.train.config import TeacherConfig
from deepres.train.schedules import ScheduleConfig

LOOKED_AT = 256
"""Training images by which units are ranked, and int8 is calibrated."""
SMALL = 40
"""Up to so many px an image is small: networks for them learn at a higher rate, and for longer (`recipes/finetune`)."""
EPOCHS = {"small": 5, "large": 3}
RATES = {"small": 0.002, "large": 0.0005}
"""Ours, the tenth of what `recipes/finetune.py` has: what is left of a network is nearly right, and the teacher's
answers weigh T² (`train/distil.py`). At 0.02 a ResNet-44 without 2 units went from 10.0 to 34 % of the test images of
CIFAR-10 in 60 steps of 32; at 0.002 one without 4 from 7.2 to 1.6 % of its held-out images in 50 steps of 64. The rate
of large images was not measured."""
FEWEST = 64
"""Images of a step, at least, where images are small: norm statistics of fewer sway."""
RECIPE = "slim"


@dataclass(frozen=True)
class Subject:
    """A network, its weights by `place` and digest, and `run`: how those that come of it are fine-tuned, on `source`.

    Of `source` the held-out images `val` decide, and training images teach and are looked at.
    """

    place: str
    sha256: str
    predictor: Predictor
    run: Run
    source: Source
    val: Images

    @property
    def network(self) -> ResidualNetwork:
        """The intact network."""
        network: ResidualNetwork = self.predictor.network
        return network

    @property
    def looked_at(self) -> "LookedAt":
        """`LOOKED_AT` training images, drawn by the run's seed, as the network wants them."""
        order = torch.randperm(len(self.source.train), generator=generator(self.run.seed, "slim")).tolist()
        images = self.source.train.select(sorted(order[:LOOKED_AT]))
        side = largest_side(images, self.predictor.preparation, None)
        return LookedAt(self.predictor, images, batch_size(side, self.predictor.device), self.run.data.on_bad_image)

    @property
    def can_be_taught(self) -> bool:
        """Whether the intact network can teach; else labels alone do."""
        return "--teacher" in self.run.task.tools

    def require_spare(self) -> None:
        """Refuse a network of which no unit can be left out.

        Raises:
            InputError: it is one; the line says why.
        """
        description = self.network.description
        if not spare_units(description):
            raise InputError(
                f"{self.place}: {description.name} {why_none(description)}; no unit can be left out of it: wanted a "
                "residual network whose units keep the shape, or --int8 alone"
            )

    def candidate(self, dropped: tuple[str, ...], epochs: int) -> Run:
        """The run of the network without these units, fine-tuned for so many epochs with the intact one as its teacher.

        One cosine from a low rate (`RATES`). Of 0 epochs no teacher is asked.
        """
        run, model = self.run, self.run.model
        if dropped:
            model = model.replace(without=(*getattr(model, "without", ()), *dropped))
        small = _is_small(self)
        train = run.train.replace(
            epochs=max(1, epochs),
            iterations=None,
            batch_size=max(run.train.batch_size, FEWEST) if small else run.train.batch_size,
            accumulate=1 if small else run.train.accumulate,
            schedule=ScheduleConfig(kind="cosine", lr=RATES["small" if small else "large"]),
            fit_head=False,
            head_pace=None,
            head_only_fraction=0.0,
            frozen=(),
            layer_decay=1.0,
            ema_decay=None,
            patience=None,
            precise_bn_batches=0,
        )
        teacher = TeacherConfig(weights=(self.place,)) if epochs and dropped and self.can_be_taught else None
        return run.replace(recipe=RECIPE, model=model, train=train, teacher=teacher)


@dataclass(frozen=True)
class LookedAt:
    """Batches of images that can be gone through more than once, and counted."""

    predictor: Predictor
    images: Images
    size: int
    on_bad_image: OnBadImage

    def __len__(self) -> int:
        return -(-len(self.images) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        return evaluation_batches(
            self.images,
            self.predictor.preparation,
            self.predictor.statistics,
            LoaderConfig(batch_size=self.size, device=self.predictor.device, on_bad_image=self.on_bad_image),
            skipped={},
        )


def subject_of(weights: Path | str, data: DataConfig | None, device: torch.device) -> Subject:
    """The network of a run's folder, or of one that holds weights with all that is known of them.

    Without `data` the images are the run's own.

    Raises:
        InputError: folds, a detector, weights that do not say what they must; no held-out images, images of other
            classes, or such as the run was trained on.
    """
    name = str(weights)
    if holds_folds(name):
        raise InputError(f"{name}: holds the folds of a run, and one network is made slim; name one, {name}/fold-1")
    folder = Path(name)
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise InputError(
            f"{name}: {what}; wanted the folder of a run, or one of weights with their network, classes and "
            "preprocessing (deepres weights convert makes one of a file)"
        )
    require_network(name)
    predictor = Predictor.load(WeightsSpec(name), device)
    if not isinstance(predictor.network, ResidualNetwork) or predictor.task.form == "boxes":
        what = "finds boxes" if predictor.task.form == "boxes" else "answers with one logit for two classes"
        raise InputError(f"{name}: {what}; slim knows networks with an output for each class or number")
    own = load_run(folder) if holds_run(folder) else None
    place = placed(name)
    if own is not None and data is None:
        run = own.replace(data=own_now(folder, own))
        source = open_source(run.data)
        require_same_images(source, folder)
        run = run.replace(weights=place, variant=None, weights_mean=None, weights_std=None, new_head=False)
    else:
        run, source = _elsewhere(name, place, own, data, predictor)
    if source.val is None:
        raise InputError(
            f"{run.data.source}: no held-out images, by which slim decides (test images are read once, at the end); "
            "name images with a val split, or that can be cut: --source SOURCE"
        )
    return Subject(place, digest(folder / WEIGHTS), predictor, run, source, source.val)


def _elsewhere(
    name: str, place: str, own: Run | None, data: DataConfig | None, predictor: Predictor
) -> tuple[Run, Source]:
    """A run on other images than the network's own."""
    if data is None:
        raise InputError(f"{name}: weights without images of their own; name some: --source SOURCE")
    if predictor.task.form == "numbers":
        raise InputError(
            f"{name}: its numbers are standardised by those that it was trained on; slim works on a run's own images "
            "there, leave --source out"
        )
    read_as = {} if own is None else {field: getattr(own.data, field) for field in READ_AS_THE_RUN}
    said = [f"data.{field}={value}" for field, value in read_as.items() if value is not None and field != "levels"]
    planned = plan_run(data.source, Words(edits=tuple(said), task=predictor.task.kind), WeightsSpec(place))
    run, source = planned.run, planned.source
    if source.classes != predictor.classes and not predictor.unnamed:
        differ = sorted(set(source.classes) ^ set(predictor.classes))
        told = ", ".join(differ[:5]) or "the same in another order"
        raise InputError(
            f"{data.source}: {counted(len(source.classes), 'class')}, the network knows "
            f"{counted(len(predictor.classes), 'class')} ({told}); wanted the same in the same order"
        )
    if len(source.classes) != len(predictor.classes):
        raise InputError(
            f"{data.source}: {counted(len(source.classes), 'class')}, the network answers with {len(predictor.classes)}"
        )
    if own is not None and source.val is not None:
        found = overlap(Path(name), own, source.val)
        if found.trained or found.before or found.taught:
            raise InputError(
                f"{data.source}: of its held-out images {found}, so what is lost would come out too high; leave "
                "--source out, or name images that the run has not seen"
            )
    return run.replace(new_head=False), source


def default_epochs(subject: Subject) -> int:
    """As many epochs of fine-tuning as are taken where nothing is said; ours."""
    return EPOCHS["small" if _is_small(subject) else "large"]


def _is_small(subject: Subject) -> bool:
    return max(subject.run.model.input[1:]) <= SMALL
