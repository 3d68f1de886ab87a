import pytest
import torch
from torch import Tensor, nn

from deepres.data.images import Batch
from deepres.tasks.classification.losses import cross_entropy
from deepres.train.config import TeacherConfig
from deepres.train.distil import distilled

LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
WEIGHTS = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))


def _batch() -> Batch:
    return Batch(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), LABELS, torch.arange(6))


def _answers(batch: Batch, temperature: float) -> Tensor:
    return (batch.images @ WEIGHTS / temperature).softmax(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("weight", [0.3, 0.9, 1.0])
def test_it_is_the_papers_formula(smoothing: float, temperature: float, weight: float) -> None:
    batch = _batch()
    loss, counts = distilled(cross_entropy(smoothing), _answers, temperature, weight)(nn.Identity(), batch)
    p, q = (z.double().div(temperature).softmax(1) for z in (batch.images @ WEIGHTS, batch.images))
    divergence = (p * (p.log() - q.log())).sum(1).mean()
    hard = nn.functional.cross_entropy(batch.images, LABELS, label_smoothing=smoothing)
    wanted = (1 - weight) * hard.double() + weight * temperature**2 * divergence
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-6)
    assert counts["wrong"] == (batch.images.argmax(1) != LABELS).sum()


def test_without_weight_it_is_the_loss_itself_and_nobody_is_asked() -> None:
    hard = cross_entropy(0.1)
    assert distilled(hard, lambda batch, temperature: pytest.fail("asked"), 4.0, 0.0) is hard


def test_who_answers_as_the_teacher_does_learns_nothing_more() -> None:
    student = nn.Linear(4, 4, bias=False)
    student.weight.data.copy_(WEIGHTS.T)
    distilled(cross_entropy(), _answers, 1.0, 1.0)(student, _batch())[0].backward()
    assert student.weight.grad is not None
    assert float(student.weight.grad.abs().max()) < 1e-6


def test_the_gradient_keeps_its_size_at_high_temperatures() -> None:
    sizes = []
    for temperature in (10.0, 40.0):
        student = nn.Linear(4, 4, bias=False)
        nn.init.zeros_(student.weight)
        distilled(cross_entropy(), _answers, temperature, 1.0)(student, _batch())[0].backward()
        assert student.weight.grad is not None
        sizes.append(float(student.weight.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_a_class_that_the_teacher_rules_out_is_no_nan() -> None:
    certain = nn.functional.one_hot(LABELS, 4).float()
    loss, _ = distilled(cross_entropy(), lambda batch, temperature: certain, 1.0, 0.5)(nn.Identity(), _batch())
    torch.testing.assert_close(loss, nn.functional.cross_entropy(_batch().images, LABELS))


def test_the_formula_is_said_and_bounds_the_loss_of_one_that_guesses() -> None:
    config = TeacherConfig(weights=("x",), temperature=2, weight=0.25)
    assert config.formula == "0.75 x cross-entropy + 0.25 x 2² x divergence from the teacher at temperature 2"
    assert config.largest == 0.75 + 0.25 * 4
