"""What the flags of `deepres train` and `deepres data show` ask for, as a run with its images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepres.base.errors import InputError
from deepres.cli.folds import settings_of_folds

if TYPE_CHECKING:
    from deepres.runs.plan import Planned

FIELDS = {
    "batch_size": "train.batch_size",
    "lr": "train.schedule.lr",
    "weight_decay": "train.optimizer.weight_decay",
    "balance": "train.balance",
    "memory": "train.memory",
    "compile": "train.compile",
    "log": "train.log",
    "seed": "seed",
    "weights": "weights",
    "variant": "variant",
    "workers": "data.workers",
    "on_bad_image": "data.on_bad_image",
}
"""Flags that set a field of the run."""


def settings(given: Mapping[str, Any]) -> list[str]:
    """What the flags that are names of a run's fields set, as `--set` spells it; `given` are values by flag."""
    return [f"{field}={given[flag]}" for flag, field in FIELDS.items() if given.get(flag) is not None]


def planned(given: Mapping[str, Any]) -> "Planned":
    """The run that these flags ask for, by flag, and its images: what train carries out and `data show` shows."""
    from deepres.nn.weights.spec import WeightsSpec
    from deepres.recipes.plan import Words
    from deepres.recipes.written import source_of
    from deepres.runs.plan import plan_run
    from deepres.train.config import TeacherConfig

    source, weights = source_of(given["recipe"], given["source"]), _weights(given)
    said: dict[str, Any] = {name: given[name] for name in ("variant", "mean", "std")}
    teacher = None
    if given.get("teacher"):  # what is said of bare weights is of those that the run begins with, else of the teacher's
        teacher = TeacherConfig(weights=given["teacher"], **({} if weights else said))
        given = given if weights else {**given, "variant": None}
    elif given["mean"] is not None and weights is None:
        raise InputError("--preprocessing, --mean and --std: they describe trained weights; add --weights W")
    edits = given["edits"]  # an optimiser stands before --weight-decay, which is the optimiser's that is taken
    wholes = [one for one in edits if one.startswith(("train.optimizer=", "train.optimizer.kind="))]
    others = [one for one in edits if one not in wholes]
    words = Words(
        recipe=given["recipe"],
        model=given["model"],
        edits=(*wholes, *settings(given), *settings_of_folds(given.get("folds")), *others),
        epochs=given["epochs"],
        teacher=teacher,
        smoke=given["smoke"],
        task=given.get("task"),
        size=given.get("img_size"),
        scale_lr=not given.get("no_scale_lr"),
    )
    begin = None if weights is None else WeightsSpec(weights, model=given["model"], **said)
    plan = plan_run(source, words, begin)
    wanted, found = given.get("num_classes"), plan.run.model.num_classes
    if wanted is not None and wanted != found:
        raise InputError(f"--num-classes {wanted}: {source} has {found}, which its folders or labels say; leave it out")
    return plan


def _weights(given: Mapping[str, Any]) -> str | None:
    """The weights to begin with: those that are named, or the published ones of --model."""
    weights: str | None = given["weights"]
    if not given.get("pretrained"):
        return weights
    if weights is not None:
        raise InputError(f"--pretrained with --weights {weights}: either says what it begins with; leave one out")
    if given["model"] is None:
        raise InputError("--pretrained: of which network? --model resnet50 --pretrained, or --weights resnet50.a1_in1k")
    from deepres.arch.catalogue.tags import published

    try:
        return published(given["model"])
    except InputError as refusal:
        raise InputError(
            f"--pretrained: no weights of {given['model']} are published by its name; bring some: --weights FILE"
        ) from refusal
