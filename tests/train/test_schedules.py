import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.train.schedules import ScheduleConfig, constant, cosine, linear_warmup, sketch, steps

PROGRESS = st.floats(0, 1, exclude_max=True)


def test_steps_equal_torchs_multi_step() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.lr_scheduler.MultiStepLR(torch.optim.SGD([parameter], lr=0.1), milestones=[32, 48])
    ours = steps(0.1, milestones=(0.5, 0.75))
    for step in range(64):
        assert ours(step / 64) == pytest.approx(reference.get_last_lr()[0])
        reference.optimizer.step()
        reference.step()


def test_the_papers_schedule_in_its_own_iterations() -> None:
    lr = ScheduleConfig(kind="steps", lr=0.1, milestones=(0.5, 0.75)).schedule()
    seen = [lr(iteration / 64_000) for iteration in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert seen == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_cosine_equals_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD([parameter], lr=0.1), T_max=50)
    for step in range(50):
        assert cosine(0.1)(step / 50) == pytest.approx(reference.get_last_lr()[0])
        reference.optimizer.step()
        reference.step()


@given(PROGRESS, PROGRESS)
@pytest.mark.medium
def test_cosine_never_rises(p: float, q: float) -> None:
    early, late = sorted((p, q))
    assert cosine(0.1)(early) >= cosine(0.1)(late)


@given(PROGRESS)
@pytest.mark.medium
def test_a_warm_up_rises_to_its_schedule_and_is_never_zero(progress: float) -> None:
    warmed, plain = linear_warmup(cosine(0.1), 0.2), cosine(0.1)
    assert 0 < warmed(progress) <= plain(0.2) if progress < 0.2 else warmed(progress) == plain(progress)


@pytest.mark.parametrize("drops", [(0.75, 0.5), (0.5, 0.5), (0.0,), (1.0,), (32_000.0,)])
def test_drops_that_are_no_rising_fractions_are_refused(drops: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="wanted rising fractions of the run, such as"):
        build(ScheduleConfig, {"milestones": drops}, "schedule")


@pytest.mark.parametrize("lr", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(lr: float) -> None:
    with pytest.raises(InputError, match="schedule: lr: input should be"):
        build(ScheduleConfig, {"lr": lr}, "schedule")


def test_steps_of_a_low_rate_that_is_not_given_are_refused() -> None:
    with pytest.raises(InputError, match="warmup_steps 400 without warmup_lr: give the rate that is held, such as 0"):
        build(ScheduleConfig, {"warmup_steps": 400}, "schedule")


def test_a_schedule_is_drawn_by_the_logarithm_of_the_rate() -> None:
    paper = ScheduleConfig(kind="steps", lr=0.1, milestones=(0.5, 0.75), warmup_lr=0.01, warmup_steps=400)
    assert paper.told(64_000) == (
        f"rate: {'█' * 24}{'▆' * 12}{'▃' * 12} 0.1 to 0.001 over 64,000 steps, 0.01 for the first 400"
    )
    risen = ScheduleConfig(kind="cosine", lr=0.5, warmup_fraction=0.5).told(10).split()[1]
    assert len(risen) == 48
    assert sorted(risen[:24]) == list(risen[:24])
    assert sorted(risen[24:], reverse=True) == list(risen[24:])
    assert risen[0] < risen[24] == "█"
    assert sketch(constant(0.3), 5) == "█████"
    assert ScheduleConfig(kind="constant").told(1).endswith(" 0.1 to 0.1 over 1 step")
