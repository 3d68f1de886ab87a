"""What guesses come to: every figure counted by hand on four pictures."""

import torch

from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.images import ArrayImages
from deepres.tasks.localisation.answers import GuessMetrics
from deepres.tasks.localisation.guessing import Guessed
from deepres.tasks.localisation.task import Localising

FACTS = {"split": "test", "protocol": "center", "skipped": (), "seconds": 1.0, "provenance": {}}
NONE, HALF, MOST, PART = [0, 0, 1, 1], [0, 0, 30, 10], [0, 0, 30, 16], [10, 5, 20, 15]


def test_every_figure_and_those_of_the_whole_picture_as_the_box() -> None:
    targets = BoxTargets.of(
        [
            Boxes.of([HALF], [0]),  # half of the picture: its whole is just right
            Boxes.of([PART], [1]),
            Boxes.of([PART, MOST], [1, 0], [False, False]),  # of two classes, labelled as the first
            Boxes.of([PART, MOST], [0, 1], [False, True]),  # what is ignored is no class
        ]
    )
    images = ArrayImages(torch.zeros(4, 3, 20, 30, dtype=torch.uint8), targets, ("a", "b", "c"), "drawn")
    guesses = Guessed(
        classes=torch.tensor([[0, 1], [0, 1], [2, 0], [1, 0]]),
        chances=torch.tensor([[0.9, 0.1]] * 4, dtype=torch.float64),
        boxes=torch.tensor([[HALF, NONE], [PART, NONE], [PART, MOST], [MOST, PART]], dtype=torch.float64),
        labels=torch.tensor([0, 1, 1, 0]),
        given=torch.tensor([HALF, PART, NONE, PART], dtype=torch.float64),
    )
    metrics = GuessMetrics()
    metrics.update(guesses, targets, torch.arange(4))
    task = Localising(classifier="named")
    found = task.concluded(metrics.answers(), images, FACTS).result
    assert (found.error, found.top1_error, found.given_error) == (1 / 4, 3 / 4, 1 / 4)
    assert (found.class_top5_error, found.class_top1_error) == (1 / 4, 3 / 4)
    assert (found.whole_error, found.whole_given_error) == (2 / 4, 3 / 4)
    assert (found.num_empty, found.num_several) == (0, 1)
    told = found.lines()
    assert "with the whole picture as the box: localisation error 50.00 %, given the true class 75.00 %" in told
    assert "1 image with objects of several classes is of the class of the first" in told
    assert found.facts()["whole_given_error"] == 3 / 4
