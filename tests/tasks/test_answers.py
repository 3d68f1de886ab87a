"""What is said of one image, as a line and as cells of a table; answers that are saved and read back."""

from typing import Any

import pytest
import torch
from torch import Tensor

from deepres.data.images import ArrayImages
from deepres.tasks.classification.answer import ClassAnswer, Guess
from deepres.tasks.ensemble import averaging
from deepres.tasks.kinds import TASKS, task_named
from deepres.tasks.multilabel.answer import LabelGuess, LabelsAnswer
from deepres.tasks.regression.answer import NumbersAnswer, Value

CAR, BIRD = LabelGuess(name="car", probability=0.931, said=True), LabelGuess(name="bird", probability=0.12, said=False)
AGE = Value(name="age", value=31.23, low=25.0, high=37.4)

TOLD: list[tuple[Any, str, dict[str, str]]] = [
    (
        ClassAnswer(image="a", guesses=(Guess(name="cat", probability=0.931), Guess(name="lynx", probability=0.04))),
        "a: cat 93.1 %  lynx 4.0 %",
        {"class": "cat", "probability": "0.931000", "class_2": "lynx", "probability_2": "0.040000"},
    ),
    (
        LabelsAnswer(image="a", labels=("car",), guesses=(CAR, BIRD)),
        "a: car 93.1 %",
        {"labels": "car", "class": "car", "probability": "0.931000", "class_2": "bird", "probability_2": "0.120000"},
    ),
    (
        LabelsAnswer(image="a", labels=(), guesses=(BIRD,)),
        "a: none (likeliest bird 12.0 %)",
        {"labels": "", "class": "bird", "probability": "0.120000"},
    ),
    (
        LabelsAnswer(image="a", labels=("car", "bus"), guesses=(CAR,)),
        "a: car 93.1 %  and 1 more",
        {"labels": "car;bus", "class": "car", "probability": "0.931000"},
    ),
    (
        NumbersAnswer(image="a", values=(AGE,), coverage=0.9),
        "a: age 31.23 (90 %: 25 to 37.4)",
        {"age": "31.23", "age low": "25", "age high": "37.4"},
    ),
    (
        NumbersAnswer(image="a", values=(Value(name="x", value=-0.5), Value(name="y", value=1e-9))),
        "a: x -0.5  y 1e-09",
        {"x": "-0.5", "y": "1e-09"},
    ),
]


@pytest.mark.parametrize(("answer", "line", "row"), TOLD)
def test_an_answer_is_a_line_and_a_row(answer: Any, line: str, row: dict[str, str]) -> None:
    assert answer.line() == line
    assert answer.rows() == [row]
    assert answer.replace(problem="a: empty").line() == "a: empty"
    assert answer.replace(image="a\x1b[2J").line().startswith(r"a\u001b[2J: ")


FITTED: dict[str, dict[str, Any]] = {"regression": {"mean": (3.0, -1.0, 0.5), "std": (2.0, 0.1, 4.0)}}
NAMES = ("ant", "bee", "cat")
ENSEMBLES = [kind for kind in TASKS if "an ensemble" in task_named(kind).tools]


def asked(kind: str, outputs: Tensor) -> tuple[Any, Any, ArrayImages]:
    """The task, its answers to images of noise, and these."""
    task: Any = task_named(kind).replace(**FITTED.get(kind, {}))
    dice = torch.Generator().manual_seed(1)
    targets: Tensor = {
        "class": torch.randint(0, 3, (len(outputs),), generator=dice),
        "classes": (torch.rand(len(outputs), 3, generator=dice) > 0.5).float(),
        "numbers": torch.rand(len(outputs), 3, generator=dice, dtype=torch.float64),
    }[task.form]
    metrics = task.metrics(keep_scores=True)
    metrics.update(outputs, targets, torch.arange(len(outputs)))
    return (
        task,
        metrics.answers(),
        ArrayImages(torch.zeros(len(outputs), 1, 1, 1, dtype=torch.uint8), targets, NAMES, "s"),
    )


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_answers_that_are_saved_come_back_and_conclude_alike(kind: str) -> None:
    facts: dict[str, Any] = {"split": "test", "protocol": "center", "skipped": (), "seconds": 1.0, "provenance": {}}
    task, answers, images = asked(kind, torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))
    again = averaging(task).restored(task.saved(answers))
    assert task.concluded(again, images, facts).result == task.concluded(answers, images, facts).result


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_several_networks_answer_the_mean_of_what_each_says_of_an_output(kind: str) -> None:
    """Against `activated`, which `predict` averages; the second network has its outputs in another order."""
    order = [2, 0, 1]
    z = torch.randn(2, 40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    task, first, _ = asked(kind, z[0])
    back = [order.index(place) for place in range(3)]
    other = (
        task if kind not in FITTED else task.replace(**{k: tuple(v[i] for i in order) for k, v in FITTED[kind].items()})
    )
    metrics = other.metrics(keep_scores=True)
    truth = {"class": torch.tensor(back)[first.truth]} if first.truth.dim() == 1 else {"": first.truth[:, order]}
    metrics.update(z[1][:, order], next(iter(truth.values())), torch.arange(40))
    together = averaging(task).mean_answers([first, metrics.answers()], [[0, 1, 2], back])
    wanted = (task.activated(z[0]) + task.activated(z[1])) / 2
    found = {
        "class": lambda: together.scores.exp(),
        "classes": lambda: together.probabilities,
        "numbers": lambda: together.predicted,
    }[task.form]()
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(together.truth, first.truth)
