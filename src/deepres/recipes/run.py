"""A whole run as one value: images, network, what is done to them, how long; it is `run.json`, edited by `--set`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from deepres.arch.catalogue.entry import ModelConfig
from deepres.arch.detector import Detector, DetectorConfig
from deepres.arch.localiser import LocaliserConfig
from deepres.arch.readings.norms import last_norms
from deepres.base.errors import InputError, unknown
from deepres.base.manifest import RUN, require_own
from deepres.base.reading import json_object
from deepres.base.records import Record, build
from deepres.base.version import VERSION
from deepres.data.facts import DatasetFacts, StartingWeights
from deepres.data.forms import MOVING, TOLD
from deepres.data.sources.config import DataConfig
from deepres.data.transforms.config import Augmentation, Preparation, check_together
from deepres.tasks.kinds import DEFAULT_TASK, AnyTask, task_for
from deepres.tasks.task import read_in, require, written_in
from deepres.train.config import Select, TeacherConfig, TrainConfig

FORMAT: Literal[2] = 2
"""Of `run.json`: it rises when fields change their names or meanings."""

WRITTEN_BY = {1: "0.1"}
"""The versions of deepres that write, and so read, each format of before."""


class OtherFormatError(InputError):
    """A run of another version, whose description this one cannot read; its weights may be of use."""


class Run(Record):
    """Everything that decides a run's weights, but for the versions of the software; `task` is what is learnt.

    `weights` is a path or a name to begin with (None: He initialisation), `variant` what they were trained as where
    they do not say and several fit, `new_head` leaves their classifier behind. `statistics` are those of the training
    images, or those that came with the weights: `weights_mean` and `weights_std` where these do not say. `select` says
    which epoch's weights are kept: the "best" on held-out images, the "last", or ("auto") the last of those that the
    held-out images cannot tell from the best. `teacher` is whose answers are learnt beside the labels.
    `license` is under which the weights may be used, as hubs spell it (apache-2.0): the model card says it.
    """

    format: Literal[2] = FORMAT
    recipe: str
    data: DataConfig
    task: AnyTask = DEFAULT_TASK
    model: ModelConfig
    augmentation: Augmentation
    preparation: Preparation
    train: TrainConfig
    weights: str | None = None
    variant: str | None = None
    weights_mean: tuple[float, ...] | None = None
    weights_std: tuple[float, ...] | None = None
    new_head: bool = False
    statistics: Literal["images", "weights"] = "images"
    select: Select = "auto"
    teacher: TeacherConfig | None = None
    license: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$")] | None = None
    seed: int = 0

    def begun_with(self, begin: StartingWeights | None) -> "Run":
        """The same run, from these weights and their mean and standard deviation; without any as it is."""
        if begin is None:
            return self
        said = {"weights": begin.weights, "variant": begin.variant}
        return self.replace(**said, weights_mean=begin.mean, weights_std=begin.std, statistics="weights")

    def written_in(self, folder: Path) -> "Run":
        """The same as it is written down in `folder`, from where `load_run` reads it."""
        return self.replace(task=written_in(self.task, folder))

    def fitted(self, facts: DatasetFacts) -> "Run":
        """The same run for targets, channels, size and levels of these images; a size that the recipe sets stays.

        Where its task learns targets of another form, it becomes the first that learns those.
        """
        task = task_for(facts.form, self.task)
        task = task if facts.targets is None else task.fitted(facts.targets, facts.classes)
        if isinstance(self.model, DetectorConfig) and self.model.masks and facts.targets and not facts.has_masks:
            raise InputError(
                f"{facts.source}: boxes without masks, and {self.model.name} learns masks; take {DETECTOR}, or bring "
                "outlines"
            )
        size = (self.preparation.channels, *self.preparation.input(facts.side))
        model = self.model.replace(num_classes=facts.num_classes, input=size)
        decided = getattr(task, "decides", None)
        if isinstance(model, LocaliserConfig) and decided is not None:
            model = model.replace(**decided(self.preparation.channels))
        train = self.train.replace(**{field: off for field, off in OFF.items() if f"train.{field}" not in task.tools})
        data = self.data.replace(levels=facts.levels, targets=facts.form)
        preparation = self.preparation.replace(levels=facts.levels)
        return self.replace(model=model, data=data, preparation=preparation, train=train, task=task)


def require_known(run: Run) -> None:
    """Refuse what the run's task does not know.

    Raises:
        InputError: folds, a teacher, classes that weigh alike, or a low rate until an error, of a task without them; a
            network that answers otherwise, or without a part that is frozen; a preparation or an augmentation that
            targets do not go with.
    """
    train = run.train
    asked = {
        "--folds": run.data.folds is not None,
        "--teacher": run.teacher is not None,
        f"train.balance={train.balance}": train.balance != "none",
        f"train.loss={train.loss}": train.loss != "cross_entropy",
        "train.joint=false": not train.joint or train.learns != "all",
        "train.schedule.warmup_until_error": train.schedule.warmup_lr is not None
        and train.schedule.warmup_steps is None,
    }
    for tool, wanted in asked.items():
        if wanted:
            require(run.task, tool, run.data.source)
    moving, model = run.task.form in MOVING, run.model
    whole, sides = WHOLE in run.task.tools and CUT not in run.task.tools, run.preparation.fit == "sides"
    description = model.architecture()
    if train.zero_gamma:
        if run.weights is not None:
            raise InputError(
                f"train.zero_gamma=true: the run begins with {run.weights}, which has its own; leave it out"
            )
        last_norms(description)
    if train.frozen:
        parts = dict.fromkeys(place.name.partition(".")[0] for place in description.places)
        for name in train.frozen:
            if name not in parts:
                raise unknown("train.frozen", name, parts)
    if not run.task.suits(description):
        instead = f"a detector, such as {DETECTOR}" if moving else "a network that names classes, such as resnet50"
        instead = instead if whole or not moving else "a localiser, as recipe loc_2015 builds it"
        raise InputError(
            f"{run.data.source}: holds {TOLD[run.task.form]}, and {model.name} "
            f"{'names classes of whole pictures' if moving else 'finds boxes'}; wanted {instead}"
        )
    if sides != whole and CUT not in run.task.tools:
        other = "pictures keep their shape" if whole else "'sides' is for boxes of objects"
        raise InputError(
            f"preparation.fit={run.preparation.fit or 'none'}: {run.data.source} holds {TOLD[run.task.form]}, {other}; "
            f"wanted {'sides' if whole else 'crop, squash, pad or none'}"
        )
    if isinstance(description, Detector) and run.preparation.edge % (stride := description.strides[-1]):
        raise InputError(
            f"preparation.multiple={run.preparation.edge}: the last map of {model.name} has a place every {stride} px, "
            f"and anchors stand on them; wanted a multiple of {stride}"
        )
    if getattr(run.task, "measure", None) == "masks" and getattr(model, "masks", None) is None:
        raise InputError(
            f"task.measure=masks: {model.name} finds boxes alone; take --recipe masks, or another measure (coco)"
        )
    check_together(run.augmentation, run.preparation)


DETECTOR = "fasterrcnn_resnet50_fpn"
WHOLE, CUT = "preparation.fit=sides", "preparation.fit=crop"
"""The tools of tasks whose pictures may keep their shape, and of those of boxes whose pictures may be cut."""

SMOKE_SIDE, SMOKE_REGIONS = 96, 64
"""The short side in px; of a picture."""

OFF = {"label_smoothing": 0.0, "fit_head": False}
"""What recipes turn on for the tasks that know it."""


def load_run(folder: Path) -> Run:
    """The run in the folder, as it wrote itself down.

    Raises:
        InputError: no run there, or its description is damaged, changed by hand, another run's, or of another format.
    """
    require_own(folder, RUN)
    path = folder / RUN
    fields = json_object(path, "run description; is this a run folder?")
    require_format(fields, path)
    run = build(Run, fields, str(path))
    return run.replace(task=read_in(run.task, folder))


def require_format(fields: object, path: Path) -> None:
    """Refuse the description of a run that is of another format; what is no description, the record refuses.

    Raises:
        OtherFormatError: it is; the version that reads it is named.
    """
    given = fields.get("format", 1) if isinstance(fields, Mapping) else None
    if given == FORMAT or not isinstance(given, int):  # what is no number, the record refuses
        return
    reader = f"deepres {WRITTEN_BY[given]}" if given in WRITTEN_BY else "a newer deepres"
    raise OtherFormatError(
        f"{path}: a run of format {given}, which {reader} reads; this is {VERSION}, wanted format {FORMAT}: go on with "
        f"{reader}, or begin a new run with its weights: --weights {path.parent}"
    )


def smoke(run: Run) -> Run:
    """The same run cut down to 20 steps of 16 images: does it work at all, in under a minute on two cores.

    Pictures that keep their shape are brought to `SMOKE_SIDE` px, 2 make a step, and a detector looks at few regions.
    """
    if run.preparation.fit == "sides":
        short = min(SMOKE_SIDE, run.preparation.resize or SMOKE_SIDE)
        longest = min(2 * short, run.preparation.longest or short)
        turns = run.train.turns
        if turns is not None:  # a quarter of the steps for each stage
            few = {name: getattr(turns, name).replace(iterations=5, batch_size=2) for name in ("proposals", "regions")}
            turns = turns.replace(**few)
        train = run.train.replace(epochs=None, iterations=20, batch_size=2, accumulate=1, repeats=1, turns=turns)
        augmentation = run.augmentation.replace(scale=(short, short))
        preparation = run.preparation.replace(resize=short, longest=longest)
        size = (run.model.input[0], *preparation.input(short))
        model = run.model if isinstance(run.model, LocaliserConfig) else run.model.replace(input=size)
        if isinstance(model, DetectorConfig):
            proposals = model.proposals.replace(after_train=SMOKE_REGIONS, after_test=SMOKE_REGIONS)
            model = model.replace(proposals=proposals, regions=model.regions.replace(sampled=SMOKE_REGIONS))
        return run.replace(train=train, augmentation=augmentation, preparation=preparation, model=model)
    few = {"iterations": 20, "batch_size": 16, "accumulate": 1, "repeats": 1, "precise_bn_batches": 0}
    train = run.train.replace(epochs=None, **few)
    return run.replace(train=train)
