"""Several networks as one, whatever the task: their answers to the same images, in one order, averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import JsonValue

from deepres.base.errors import InputError
from deepres.base.wording import counted
from deepres.data.images import Images
from deepres.data.targets import FORMS
from deepres.tasks.result import Evaluation, Result, printable

if TYPE_CHECKING:
    from torch import Tensor


class Averaging(Protocol):
    """A task that knows "an ensemble" and "--folds" (`Task.tools`)."""

    def mean_answers(self, answers: Sequence[Any], orders: Sequence[Sequence[int]]) -> Any:
        """The answers of several networks to the same images as one's; output k of network m is its `orders[m][k]`-th.

        Raises:
            InputError: answers that were not kept as they are averaged.
        """

    def restored(self, columns: "Mapping[str, Tensor]") -> Any:
        """The answers that were saved as these columns (`Task.saved`), `indices` among them."""

    def result_in(self, path: Path) -> Result:
        """What `Result.save` wrote."""


@dataclass(frozen=True, eq=False)
class Member:
    """One network's evaluation, on images that lie in its own order of classes."""

    name: str
    evaluation: Evaluation
    images: Images


def averaging(task: object) -> Averaging:
    """The task, which was asked whether it knows ensembles (`task.require`)."""
    return cast(Averaging, task)


def together(members: Sequence[Member], provenance: dict[str, JsonValue]) -> Evaluation:
    """The ensemble: the mean over members of their answers, in the first member's order of classes or columns.

    What members found on held-out images is left out: it is not of their mean.

    Raises:
        InputError: other classes, other images, or no scores kept.
    """
    first = members[0]
    answers = averaging(first.evaluation.task).mean_answers(
        [member.evaluation.predictions for member in members], orders_of(members)
    )
    results = [member.evaluation.result for member in members]
    facts = {
        "split": results[0].split,
        "protocol": ", ".join(dict.fromkeys(result.protocol for result in results)),
        "shown": "; ".join(dict.fromkeys(result.shown for result in results)),
        "skipped": results[0].skipped,
        "seconds": fsum(result.seconds for result in results),
        "provenance": provenance,
        "precision": ", ".join(dict.fromkeys(result.precision for result in results)),
        "notes": tuple(dict.fromkeys(note for result in results for note in result.notes)),
    }
    found: Evaluation = first.evaluation.task.unsettled().concluded(answers, first.images, facts)
    return found


def orders_of(members: Sequence[Member]) -> list[list[int]]:
    """Of each member the places of its outputs in the order of the first one's, after all is compared.

    Raises:
        InputError: a member has other classes or columns, or was measured on other images.
    """
    first, orders = members[0], []
    names, images = first.evaluation.result.names, _images(first)
    called = FORMS[first.evaluation.task.form].called
    for member in members:
        if member.evaluation.task.kind != first.evaluation.task.kind:
            both = f"{member.name} was trained for {member.evaluation.task.kind}, {first.name} for "
            raise InputError(f"{both}{first.evaluation.task.kind}; members of an ensemble answer one question")
        known = member.evaluation.result.names
        if set(known) != set(names):
            raise InputError(
                f"{member.name} knows {_named(known, called)}, {first.name} {_named(names, called)}; members of an "
                f"ensemble need the same {counted(2, called).partition(' ')[2]}"
            )
        if _images(member) != images:
            raise InputError(
                f"{member.name} is measured on {_set(member)}, {first.name} on others, {_set(first)}; "
                "name one SOURCE for all"
            )
        orders.append([known.index(name) for name in names])
    return orders


def _named(names: tuple[str, ...], called: str) -> str:
    return f"{counted(len(names), called)} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"


def _set(member: Member) -> str:
    result = member.evaluation.result
    return f"{counted(result.num_images, 'image')} ({result.split} of {result.provenance.get('source', '?')})"


def _images(member: Member) -> list[str]:
    return [printable(member.images.name(i)) for i in member.evaluation.predictions.indices.tolist()]
