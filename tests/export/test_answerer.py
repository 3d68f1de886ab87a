from pathlib import Path

import pytest
import torch
from small_run import NAMES, TASKS, noise

from deepres.base.errors import InputError
from deepres.predict.pictures import Picture
from deepres.predict.predictor import Predictor


@pytest.mark.parametrize("task", sorted(TASKS))
def test_outputs_that_answers_come_of_give_these_answers(task: str) -> None:
    draw = torch.Generator().manual_seed(0)
    outputs = 5 * torch.randn(20, 3, generator=draw)
    answers = TASKS[task].activated(outputs).float()
    again = TASKS[task].activated(TASKS[task].deactivated(answers))
    torch.testing.assert_close(again.float(), answers, rtol=1e-5, atol=1e-6)
    if task == "classification":  # so that a temperature can be left out again
        plain = TASKS[task].unsettled()
        torch.testing.assert_close(
            plain.activated(TASKS[task].deactivated(answers)).float(), outputs.softmax(1), rtol=1e-3, atol=1e-5
        )
        assert bool(TASKS[task].deactivated(torch.tensor([1.0, 0.0, 0.0])).isfinite().all())


def test_a_file_answers_pictures_as_a_network_does(small: Path) -> None:
    predictor = Predictor.load(small)
    assert predictor.classes == NAMES
    assert predictor.optimized(100) is predictor
    pictures = [Picture(str(at), lambda image=image: image) for at, image in enumerate(noise(3, 20, 20))]
    answers = list(predictor.answers(pictures, top_k=1))
    assert [len(answer.guesses) for answer in answers] == [1, 1, 1]
    with pytest.raises(InputError, match=r"small: pictures of 3 x 8 x 8; the file takes 3 x 16 x 16"):
        predictor.probabilities(torch.zeros(1, 3, 8, 8))
