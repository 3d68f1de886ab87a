"""Weights of any task -> the task, and its network, ready to be asked."""

from os import PathLike
from typing import TYPE_CHECKING, Any

from deepres.base.arguments import place
from deepres.base.errors import InputError
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights
from deepres.tasks.kinds import DEFAULT_TASK, TASKS, AnyTask, task_in
from deepres.tasks.task import FirstValues

if TYPE_CHECKING:
    from deepres.nn.build import ResidualNetwork
    from deepres.tasks.detection.detector import DetectorNetwork

_WEIGHTS = "a file, a folder, or a name such as resnet50.a1_in1k"


def asked_of(stored: Checkpoint) -> tuple[AnyTask, Checkpoint]:
    """The task of these weights, and the weights with what it can tell of them.

    What stands beside them says it, else the network that they are of; of bare weights it is the field's, one class an
    image.
    """
    if stored.task is not None:
        return task_in(stored.task, f"{stored.where} task"), stored
    for kind in TASKS.values():
        task: Any = kind()
        known = task.recognised(stored)
        if known.description is not None and task.answers(known.description):
            return task, known
    return DEFAULT_TASK, stored


def load(weights: str | PathLike[str]) -> "ResidualNetwork | DetectorNetwork":
    """The trained network of a run folder, or of weights by name, in evaluation mode.

    >>> import deepres
    >>> network = deepres.load("runs/digits-1")
    >>> network.description.input, network.num_classes, network.training
    ((1, 16, 16), 10, False)

    Raises:
        InputError: weights that do not say which network they are of.
    """
    task, stored = asked_of(find_weights(place(weights, "weights", _WEIGHTS)))
    if stored.description is None:
        raise InputError(f"{stored.where}: does not say which network it is of; use create_model(NAME, weights=…)")
    network: Any = task.network(stored.description, (), FirstValues(stored))[0]
    network.eval()
    return network  # type: ignore[no-any-return]
