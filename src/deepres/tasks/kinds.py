"""All tasks there are, as one union: a new one is a folder here and one line in it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

from pydantic import BeforeValidator, Field

from deepres.base.errors import unknown
from deepres.base.records import Record, build, by_name
from deepres.tasks.classification.task import Classification
from deepres.tasks.detection.task import Detection
from deepres.tasks.localisation.task import Localising
from deepres.tasks.multilabel.task import Multilabel
from deepres.tasks.regression.task import Regression

if TYPE_CHECKING:
    from deepres.data.forms import FormName

AnyTask = Annotated[
    Classification | Multilabel | Regression | Detection | Localising,
    Field(discriminator="kind"),
    BeforeValidator(by_name),
]
"""Told apart by `kind`; of tasks that learn the same form of targets the first is taken where none is named."""

TASKS: dict[str, type[Any]] = {kind.model_fields["kind"].default: kind for kind in get_args(get_args(AnyTask)[0])}
"""By kind."""

DEFAULT = next(iter(TASKS))
DEFAULT_TASK: AnyTask = TASKS[DEFAULT]()
"""What is meant where nothing is said: the first."""


class _Holder(Record):
    task: AnyTask


def task_named(kind: str) -> AnyTask:
    """The task of that kind, as it is before it has seen anything.

    Raises:
        InputError: there is none; the nearest are offered.
    """
    if kind not in TASKS:
        raise unknown("task", kind, TASKS)
    return cast(AnyTask, TASKS[kind]())


def task_for(form: "FormName", wanted: AnyTask | None = None) -> AnyTask:
    """`wanted`, if it learns targets of this form; else the first task that does."""
    if wanted is not None and wanted.form == form:
        return wanted
    return next(cast(AnyTask, kind()) for kind in TASKS.values() if kind.form == form)


def task_in(facts: Mapping[str, Any] | None, where: str) -> AnyTask:
    """The task that stands beside weights; without a word of it that of the field's weights: one class an image."""
    return build(_Holder, {"task": {"kind": DEFAULT, **(facts or {})}}, where).task
