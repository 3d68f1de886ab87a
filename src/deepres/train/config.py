"""How a run is trained, as facts: length, steps, schedule, what is kept, who teaches. Free of torch, as recipes are."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from deepres.arch.readings.checkpointing import MemoryChoice
from deepres.base.records import Record, by_name
from deepres.train.loggers.names import LoggerName, as_asked
from deepres.train.schedules import ScheduleConfig

Positive = Annotated[int, Field(ge=1)]

Balance = Literal["none", "loss", "sampler"]
"""What makes classes weigh alike: nothing, weights in the loss, or how often images are drawn."""

LossChoice = Literal["cross_entropy", "binary"]
"""Of one class an image: against the softmax, or of each class on its own, as yes or no."""

PrecisionChoice = Literal["auto", "float32", "bfloat16"]
"""The precision of convolutions and matrix products; auto: what the hardware is built for."""

TrainingPrecision = Literal["auto", "float32", "bfloat16", "float16"]
"""Of training, which may also be in float16, with scaled losses (`train/loss_scale.py`)."""

CompileChoice = Literal["auto", "off", "max"]
"""auto: compiled, and by Winograd's kernels, where that saves time, by measurement. off: as it is. max: compiled."""

Select = Literal["auto", "best", "last"]
"""The last epoch that cannot be told from the best; the best on held-out images; the last, whatever these say."""


class SgdConfig(Record):
    """`decay_parameters` says what weight decay acts on: the weights of convolutions and classifier, or all parameters.

    The papers do not say; decaying "weights" alone is how the first re-implementation read them.
    """

    renamed: ClassVar = {"decay": "decay_parameters"}

    kind: Literal["sgd"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    nesterov: bool = False
    decay_parameters: Literal["weights", "all"] = "weights"

    def in_words(self) -> str:
        """`SGD, momentum 0.9, Nesterov, weight decay 0.0001`."""
        nesterov = ", Nesterov" if self.nesterov else ""
        return f"SGD, momentum {self.momentum:g}{nesterov}, weight decay {self.weight_decay:g}"


Beta = Annotated[float, Field(ge=0, lt=1)]


class _MomentsConfig(Record):
    """What AdamW and LAMB share; `decay_parameters` as for SGD."""

    called: ClassVar[str]

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    decay_parameters: Literal["weights", "all"] = "weights"

    def in_words(self) -> str:
        """`AdamW, betas 0.9 and 0.999, weight decay 0.01`."""
        return "{}, betas {:g} and {:g}, weight decay {:g}".format(self.called, *self.betas, self.weight_decay)


class AdamWConfig(_MomentsConfig):
    """AdamW (Loshchilov & Hutter 2019), with torch's defaults."""

    called: ClassVar = "AdamW"

    kind: Literal["adamw"] = "adamw"
    eps: Annotated[float, Field(gt=0)] = 1e-8


class LambConfig(_MomentsConfig):
    """LAMB (You et al. 2020), with timm's defaults, but for its bound of the gradient: that is `train.clip_norm`."""

    called: ClassVar = "LAMB"

    kind: Literal["lamb"] = "lamb"
    eps: Annotated[float, Field(gt=0)] = 1e-6


def _named(value: object) -> object:
    """`adamw` alone is AdamW with its defaults; facts without a kind are SGD's."""
    value = by_name(value)
    return {"kind": "sgd", **value} if isinstance(value, Mapping) else value


OptimizerConfig = SgdConfig | AdamWConfig | LambConfig


PartOfSteps = Annotated[float, Field(gt=0, lt=1)]


class TurnConfig(Record):
    """One of two parts of a detector that learn in turn: its steps, the pictures of each, where the rate falls."""

    iterations: Positive
    batch_size: Positive
    milestones: tuple[PartOfSteps, ...] = ()


class TurnsConfig(Record):
    """The two of them; each learns twice, first with the body and then on it."""

    proposals: TurnConfig
    regions: TurnConfig

    @property
    def steps(self) -> int:
        """Of all four stages."""
        return 2 * (self.proposals.iterations + self.regions.iterations)

    @property
    def images(self) -> int:
        """Pictures of all these steps."""
        return 2 * sum(turn.iterations * turn.batch_size for turn in (self.proposals, self.regions))


class TrainConfig(Record):
    """How long, how large the steps, what is kept. Give `epochs` or `iterations`, not both.

    `batch_size` images make one step; `accumulate` cuts them into as many pieces, whose gradients are averaged and
    whose norm statistics are separate. With `repeats` each step draws a part of its images, and each of them so often,
    augmented anew each time (`data/loading/sampler.py`); as many steps make an epoch. `clip_norm` bounds the gradient's
    length. `ema_decay` averages the weights. `patience` stops after so many epochs without a better held-out error.
    `precise_bn_batches` is the number of training batches over which norm statistics are recomputed at the end (0:
    running statistics are kept). `memory` says whether layers are computed twice so that a step fits (`nn/memory.py`);
    the weights are bitwise the same. `compile` says whether steps are compiled (`train/compile.py`), which rounds a
    little differently. `balance` makes classes of unequal size weigh alike: by weights in the loss, or by how often
    their images are drawn (`data/loading/balance.py`).

    Several processes share the images of a step evenly, and also its pieces (each has one at least), so that a run is
    the same on any number of processes that divides `accumulate`. With `sync_norm` each piece is spread over all of
    them instead, and norms use the images of the whole piece (`nn/sync_batch_norm.py`).

    For weights that were trained before: `head_only_fraction` is the fraction of the run in which the head alone
    learns, `frozen` names parts that never do (norm statistics of what is frozen stay too); with `layer_decay` each
    part learns that many times as fast as the part after it, the head at `head_pace` (None: 1). With `fit_head` the new
    head begins as the classifier that fits the features, whose length then tells a `head_pace` of None
    (`runs/head.py`). `log` says where each epoch is shown besides `history.jsonl` (`train/loggers/`).

    With `zero_gamma` the last norm of each unit's branch begins with gamma 0, the network as its shortcuts
    (`nn/init.py`).

    `loss` "binary" asks of each class whether the image is of it (`tasks/classification/losses.py`).

    A detector's proposals and regions learn at once (`joint`), or in four stages, for each as long as `turns` says
    (`recipes/stages.py`); then `epochs`, `iterations` and `batch_size` say nothing. Of a stage `learns` names what
    learns, `proposals_of` the run whose proposals its regions are of, from its own folder on (None: its own).
    """

    renamed: ClassVar = {
        "head_first": "head_only_fraction",
        "average_statistics": "precise_bn_batches",
        "fast": "compile",
        "sgd": "optimizer",
    }

    epochs: Positive | None = None
    iterations: Positive | None = None
    batch_size: Positive = 128
    accumulate: Positive = 1
    repeats: Positive = 1
    optimizer: Annotated[OptimizerConfig, Field(discriminator="kind"), BeforeValidator(_named)] = SgdConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: LossChoice = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    balance: Balance = "none"
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    patience: Positive | None = None
    precision: TrainingPrecision = "auto"
    memory: MemoryChoice = "auto"
    compile: CompileChoice = "auto"
    sync_norm: bool = False
    precise_bn_batches: Annotated[int, Field(ge=0)] = 0
    head_only_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    fit_head: bool = False
    head_pace: Annotated[float, Field(gt=0)] | None = None
    zero_gamma: bool = False
    frozen: tuple[str, ...] = ()
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    joint: bool = True
    turns: TurnsConfig | None = None
    learns: Literal["all", "proposals", "regions"] = "all"
    proposals_of: str | None = None
    save_every_seconds: Annotated[float, Field(gt=0)] = 60.0
    log: Annotated[tuple[LoggerName, ...], BeforeValidator(as_asked)] = ("auto",)

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, fields: object) -> object:
        """Runs of before other optimisers came have `sgd`."""
        if isinstance(fields, Mapping) and "sgd" in fields and "optimizer" not in fields:
            return {("optimizer" if name == "sgd" else name): value for name, value in fields.items()}
        return fields

    @model_validator(mode="after")
    def _one_length(self) -> "TrainConfig":
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError(
                f"epochs {self.epochs} and iterations {self.iterations}: wanted one of the two, the other none"
            )
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of accumulate {self.accumulate}; change one of them"
            )
        if self.batch_size % self.repeats:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of repeats {self.repeats}; change one of them"
            )
        if self.loss == "binary" and self.balance == "loss":
            raise ValueError(
                "loss=binary asks of each class on its own, balance=loss weighs images by theirs; take balance=sampler"
            )
        if not self.joint and self.turns is None:
            raise ValueError(
                "joint=false, and no turns that say how long each part learns; take a recipe that has them"
            )
        return self

    def pieces(self, processes: int = 1) -> int:
        """Pieces that each of so many processes makes of its share of a step."""
        return self.accumulate if self.sync_norm else -(-self.accumulate // processes)

    def steps(self, num_images: int) -> int:
        """Optimiser steps of the whole run over `num_images` training images."""
        if not self.joint and self.turns is not None:
            return self.turns.steps
        return self.iterations or -(-(self.epochs or 0) * num_images // self.batch_size)

    def images(self, num_images: int) -> int:
        """Training images of all these steps."""
        if not self.joint and self.turns is not None:
            return self.turns.images
        return self.batch_size * self.steps(num_images)


class TeacherConfig(Record):
    """Who teaches: `weights` are runs, files or names; of several the probabilities are averaged.

    `variant`, `mean` and `std` are said of bare weights that do not say them; `size` is the short side in pixels at
    which a teacher sees the images (None: its own). The loss is `distilled`, with this `temperature` and `weight`.
    `digests`, one for each, are of all that decides its answers: weights, classes, mean and std.

    Temperature 4 and weight 0.9 are what the field trains CIFAR with (Cho & Hariharan 2019; Tian et al. 2020); the
    paper tries temperatures from 1 to 20 and finds a considerably lower weight of the labels best. Measured here: see
    `evidence/distillation.json`.
    """

    weights: Annotated[tuple[str, ...], Field(min_length=1)]
    variant: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: Annotated[int, Field(ge=1, le=4096)] | None = None
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    digests: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """`0.1 x cross-entropy + 0.9 x 4² x divergence from the teacher at temperature 4`."""
        hard, soft, t = f"{1 - self.weight:.4g}", f"{self.weight:.4g}", f"{self.temperature:.4g}"
        return f"{hard} x cross-entropy + {soft} x {t}² x divergence from the teacher at temperature {t}"

    @property
    def largest(self) -> float:
        """The loss of a network that guesses is at most so many times its cross-entropy."""
        return 1 - self.weight + self.weight * self.temperature**2
