"""A task is one value: what it reads, learns, measures, answers and shows; others know this Protocol alone.

A new task is a folder here and one line in `kinds.py`. What its targets are as data (how they are read, split, written
and packed) is a form of targets (`data/targets.py`), which several tasks may share. A task is part of
`run.json`, which is read without torch: what needs torch is imported where it is used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar

from deepres.base.errors import InputError
from deepres.base.wording import listed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepres.arch.detector import Description
    from deepres.data.forms import FormName
    from deepres.data.images import Batch, Images
    from deepres.data.transforms.config import Preparation
    from deepres.data.transforms.statistics import Statistics
    from deepres.data.transforms.views import Views
    from deepres.nn.build import ResidualNetwork
    from deepres.nn.inference import InferencePrecision
    from deepres.nn.weights.formats import Checkpoint
    from deepres.tasks.losses import Loss
    from deepres.tasks.result import Evaluation
    from deepres.tasks.together import Participant
    from deepres.tasks.validation import Validation

T = TypeVar("T")
Average = Literal["probability", "logit"]
"""What is averaged over the views of an image, where a task knows both."""


TOGETHER = "several at once"
"""The tool of tasks whose networks are asked together, in place of answers that are averaged."""


@dataclass(frozen=True)
class Learning:
    """What a loss is told beside its task: smoothing, what makes classes weigh alike, the training targets.

    `loss`, `learns` and `proposals_of` as in `train/config.py`.
    """

    label_smoothing: float = 0.0
    balance: str = "none"
    targets: Any = None
    names: tuple[str, ...] = ()
    learns: str = "all"
    proposals_of: str | None = None
    loss: str = "cross_entropy"


@dataclass(frozen=True)
class FirstValues:
    """What a network begins with: `weights` (a name, a path, what was read; None: those of the seed) and what is said.

    `variant` is what they were trained as, where they do not say; `new_head` leaves what is specific to classes behind.
    """

    weights: "Checkpoint | str | None" = None
    variant: str | None = None
    new_head: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Compared:
    """What networks are compared by: the `name` of a figure, and weights (D, N) of images -> the figure (D,).

    `text` is a value of it as a person reads it.
    """

    name: str
    statistic: Callable[[Any], Any]
    text: Callable[[float], str]
    lower_is_better: bool = True


class AskedHow(Protocol):
    """How a network is asked about an image; `str()` is its spelling, with all settings.

    The loader makes the `num_pictures` that are `showing` of each (None: the preparation's own), of which the network
    is shown `num_views`, mirrors counted; the answers become one by their `average`.
    """

    @property
    def showing(self) -> "Views | None": ...

    @property
    def num_pictures(self) -> int: ...

    @property
    def num_views(self) -> int: ...

    @property
    def average(self) -> Average: ...

    def sentence(self, preparation: "Preparation") -> str:
        """What is shown, in words."""

    def together(self, asked: "Sequence[Participant]") -> "tuple[nn.Module, list[tuple[Preparation, Statistics]]]":
        """What is asked in the place of these networks, and how its pictures are prepared, the first one's own first.

        Of more pictures than one it is asked about batches as `together.with_others` makes them.
        """


class Metrics(Protocol):
    """Collects outputs batch by batch; neither cuts nor order nor the number of processes changes a figure."""

    def update(self, outputs: Any, targets: Any, indices: "Tensor") -> None:
        """Add a batch: `Task.outputs` on any device, targets and places of its images; RunError if not finite."""

    def merge(self, other: Any) -> None:
        """Add all that `other`, of the same kind, has seen."""

    def answers(self) -> Any:
        """All answers so far, in order of the images' places (`indices`); InputError: none, or an image came twice."""


class Task(Protocol):
    """What is asked about an image. A record with `kind`: it stands in `run.json` and beside the weights.

    `form` is that of the targets it learns; `tools` are those of the toolbox that know what to do with it (ensembles,
    maps of classes, …): `require` refuses the others. `settles`: held-out images still decide something in the end.
    """

    form: "ClassVar[FormName]"
    tools: ClassVar[frozenset[str]]
    settles: ClassVar[bool]

    @property
    def kind(self) -> str: ...

    def fitted(self, targets: Any, names: tuple[str, ...]) -> Self:
        """The same with what a run keeps of its training targets (their mean, …)."""

    def suits(self, description: "Description | None") -> bool:
        """Whether it is asked of networks of that description; None: of weights that do not say it."""

    def recognised(self, stored: "Checkpoint") -> "Checkpoint":
        """Weights that do not say of which network they are, with what this task can tell of them."""

    def network(
        self, description: "Description", names: tuple[str, ...], first: FirstValues
    ) -> "tuple[nn.Module, str]":
        """A network that can be asked, a `Model`, and what was done to the weights, for a person to read.

        `names` are what its outputs are called.

        Raises:
            InputError: a description of networks that answer other questions; weights that do not fit.
        """

    def returned(self, network: "nn.Module", library: str) -> "tuple[dict[str, Tensor], tuple[str, ...]]":
        """The network's tensors as another library calls them, and what that has to be told beside.

        Raises:
            InputError: no such library, or it has no such network.
        """

    def taken_apart(self, network: "nn.Module") -> "ResidualNetwork":
        """The part whose units analyses speak of, which shares its modules with the network; or the network itself."""

    def protocol(self, text: str, preparation: "Preparation") -> "AskedHow":
        """How a network is asked about a picture, by its spelling, for weights that want `preparation`.

        Raises:
            InputError: an unknown spelling, or numbers that it cannot have.
        """

    def outputs(self, network: "nn.Module", batch: "Batch") -> Any:
        """What the network says of a batch, one view of each image: (N, K), or what the task's metrics collect."""

    def asked(self, pixels: "Tensor", preparation: "Preparation", statistics: "Statistics") -> "Batch":
        """A picture (C, H, W), uint8, upright, as a batch of one that `outputs` takes, on the statistics' device."""

    def one(self, outputs: Any, row: int) -> Any:
        """Of them those of one image."""

    def loss(self, learning: Learning) -> "Loss":
        """What training minimises, and what it counts."""

    def metrics(self, *, keep_scores: bool = False) -> Metrics:
        """A collector of answers."""

    def averaged(self, outputs: "Tensor", average: Average, dim: int = 0) -> "Tensor":
        """The outputs to several views of an image as one, float64."""

    def concluded(self, answers: Any, images: "Images", facts: Mapping[str, Any]) -> "Evaluation":
        """The result that answers come to; `facts` are the fields of `Result` that do not follow from them."""

    def validation(self, result: Any, balance: str) -> "Validation":
        """What a result on held-out images says of an epoch."""

    def settled(self, held_out: "Evaluation | None") -> tuple[Self, str]:
        """The same with what held-out images still decide once training has ended, and a sentence about it ("")."""

    @property
    def settled_on(self) -> str | None:
        """The split whose images settled it; None where none has."""

    def settled_text(self) -> str | None:
        """What held-out images settled, in a sentence before answers; None where nothing."""

    def rejecting(self, rule: str) -> tuple[Self, str]:
        """The same, which calls unsure answers unknown by a rule as `--reject` spells it, and the rule in words.

        Raises:
            InputError: another spelling; a rule that needs what this one does not know.
        """

    def beside_unknown(self, evaluation: "Evaluation", answers: "Tensor", source: str) -> "Evaluation":
        """The same evaluation, with how its answers are told from the activated `answers` (M, K) to unknown images."""

    def columns(self, names: tuple[str, ...], most: int) -> list[str]:
        """The columns of a table of answers (`Answer.rows`)."""

    def facts(self, said: str) -> dict[str, Any]:
        """What `summary.json` says of it, `said` being the sentence of `settled`."""

    def measured_as(self, *, own_protocol: bool, found_here: bool) -> Self:
        """The same as it is measured, under its own protocol or another, on what settled it or on others."""

    def unsettled(self) -> Self:
        """The same without what held-out images decided."""

    def saved(self, answers: Any) -> dict[str, Any]:
        """The answers as columns of a file, `indices` among them; `truth` is equal where targets are."""

    def compared(self, columns: Mapping[str, Any]) -> Compared:
        """What networks are compared by, from the columns of saved answers (`saved.py`)."""

    def worst(self, evaluation: "Evaluation", images: "Images") -> list[tuple[object, ...]]:
        """The images that were answered worst, a row each, the head first."""

    def made_fast(self, network: Any, device: Any, precision: "InferencePrecision") -> Any:
        """The network as it answers many images, made fast in a way of its own; None: folded and compiled as others."""

    def activated(self, outputs: Any) -> Any:
        """Outputs (…, K) as they are averaged over networks and decoded: probabilities, or numbers."""

    def deactivated(self, answers: Any) -> Any:
        """Outputs that `activated` turns into these answers (…, K), float64; of those that the network gives one."""

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        """As JSON."""

    def decode(self, outputs: Any, names: tuple[str, ...], image: str, most: int) -> "Answer":
        """What a network says about one image by its activated outputs (K,); `most` names at most."""

    def left_out(self, answers: Sequence[Any]) -> str:
        """What of these answers was not told, and how to have it, in a sentence; "" where all is."""

    def unread(self, image: str, problem: str) -> "Answer":
        """The answer about an image that cannot be read."""


def written_in(task: T, folder: Path) -> T:
    """The task as a run in `folder` writes it down: what lies elsewhere by its way from there, too."""
    how = getattr(task, "written_in", None)
    return task if how is None else how(folder)


def read_in(task: T, folder: Path) -> T:
    """The task that a run in `folder` wrote down, with the places where things lie now, also where both have moved."""
    how = getattr(task, "read_in", None)
    return task if how is None else how(folder)


class Answer(Protocol):
    """What is answered about one image; a record, so that it is JSON too."""

    @property
    def image(self) -> str: ...

    @property
    def problem(self) -> str | None: ...

    def line(self) -> str:
        """One line for a person."""

    def rows(self) -> list[dict[str, str]]:
        """The same as rows of a table, cells by column; one at least."""

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        """As JSON."""


def require(task: Task, tool: str, where: str) -> None:
    """Refuse a tool that is not for this kind of answer.

    Raises:
        InputError: it is not; the tasks that it is for are told.
    """
    if tool not in task.tools:
        from deepres.tasks.kinds import TASKS  # which knows all tasks, and each of them this file

        for_these = listed([kind for kind, known in TASKS.items() if tool in known.tools])
        remedy = "leave it out" if tool.startswith(("--", "train.")) else "name a run of that"
        raise InputError(f"{where}: its task is {task.kind}, and {tool} is for {for_these} alone; {remedy}")


def guessed(number: int) -> list[str]:
    """`class, probability, class_2, probability_2, …`: the columns of so many guesses."""
    ends = ["", *(f"_{place}" for place in range(2, number + 1))]
    return [f"{head}{end}" for end in ends for head in ("class", "probability")]


def guessed_cells(guesses: Sequence[tuple[str, float]]) -> dict[str, str]:
    """Names with their probabilities as cells of these columns."""
    cells = (cell for name, probability in guesses for cell in (name, f"{probability:.6f}"))
    return dict(zip(guessed(len(guesses)), cells, strict=False))  # of none the columns stay empty
