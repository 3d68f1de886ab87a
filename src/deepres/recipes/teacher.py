"""Who teaches a run: weights of any origin, made to answer what the student is shown, for the student's classes.

The student's images, augmented as they are, are shown to the teacher too: the very batch where both normalise alike,
else the same view in [0, 1] (`Batch.pixels`), as grey or RGB as the teacher wants it, resized (bilinear, antialiased)
to the short side that it wants, then normalised by its own mean and std. What is mixed or erased is so for both.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepres.analyze.asking import require_size
from deepres.base.errors import InputError
from deepres.base.normalisation import CHOICES
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.data.batchwise import in_channels, normalised
from deepres.data.sample import Batch
from deepres.data.statistics import Statistics
from deepres.data.transforms import Preparation
from deepres.nn.checkpoints import asked_of, exists
from deepres.nn.inference import Inference, for_inference
from deepres.recipes.run import Run
from deepres.recipes.seen import run_of
from deepres.serve.predictor import Predictor
from deepres.spec.memory import answer_memory
from deepres.spec.network import Network
from deepres.train.distil import TeacherConfig, distilled
from deepres.train.losses import Loss
from deepres.train.parallel import ALONE, World
from deepres.train.precision import Precision

NAMED = 10
"""As many classes without names are listed, in the order that is assumed."""


class Known(Record):
    """What a run finds out of its teachers when it begins (`introduce.py`).

    `error` is theirs together on so many `images` of that `part`, as the student is shown them; `share` that of a
    step's time which their answers take; `notes` say what they have seen of images to be measured, `doubt` that they
    hardly know these.
    """

    error: float = 0.0
    images: int = 0
    part: Literal["held-out", "training"] = "held-out"
    share: float = 0.0
    notes: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True)
class Teacher:
    """One teacher: `columns` int64 (classes,) are the places of the student's classes among its own (None: the same).

    `alike` says that it wants images normalised as the student does, at `side` px.
    """

    weights: str
    network: Inference
    columns: Tensor | None
    preparation: Preparation
    statistics: Statistics
    side: int
    alike: bool
    said: tuple[str, ...]

    def logits(self, images: Tensor) -> Tensor:
        """Images normalised as it wants them (N, C, H, W) -> logits of the student's classes, float32 (N, classes)."""
        short = min(images.shape[-2:])
        if short != self.side:
            size = [max(1, round(length * self.side / short)) for length in images.shape[-2:]]
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        found, _ = self.network.quickly(images)
        return found if self.columns is None else found[:, self.columns]

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1] (N, C, H, W), which stay as they are -> as it wants them."""
        own = in_channels(pixels, self.preparation.channels).clone()
        return normalised(own, self.preparation, self.statistics.at_size(*own.shape[-2:]))


class Teachers(nn.Module):
    """Pixels in [0, 1] (N, C, H, W) -> log of the mean of the teachers' probabilities, (N, classes)."""

    def __init__(self, config: TeacherConfig, members: Sequence[Teacher], known: Known | None = None) -> None:
        super().__init__()
        self.config, self.members, self.known = config, tuple(members), known or Known()

    def known_as(self, known: Known) -> "Teachers":
        """The same, with what is known of them."""
        return Teachers(self.config, self.members, known)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._mean(lambda one: one.of_pixels(pixels), 1.0)

    def answers(self, batch: Batch, temperature: float) -> Tensor:
        """Mean over the teachers of softmax(logits / temperature): (N, classes) float32."""

        def shown(one: Teacher) -> Tensor:
            if one.alike:
                return batch.images
            assert batch.pixels is not None
            return one.of_pixels(batch.pixels)

        return self._mean(shown, temperature).exp()

    @property
    def want_pixels(self) -> bool:
        """Whether a batch has to hold its pixels, because a teacher normalises otherwise than the student."""
        return bool(self.config.weight) and not all(one.alike for one in self.members)

    @torch.no_grad()
    def _mean(self, shown: Callable[[Teacher], Tensor], temperature: float) -> Tensor:
        with torch.autocast(self.members[0].network.device.type, enabled=False):
            each = [F.log_softmax(one.logits(shown(one).float()) / temperature, dim=1) for one in self.members]
        return each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - torch.tensor(float(len(each))).log()

    def lines(self) -> list[str]:
        """What is said of them before a run begins."""
        who = "teacher" if len(self.members) == 1 else "teachers, whose probabilities are averaged"
        by, loss = self.shown().values()
        doubt = [self.known.doubt] if self.known.doubt else []
        return [f"{who}: {by}", f"loss: {loss}", *doubt, *self.known.notes]

    def shown(self) -> dict[str, str]:
        """Who they are, and what is learnt of them: what the report has of it."""
        known = self.known
        said = f"error {100 * known.error:.1f} % on {known.images:,} {known.part} images, as the student is shown them"
        errs = [said] if known.images else []
        each = [
            f"{one.network.network.description.name} from {'; '.join([one.weights, *one.said])}" for one in self.members
        ]
        asked = f"its answers take {100 * known.share:.0f} % of a step" if known.share else "it is not asked"
        return {"taught by": "; ".join([*each, *errs]), "loss": f"{self.config.formula} ({asked})"}

    def facts(self) -> dict[str, Any]:
        """What the summary of a run says of them."""
        names = [one.network.network.description.name for one in self.members]
        return {**self.config.model_dump(mode="json"), "models": names, **self.known.model_dump(mode="json")}


@dataclass(frozen=True)
class Found:
    """The weights of a run's teachers, read and recognised; `config` has their places and digests."""

    config: TeacherConfig
    predictors: tuple[Predictor, ...]

    def memory(self, batch_size: int, value_bytes: int) -> int:
        """Bytes that they take beside a step of `batch_size` images at once."""
        asked = self.predictors if self.config.weight else ()
        return sum(answer_memory(_as_shown(one, self.config), batch_size, value_bytes) for one in asked)

    def ready(self, run: Run, classes: tuple[str, ...], statistics: Statistics, precision: Precision) -> Teachers:
        """Ready to answer in the precision of training, norms folded, for a run whose images have these statistics."""
        pairs = zip(self.config.weights, self.predictors, strict=True)
        return Teachers(self.config, [_ready(*pair, run, classes, statistics, precision) for pair in pairs])


def find_teachers(run: Run, classes: tuple[str, ...], world: World = ALONE) -> Found | None:
    """The teachers of a run on images of these classes; None where nobody teaches. Process 0 alone reads their weights.

    Raises:
        InputError: weights that cannot be read, or do not say what they must; classes that they do not know; others
            than the run was planned with.
    """
    return None if run.teacher is None else world.by_first(lambda: _found(run, classes))


def taught(hard: Loss, teachers: Teachers | None) -> Loss:
    """The loss of a run: `hard` where nobody teaches."""
    if teachers is None:
        return hard
    return distilled(hard, teachers.answers, teachers.config.temperature, teachers.config.weight)


def placed(weights: str) -> str:
    """The same weights by a path that holds in any working folder; names stay names."""
    name, _ = asked_of(weights)
    return str(Path(name).expanduser().absolute()) + weights[len(name) :] if exists(name) else weights


def _found(run: Run, classes: tuple[str, ...]) -> Found:
    config = run.teacher
    assert config is not None
    predictors = tuple(_loaded(weights, config) for weights in config.weights)
    for weights, predictor in zip(config.weights, predictors, strict=True):
        _columns(weights, predictor, classes)
        _side(weights, predictor, run)
    digests = tuple(_digest(predictor) for predictor in predictors)
    if config.digests and len(digests) != len(config.digests):
        raise InputError(
            f"teacher.weights: {counted(len(digests), 'teacher')} where the run has {len(config.digests)}; name as many"
        )
    for weights, then, now in zip(config.weights, config.digests, digests, strict=False):
        if then != now:
            raise InputError(
                f"teacher {weights}: its weights, classes or mean and std are not those that the run was planned with "
                f"(digest {then[:12]} then, {now[:12]} now); bring those back, or start a new run"
            )
    places = tuple(placed(weights) for weights in config.weights)
    return Found(config.replace(weights=places, digests=digests), predictors)


def _loaded(weights: str, config: TeacherConfig) -> Predictor:
    if config.digests and (name := Path(asked_of(weights)[0])).is_absolute() and not exists(str(name)):
        raise InputError(
            f"teacher {weights}: no longer there; bring it back, or say where it is now: --set teacher.weights=PLACE"
        )
    alone = len(config.weights) == 1
    said: dict[str, Any] = {"variant": config.variant, "mean": config.mean, "std": config.std}
    try:
        try:
            return Predictor.load(weights, torch.device("cpu"), **said)
        except InputError:
            if alone or run_of(weights) is None:
                raise
            return Predictor.load(weights, torch.device("cpu"))  # what is said is said of the bare ones among several
    except InputError as cause:
        raise InputError(_of_teacher(cause.message), cause.table) from cause


def _of_teacher(message: str) -> str:
    """The refusal with advice that holds for a teacher, whose facts are set by `teacher.…`."""
    pair = "--set teacher.mean=R,G,B --set teacher.std=R,G,B (of ImageNet: 0.485,0.456,0.406 and 0.229,0.224,0.225)"
    message = message.replace(CHOICES, pair).replace(" (in Python variant=)", "").replace("(in Python variant=)", "")
    message = message.replace("leave --variant out", "leave teacher.variant out")
    message = message.replace("leave --preprocessing, --mean and --std out", "leave teacher.mean and teacher.std out")
    message = re.sub(r"--variant (?=\w)", "--set teacher.variant=", message)
    message = message.replace("with --model", "with --set teacher.variant=NET").replace("--variant", "teacher.variant")
    return f"teacher {message}"


def _columns(weights: str, predictor: Predictor, classes: tuple[str, ...]) -> tuple[Tensor | None, str]:
    """Where the student's classes stand among the teacher's, by name; and what was assumed or left out."""
    known = predictor.classes
    if predictor.unnamed:
        if len(known) != len(classes):
            raise InputError(
                f"teacher {weights}: {counted(len(known), 'class')} without names, the images have {len(classes)}; "
                "wanted a teacher whose classes have names, or as many"
            )
        order = ", ".join(classes[:NAMED]) + (", …" if len(classes) > NAMED else "")
        return None, f"its classes have no names, assumed in this order: {order}"
    if known == classes:
        return None, ""
    strangers = [name for name in classes if name not in known]
    if strangers:
        names = ", ".join(strangers[:5]) + (", …" if len(strangers) > 5 else "")
        own = ", ".join(known[:5]) + (", …" if len(known) > 5 else "")
        raise InputError(
            f"teacher {weights}: does not know {counted(len(strangers), 'class')} of the images ({names}; it knows "
            f"{own}); train it on them first: deepres train SOURCE --weights {weights}"
        )
    columns = torch.tensor([known.index(name) for name in classes])
    if len(known) == len(classes):
        return columns, "its classes in another order, matched by name"
    return columns, f"{len(classes)} of its {len(known):,} classes, matched by name, as if there were no others"


def _side(weights: str, predictor: Predictor, run: Run) -> int:
    """The short side at which it sees the images."""
    config = run.teacher
    assert config is not None
    network = _as_shown(predictor, config)
    try:
        require_size(network, *network.input)
    except InputError as cause:
        raise InputError(f"teacher {weights}: {cause.message}; set teacher.size") from cause
    return network.input[1]


def _as_shown(predictor: Predictor, config: TeacherConfig) -> Network:
    description = predictor.network.description
    side = config.size or predictor.preparation.size or description.input[1]
    return description.replace(input=(description.input[0], side, side))


def _ready(
    weights: str, predictor: Predictor, run: Run, classes: tuple[str, ...], statistics: Statistics, precision: Precision
) -> Teacher:
    columns, assumed = _columns(weights, predictor, classes)
    side, own = _side(weights, predictor, run), run.model.input[1]
    alike = _alike(predictor, run.preparation, statistics)
    said = [predictor.said, assumed]
    if side != own:
        said.append(f"sees the same views {'enlarged' if side > own else 'reduced'} from {own} to {side} px")
    if not alike and not predictor.said:
        said.append("with its own mean and std")
    network = for_inference(
        predictor.network,
        precision.device,
        precision="bfloat16" if precision.dtype is torch.bfloat16 else "float32",
        compiled="no",
        close_calls=False,
    )
    return Teacher(
        weights,
        network,
        None if columns is None else columns.to(precision.device),
        predictor.preparation,
        predictor.statistics.to(precision.device),
        side,
        alike,
        tuple(line for line in said if line),
    )


def _alike(predictor: Predictor, preparation: Preparation, statistics: Statistics) -> bool:
    """Whether it normalises as the student does, to the bit."""
    own, theirs = predictor.preparation, predictor.statistics
    if (own.channels, own.normalise) != (preparation.channels, preparation.normalise):
        return False
    if own.normalise == "per_channel":
        return torch.equal(theirs.mean, statistics.mean) and torch.equal(theirs.std, statistics.std)
    if own.normalise == "per_pixel":
        images = (theirs.mean_image, statistics.mean_image)
        return images[0] is not None and images[1] is not None and torch.equal(images[0], images[1])
    return True


def _digest(predictor: Predictor) -> str:
    """Of all that decides its answers."""
    found = sha256("\n".join([*predictor.classes, predictor.preparation.to_json()]).encode())
    tensors = {**predictor.network.state_dict(), **predictor.statistics.to_tensors()}
    for name in sorted(tensors):
        if not name.endswith(("num_batches_tracked", "count", "eigenvalues", "eigenvectors")):
            tensor = tensors[name].detach().cpu().contiguous()
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
