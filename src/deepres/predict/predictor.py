"""A run folder, or weights by name -> answers: image files in, class names with probabilities out."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from deepres.analyze import attribution
from deepres.analyze.guards import require_size
from deepres.arch.architecture import Architecture
from deepres.arch.detector import Detector
from deepres.base.arguments import path_text, whole
from deepres.base.errors import InputError, RunError
from deepres.base.files import path_of
from deepres.data.decode import BadImageError
from deepres.data.forms import MOVING
from deepres.data.images import Batch
from deepres.data.loading.loader import prepare_one
from deepres.data.loading.workers import num_cores
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.binary import two_logits
from deepres.nn.create import create_model
from deepres.nn.hardware import find_device
from deepres.nn.inference import Compiled, InferencePrecision
from deepres.nn.weights.folds import fold_folders
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.backends import Backend, Heard
from deepres.predict.exported.answerer import read_exported
from deepres.predict.exported.names import is_exported, require_alone, require_cpu
from deepres.predict.pictures import Picture, of_file
from deepres.predict.preprocessing import prepared_for
from deepres.predict.ready import made_ready
from deepres.tasks.kinds import DEFAULT_TASK, AnyTask
from deepres.tasks.networks import asked_of
from deepres.tasks.task import Answer, FirstValues

BATCH = 16
"""How many images an optimized predictor answers together: beyond it a CPU gains nothing."""


@dataclass(frozen=True)
class Predictor:
    """A network with its class names (`unnamed`: numbers only) and what it wants done to an image.

    `said` has what of that decides the answers and is not the run's own (`preprocessing.Prepared`). Probabilities are
    softmax(logits / T) at the run's own temperature, where it found one; `task` says so, and what else outputs mean.

    >>> import deepres
    >>> predictor = deepres.Predictor.load("runs/digits-1", "cpu")
    >>> answer = predictor("runs/digits-1/samples/0.png")
    >>> answer.guesses[0].name
    '0'
    >>> len(answer.guesses)
    5
    """

    network: Any  # what the task asks: a ResidualNetwork, as a rule
    classes: tuple[str, ...]
    preparation: Preparation
    statistics: Statistics
    device: torch.device
    unnamed: bool = False
    ready: Any = None  # an Inference, or a FastDetector, once it is made fast
    said: str = ""
    task: AnyTask = DEFAULT_TASK
    others: tuple["Predictor", ...] = ()
    any_size: bool = False  # pictures go in as they are, each of its own size

    @property
    def members(self) -> tuple["Predictor", ...]:
        """The networks whose probabilities are averaged: this one, and `others`, each with its own statistics."""
        return (replace(self, others=()), *self.others)

    @classmethod
    def load_folds(cls, folder: Path | str, device: torch.device | str | None = None) -> "Predictor":
        """The networks of all folds of a run as one: the mean of their probabilities, each at temperature 1.

        Raises:
            InputError: a fold is not trained yet, or broken.
        """
        first, *others = (cls.load(each, device, settled=False) for each in fold_folders(folder))
        for one in others:
            if one.classes != first.classes or one.preparation != first.preparation:
                raise InputError(f"{folder}: its folds know other classes, or want other images; train it anew")
        return replace(first, others=tuple(others))

    @classmethod
    def load(
        cls,
        weights: WeightsSpec | PathLike[str] | str,
        device: torch.device | str | None = None,
        *,
        settled: bool = True,
    ) -> "Predictor":
        """Of a run folder, which needs nothing else, of weights made elsewhere by path or name, of an exported file.

        What bare weights do not say themselves, a `WeightsSpec` says of them. Classes without names are called
        `class 0`, …. One logit is of two classes, its sigmoid the probability of the second: of those that the weights
        name; `not X` and `X`, where they name X alone; `0` and `1`, where none. Not `settled`: at temperature 1 and the
        like, whatever the run found on held-out images.

        Raises:
            InputError: a file is missing or broken, the network or what images were normalised with unknown, weights of
                another variant.
        """
        spec = WeightsSpec.of(weights)
        if is_exported(spec.name):
            return cls._of_file(spec, device, settled=settled)
        device = device if isinstance(device, torch.device) else find_device(device)
        stored, model, variant = find_weights(spec.name, spec.model), spec.model, spec.variant
        task, stored = asked_of(stored)
        model = variant if stored.description is None and model is None else model
        if model is None and stored.description is None:
            told = f"see deepres weights inspect {stored.where}, then name it with --model"
            raise InputError(f"{stored.where}: does not say which network it is of; {told}")
        network: Any
        known = stored.description
        if isinstance(known, Detector) or (known is not None and known.says_places):
            network = task.network(known, (), FirstValues(stored, variant))[0]
        else:
            network = create_model(model or known or "", weights=stored, variant=variant)
        network.eval()
        preparation, statistics, said = prepared_for(stored, network.description, spec.mean, spec.std)
        classes = stored.classes or tuple(f"class {number}" for number in range(network.num_classes))
        if network.num_classes == 0:
            raise InputError(
                f"{stored.where}: no classifier in it, so no answers; train one: deepres train … --weights"
            )
        if network.num_classes == 1 and task.form == "class":
            classes = _two_classes(stored)
            network = two_logits(network)
            said = "; ".join(
                [*([said] if said else []), f"one logit: its sigmoid is the probability of {classes[1]!r}"]
            )
        if network.num_classes != len(classes):
            raise InputError(
                f"{stored.where}: {network.num_classes} logits for {len(classes)} class names; train it again"
            )
        return cls(
            network.to(device),
            classes,
            preparation,
            statistics,
            device,
            unnamed=not stored.classes,
            said=said,
            task=task if settled else task.unsettled(),
        )

    @classmethod
    def _of_file(cls, spec: WeightsSpec, device: torch.device | str | None, *, settled: bool) -> "Predictor":
        """Of what `deepres export` wrote, which answers on the CPU as it was written."""
        said = {"model": spec.model, "variant": spec.variant, "mean": spec.mean, "std": spec.std}
        require_alone(spec.name, said)
        require_cpu(spec.name, device)
        network = read_exported(Path(spec.name))
        bundle = network.bundle
        return cls(
            network,
            bundle.names,
            network.preparation,
            network.statistics,
            torch.device("cpu"),
            unnamed=bundle.unnamed,
            ready=network,
            task=network.task if settled else network.task.unsettled(),
            any_size=bundle.any_size,
        )

    def optimized(
        self,
        images: int,
        *,
        precision: InferencePrecision = "auto",
        compiled: Compiled = "auto",
        backend: Backend = "torch",
        say: Heard = str,
    ) -> "Predictor":
        """The same predictor made ready for so many `images`, which are answered faster and rounded differently.

        In bfloat16 a probability may move by some hundredths, close calls are answered again in float32
        (`nn/inference.py`); with `precision` "float32" nothing but the last digits moves. "auto" times a plain answer
        to say whether compiling pays. A task may have a way of its own (`Task.made_fast`). `backend` is what computes:
        torch, another runtime on the CPU, or with "auto" the fastest here (backends.py); `say` is told why.

        Raises:
            InputError: a back end that is not installed, does not compute there, or answers otherwise.
        """
        if not isinstance(self.network.description, Architecture | Detector):
            return self  # a file that answers as it is
        how: dict[str, Any] = {"precision": precision, "compiled": compiled}
        ready, by = made_ready(self, images, backend=backend, say=say, **how)
        return replace(self, ready=ready, others=tuple(one.optimized(images, backend=by, **how) for one in self.others))

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W) of a prepared image, where all have one."""
        channels, height, width = self.network.description.input
        side = self.preparation.size
        return (channels, height, width) if side is None else (channels, side, side)

    def prepare(self, image: Tensor) -> Tensor:
        """A uint8 image (C, H, W) as the network wants it, float32."""
        return prepare_one(image, self.preparation, self.statistics)

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """`Task.activated`, as a rule softmax(logits / T): prepared images (N, C, H, W) -> (N, outputs).

        Raises:
            RunError: a logit is not finite.
        """
        logits: Tensor = self.network(images.to(self.device)) if self.ready is None else self.ready(images)
        answers: Tensor = self.task.activated(logits).cpu()
        if not bool(answers.isfinite().all()):
            raise RunError(
                f"{self.network.description.name}: answers that are not finite; the weights are broken, or images were "
                "normalised otherwise than they were trained on"
            )
        return answers

    def maps(
        self,
        images: Tensor,
        targets: Tensor,
        layer: str | None = None,
        weighing: attribution.Weighing | None = None,
    ) -> Tensor:
        """Where prepared images (N, C, H, W) speak for their class, `targets` int64 (N, 1): (N, H, W), not rectified.

        Class activation maps, where the head has none Grad-CAM; with `layer` or `weighing`, Grad-CAM or its kin of that
        part.
        """
        size = (images.shape[-2], images.shape[-1])
        if layer is None:
            return attribution.attribution_maps(self.network, images, targets, weighing)[:, 0]
        found = attribution.grad_cam(self.network, images, targets, layer=layer, weighing=weighing or "grad-cam")
        return attribution.upsampled(found, size)[:, 0]

    def heat(self, pixels: Tensor, label: str | None = None) -> tuple[str, float, Tensor]:
        """The class of highest probability, or `label` (a name or number), its probability, and its map (h, w).

        `pixels` are a picture's, uint8 (C, H, W).

        Raises:
            InputError: no such class; the nearest are offered.
        """
        images = self.prepare(pixels)[None].to(self.device)
        targets = attribution.top_classes(self.network, images)
        if label is not None:
            number = attribution.class_number(label, self.network.num_classes, self.classes)
            targets = torch.full_like(targets, number)
        number = int(targets[0, 0])
        return self.classes[number], float(self.probabilities(images)[0, number]), self.maps(images, targets)[0]

    def shown(self, picture: Picture | Path | str, label: str | None = None) -> tuple[str, Image]:
        """The class of `heat`, and its map beside the picture (maps.py).

        Raises:
            InputError: no such class; the nearest are offered. BadImageError is one.
        """
        from deepres.predict.maps import beside  # loads what draws, and plain answers are not drawn

        picture = _picture(picture)
        image = picture.pixels(self.preparation.channels, self.preparation.levels)
        name, chance, heat = self.heat(image, label)
        return name, beside(image, heat, self.preparation, f"{picture.name}: {name} {100 * chance:.1f} %")

    def __call__(self, picture: Path | str, top_k: int = 5) -> Answer:
        """The answer to one picture, by its path; `problem` says why there is none."""
        return next(self.answers([path_of(str(picture))], whole(top_k, "top_k", 1)))

    def answers(self, pictures: Iterable[Path | str | Picture], top_k: int = 5) -> Iterator[Answer]:
        """One answer for each picture, in order, as it is ready; of an unreadable one the answer is the problem.

        An optimized predictor reads and answers `BATCH` images together, any other one by one.
        """
        size = 1 if self.ready is None else BATCH
        with ThreadPoolExecutor(min(size, num_cores())) as readers:
            asked = map(_picture, [pictures] if isinstance(pictures, str | Path) else pictures)
            while part := list(islice(asked, size)):
                read = list(readers.map(self.read, part))
                rows = self.ask(read)
                for number, (picture, image) in enumerate(zip(part, read, strict=True)):
                    if isinstance(image, str):
                        yield self.task.unread(picture.name, image)
                    else:
                        yield self.task.decode(rows[number], self.classes, picture.name, top_k)

    def read(self, picture: Picture) -> Tensor | Batch | str:
        """What `ask` is given of a picture, by any thread; or why there is nothing to ask.

        The image as each of the members wants it (M, C, H, W); of pictures that keep their shape a batch of one.
        """
        try:
            pixels = picture.pixels(self.preparation.channels, self.preparation.levels)
            if self.task.form in MOVING:  # where the picture lies, the answer has to know
                return self.task.asked(pixels, self.preparation, self.statistics.to(self.device))
            image = torch.stack([member.prepare(pixels) for member in self.members])
            if isinstance(self.network.description, Architecture):
                require_size(self.network.description, *image.shape[1:])
        except BadImageError as cause:
            return str(cause)
        except InputError as cause:
            return f"{picture.name}: {cause.message}"
        return image

    @torch.inference_mode()
    def ask(self, read: Sequence[Tensor | Batch | str]) -> dict[int, Any]:
        """What `Task.decode` is given of each that was `read`, by its number; images of one size are asked together."""
        alike: dict[torch.Size, dict[int, Tensor]] = {}
        found: dict[int, Any] = {}
        for number, one in enumerate(read):
            if isinstance(one, Batch):
                found[number] = self.task.one(self.task.outputs(self.ready or self.network, one), 0)
            elif isinstance(one, Tensor):
                alike.setdefault(one.shape, {})[number] = one
        for images in alike.values():
            of_members = zip(self.members, torch.stack([*images.values()]).unbind(1), strict=True)
            answers = torch.stack([member.probabilities(own) for member, own in of_members])
            found.update(zip(images, answers.mean(0), strict=True))
        return found


def _picture(given: object) -> Picture:
    if isinstance(given, Picture):
        return given
    return of_file(path_of(path_text(given, "pictures", "paths of image files")))


def _two_classes(stored: Checkpoint) -> tuple[str, ...]:
    """The names that go with one logit: the one that it speaks for comes last."""
    named = stored.classes
    return (f"not {named[0]}", named[0]) if len(named) == 1 else named or ("0", "1")
