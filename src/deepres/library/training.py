"""`deepres.train`: what `deepres train` does, from Python."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from deepres.base.arguments import flag, path_text, whole, word
from deepres.base.errors import InputError
from deepres.library.showing import watching
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.predictor import Predictor
from deepres.recipes.plan import Words
from deepres.recipes.run import Run, load_run
from deepres.runs import stages as carrying
from deepres.runs.outputs import require_free_for_run
from deepres.runs.places import output_of
from deepres.runs.plan import Planned, plan_run
from deepres.runs.progress import Display
from deepres.runs.session import Session
from deepres.tasks.result import Result, summary
from deepres.train.distributed import init_distributed
from deepres.train.history import read_history

_DEVICE = ("device", "cpu, cuda, cuda:N or mps")


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a training came to: its `folder`, all that decided it (`run`), and what was measured (`result`).

    `result` is that on the test images, else on the held-out ones; None where there were neither.
    """

    folder: Path
    run: Run
    result: Result | None

    @property
    def error(self) -> float | None:
        """The figure of its task, lower is better: of one class an image the share of wrong ones, 0 to 1.

        Of several classes 1 - mean average precision, of numbers the mean absolute error.
        """
        if self.result is None:
            return None
        head = self.result.headline
        return head.value if head.lower_is_better else 1 - head.value

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row an epoch: losses and errors of training and of the held-out images, learning rate, speed."""
        return read_history(self.folder)

    @property
    def report(self) -> Path:
        """The page that shows all of it."""
        return self.folder / "report.html"

    def predictor(self, device: str | None = None) -> Predictor:
        """The network, ready to answer."""
        return Predictor.load(self.folder, device)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"RunResult({str(self.folder)!r}, error={self.error})"

    def __str__(self) -> str:
        told = "" if self.result is None else f"{summary(self.result)}\n"
        return f"{told}report: {self.report}"


def train(
    source: str | Path = "digits",
    output: str | Path | None = None,
    *,
    model: str | None = None,
    weights: WeightsSpec | RunResult | str | Path | None = None,
    epochs: int | None = None,
    settings: Mapping[str, object] | None = None,
    device: str | None = None,
    progress: bool = True,
) -> RunResult:
    """Train on the images at `source` and keep everything in one folder, as the command `deepres train` does.

    >>> import deepres
    >>> run = deepres.train("digits", epochs=1, device="cpu", progress=False)
    >>> print(run.folder.name, run.result.num_images)
    digits-1 269
    >>> run.error < 0.3
    True

    Args:
        source: digits, digit-scenes, fashion-mnist, cifar10, cifar100, a folder or archive of class folders, a .csv,
            a .npz.
        output: the run's folder; by default `runs/SOURCE-N`.
        model: a name of `deepres.list_models()`; by default what suits the images.
        weights: what the run begins with: a run, a file or a name (`resnet50.a1_in1k`); by default nothing.
        epochs: passes over the training images; by default the recipe's.
        settings: any field of the run by its dotted name, such as `{"train.batch_size": 32, "seed": 1}`; `recipe` and
            `task` are names, as of `--recipe` and `--task`.
        device: `cpu`, `cuda`, `cuda:N` or `mps`; by default a GPU of CUDA's if there is one.
        progress: whether to show how far it is.

    Raises:
        InputError: anything that images, weights or settings refuse. RunError: the run cannot go on.
    """
    source = path_text(source, "source", "a name such as digits, a folder, an archive, a .csv or a .npz")
    output = None if output is None else path_text(output, "output", "a folder")
    flag(progress, "progress")
    recipe, task, edits = as_edits(settings)
    begin = None if weights is None else spec_of(weights)
    if model is not None:
        begin = None if begin is None else replace(begin, model=model)
        word(model, "model", "the name of a network (deepres.list_models() has them)")
    epochs = None if epochs is None else whole(epochs, "epochs", 1)
    words = Words(recipe=recipe, model=model, edits=edits, epochs=epochs, task=task)
    begun = None if begin is None else begin.name
    given = {"model": model, "weights": begun, "epochs": epochs, "settings": settings, "device": device}
    said = ", ".join([repr(source), *(f"{name}={value!r}" for name, value in given.items() if value is not None)])
    with watching("starting", progress) as watch, init_distributed(device_of(device)) as processes:
        plans: list[Planned] = []
        output_given, read = (
            None if output is None else Path(output),
            [source, *([] if begin is None else [begin.name])],
        )
        processes.on_rank_zero(lambda: require_free_for_run(output_given, read, "output"))
        processes.on_rank_zero(lambda: plans.append(plan_run(source, words, begin)))
        run = processes.on_rank_zero(lambda: plans[0].run)
        with output_of(output_given, run, processes) as folder:
            session = Session(folder, processes.device, Display(watch), processes, f"deepres.train({said})")
            done = carrying.start(plans[0] if plans else run, session)
    return RunResult(done.folder, load_run(done.folder), done.result)


def device_of(device: object) -> str | None:
    """The device as it may be given to a call; None: the best there is."""
    return None if device is None else word(str(device) if type(device).__name__ == "device" else device, *_DEVICE)


def as_edits(settings: Mapping[str, object] | None) -> tuple[str | None, str | None, tuple[str, ...]]:
    """The recipe and the task that are named; the others as `--set` spells them: None is `none`, a sequence `1,2,3`.

    Raises:
        InputError: a name that is none.
    """
    edits, named = [], dict[str, str | None](recipe=None, task=None)
    if not isinstance(settings, Mapping | None):
        raise InputError(
            f"settings: given {settings!r:.40}; wanted fields of the run, such as {{'train.batch_size': 32}}"
        )
    for name, value in (settings or {}).items():
        if not isinstance(name, str) or "=" in name:
            raise InputError(f"settings: {name!r}: wanted a field of the run, such as train.batch_size")
        if name in named:
            named[name] = None if value is None else word(value, f"settings: {name}", f"the name of a {name}")
            continue
        edits.append(f"{name}={_spelt(value)}")
    return named["recipe"], named["task"], tuple(edits)


def _spelt(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_spelt, value)) if isinstance(value, list | tuple) else str(value)


def spec_of(weights: WeightsSpec | RunResult | PathLike[str] | str) -> WeightsSpec:
    """Weights as they may be given to a call."""
    return WeightsSpec.of(weights.folder if isinstance(weights, RunResult) else weights)
