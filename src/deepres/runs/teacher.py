"""Who teaches a run: weights of any origin, read, recognised, and made ready for the student's classes and views."""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from deepres.analyze.guards import require_size
from deepres.arch.architecture import Architecture
from deepres.arch.readings.cost import cost
from deepres.arch.readings.memory import answer_memory
from deepres.base.errors import InputError
from deepres.base.files import path_of
from deepres.base.normalisation import CHOICES
from deepres.base.wording import counted
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.inference import for_inference
from deepres.nn.weights.checkpoints import asked_of, exists
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.exported.names import require_network
from deepres.predict.predictor import Predictor
from deepres.recipes.run import Run
from deepres.runs.seen import run_of
from deepres.runs.teaching import Teacher, Teachers
from deepres.tasks.task import require
from deepres.train.config import TeacherConfig
from deepres.train.distributed import SINGLE_PROCESS, Distributed
from deepres.train.precision import Precision

_IMAGENET = "ImageNet: 0.485,0.456,0.406 and 0.229,0.224,0.225"

NAMED = 10
"""As many classes without names are listed, in the order that is assumed."""


@dataclass(frozen=True)
class FoundTeachers:
    """The weights of a run's teachers, read and recognised; `config` has their places and digests."""

    config: TeacherConfig
    predictors: tuple[Predictor, ...]

    @property
    def macs(self) -> int:
        """Multiply-adds of their answers to one image."""
        return sum(cost(_as_shown(one, self.config)).macs for one in self.predictors) if self.config.weight else 0

    def memory(self, batch_size: int, value_bytes: int) -> int:
        """Bytes that they take beside a step of `batch_size` images at once, the weights as they were read included."""
        networks = [_as_shown(one, self.config) for one in self.predictors if self.config.weight]
        read = sum(4 * cost(architecture).parameters for architecture in networks)
        return read + sum(answer_memory(architecture, batch_size, value_bytes) for architecture in networks)

    def ready(self, run: Run, classes: tuple[str, ...], statistics: Statistics, precision: Precision) -> Teachers:
        """Ready to answer in the precision of training, norms folded, for a run whose images have these statistics."""
        pairs = zip(self.config.weights, self.predictors, strict=True)
        return Teachers(self.config, [_ready(*pair, run, classes, statistics, precision) for pair in pairs])


def find_teachers(run: Run, classes: tuple[str, ...], processes: Distributed = SINGLE_PROCESS) -> FoundTeachers | None:
    """The teachers of a run on images of these classes; None where nobody teaches. Process 0 alone reads their weights.

    Raises:
        InputError: weights that cannot be read, or do not say what they must; classes that they do not know; others
            than the run was planned with.
    """
    return None if run.teacher is None else processes.on_rank_zero(lambda: _found(run, classes))


def placed(weights: str) -> str:
    """The same weights by a path that holds in any working folder; names stay names."""
    name, _ = asked_of(weights)
    return str(path_of(name).absolute()) + weights[len(name) :] if exists(name) else weights


def _found(run: Run, classes: tuple[str, ...]) -> FoundTeachers:
    config = run.teacher
    assert config is not None
    predictors = tuple(_loaded(weights, config) for weights in config.weights)
    for weights, predictor in zip(config.weights, predictors, strict=True):
        _columns(weights, predictor, classes)
        _side(weights, predictor, run)
    digests = tuple(_digest(predictor) for predictor in predictors)
    for place, now in enumerate(digests):
        if now in digests[:place]:
            first, again = config.weights[digests.index(now)], config.weights[place]
            raise InputError(f"teacher {again}: the same as {first}, whose answers would count twice; name it once")
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
    return FoundTeachers(config.replace(weights=places, digests=digests), predictors)


def _loaded(weights: str, config: TeacherConfig) -> Predictor:
    if config.digests and (name := Path(asked_of(weights)[0])).is_absolute() and not exists(str(name)):
        raise InputError(
            f"teacher {weights}: no longer there; bring it back, or say where it is now: --set teacher.weights=PLACE"
        )
    alone = len(config.weights) == 1
    spec = WeightsSpec(weights, variant=config.variant, mean=config.mean, std=config.std)
    try:
        try:
            return _classifying(Predictor.load(spec, torch.device("cpu")), weights)
        except InputError:
            if alone or run_of(weights) is None:
                raise
            return _classifying(
                Predictor.load(weights, torch.device("cpu")), weights
            )  # what is said is of the bare ones
    except InputError as cause:
        raise InputError(_of_teacher(cause.message), cause.table) from cause


def _classifying(predictor: Predictor, weights: str) -> Predictor:
    """The predictor, whose task a student can be taught."""
    require_network(weights)
    require(predictor.task, "--teacher", weights)
    return predictor


_ADVICE = (
    (re.escape(CHOICES), f"--set teacher.mean=R,G,B --set teacher.std=R,G,B (of {_IMAGENET})"),
    (r"leave --preprocessing, --mean and --std out", "leave teacher.mean and teacher.std out"),
    (r"name it \(--model, such as resnet50\)", "such as ResNet50_Weights.IMAGENET1K_V2"),
    (r" ?\(in Python variant=\)", ""),
    (r"--(mean|std) (?=\d)", r"--set teacher.\1="),
    (r"--variant (?=\w)(?!out)", "--set teacher.variant="),
    (r"with --model", "with --set teacher.variant=NET"),
    (r"--(variant|mean|std)\b", r"teacher.\1"),
)
"""What is advised of weights that a run begins with -> what it is of a teacher."""


def _of_teacher(message: str) -> str:
    for pattern, words in _ADVICE:
        message = re.sub(pattern, words, message)
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
    architecture = _as_shown(predictor, config)
    try:
        require_size(architecture, *architecture.input)
    except InputError as cause:
        raise InputError(f"teacher {weights}: {cause.message}; set teacher.size") from cause
    return architecture.input[1]


def _as_shown(predictor: Predictor, config: TeacherConfig) -> Architecture:
    description: Architecture = predictor.network.description
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
