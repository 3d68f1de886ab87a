"""`--minutes` with `--folds`: one length for all folds, all of it in time; a slow machine cuts each alike, and says so."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.data.facts import facts_of
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.nn.weights.folds import fold_folder
from deepres.recipes.by_name import recipe
from deepres.recipes.run import Run
from deepres.runs import fold_time, folds
from deepres.runs import train as execute
from deepres.runs.autotune import Pace
from deepres.runs.budget import Deadline
from deepres.runs.fold_plan import Folds, plan_in
from deepres.runs.fold_time import FoldTime, planned_in_time
from deepres.runs.session import Session
from deepres.runs.train import Event
from deepres.train.distributed import SINGLE_PROCESS
from deepres.train.history import read_history
from deepres.train.loop import Epoch, Step, train

CPU = torch.device("cpu")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _an_end_of_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("budget", "fold_time"):
        monkeypatch.setattr(f"deepres.runs.{module}.END_SECONDS", 5.0)


def planned(folder: Path, *, test: int = 0) -> Run:
    """36 images of 16 px in two classes, of which `test` are the official test images; three folds of the others."""
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (36 + test, 16, 16), dtype=np.uint8), np.arange(36 + test) % 2
    arrays = {"x_train": x[:36], "y_train": y[:36]} | ({"x_test": x[36:], "y_test": y[36:]} if test else {})
    np.savez(folder / "numbers.npz", **arrays)  # type: ignore[arg-type]
    data = DataConfig(source=str(folder / "numbers.npz"), folds=3, fold=1)
    facts = facts_of(open_source(data))
    run = recipe("small", facts, None)
    config = run.train.replace(epochs=40, batch_size=4, compile="off", save_every_seconds=1e6)
    run = run.replace(train=config, data=data, model=run.model.replace(depths=(1, 1, 1)))
    return run.fitted(facts)


def carried_out(
    work: Callable[[Callable[[str], Callable[[Event], None]]], folds.FinishedFolds],
    clock: Clock,
    step: Callable[[int], float],
    pace: Pace,
    answers: float = 0.0,
) -> tuple[folds.FinishedFolds, list[str]]:
    """What came of it and what was said, where the n-th step of all takes `step(n)` seconds and each fold's end 5."""
    said, taken = list[str](), [0]

    def timed(*given: Any, **named: Any) -> Iterator[Step | Epoch]:
        for event in train(*given, **named):
            if isinstance(event, Step):
                clock.now += step(taken[0])
                taken[0] += 1
            yield event
        clock.now += 5.0 + answers

    def told(event: Event) -> None:
        if isinstance(event, str):
            said.append(event)

    with pytest.MonkeyPatch.context() as patch:
        for module in (execute, fold_time):
            patch.setattr(module, "pace_of", lambda run, **_: pace)
        patch.setattr(execute, "train", timed)
        return work(lambda part: told), said


def lengths(folder: Path) -> list[int]:
    return [read_history(fold_folder(folder, fold))[-1]["step"] for fold in (1, 2, 3)]


def test_a_share_is_of_what_is_left() -> None:
    clock = Clock()
    time = FoldTime(Deadline(10, 0.0, clock), after=30.0)
    assert time.share(5).left == 114.0
    clock.now = 60.0  # it needed less
    share = time.share(4)
    assert (share.ends, share.left) == (187.5, 127.5)
    clock.now = 180.0
    assert share.left == 7.5
    assert str(share) == "10 min"


@pytest.mark.long
def test_all_folds_are_as_long_as_one_another_and_end_in_time(tmp_path: Path) -> None:
    run, clock, folder = planned(tmp_path), Clock(), tmp_path / "out"
    done, said = carried_out(
        lambda told: folds.start(run, Session(folder, CPU), told, deadline=Deadline(2, 0.0, clock)),
        clock,
        lambda _: 0.4,  # of 4 images, as measured
        Pace(0.1, 0.0),
    )
    # 0.9 x 120 s for three; of the 36 s of each 5 are its own end and 5 / 3 of all; an epoch of 20 images or so takes 2 s
    (line,) = [line for line in said if "in each of 3 folds" in line]
    epochs = plan_in(folder).run.train.epochs
    assert epochs is not None
    assert re.fullmatch(
        rf"2 min: {epochs} epochs at 16 px in each of 3 folds \(measured 10\.0 images/s; 40 epochs would take \d min\)",
        line,
    )
    runs = [json.loads((fold_folder(folder, fold) / "run.json").read_text()) for fold in (1, 2, 3)]
    assert {each["train"]["epochs"] for each in runs} == {epochs}
    assert [row[-1]["epoch"] for row in (read_history(fold_folder(folder, fold)) for fold in (1, 2, 3))] == [epochs] * 3
    assert 0.75 * 120 < clock.now + 5 <= 120
    assert done.cut == ()
    assert sum("of which" in line and "for this fold" in line for line in said) == 3


@pytest.mark.long
def test_on_a_machine_that_becomes_slower_each_fold_is_cut_and_all_end_in_time(tmp_path: Path) -> None:
    run, clock, folder = planned(tmp_path), Clock(), tmp_path / "out"
    done, said = carried_out(
        lambda told: folds.start(run, Session(folder, CPU), told, deadline=Deadline(2, 0.0, clock)),
        clock,
        lambda number: 0.4 if number < 40 else 1.0,
        Pace(0.1, 0.0),
    )
    assert clock.now + 5 <= 121
    steps = lengths(folder)
    assert 2 in done.cut
    assert 3 in done.cut
    assert min(steps) > 0.25 * max(steps)  # nobody gets what is left over
    assert any("the rate falls to its end within them" in line for line in said)


def in_time(run: Run, minutes: float, pace: Pace) -> int | None:
    """How many epochs are planned."""
    session = Session(Path("out"), CPU, lambda event: None, SINGLE_PROCESS, "train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_time, "pace_of", lambda run, **_: pace)
        plan, _ = planned_in_time(Folds(folds=3, run=run), Deadline(minutes, 0.0, Clock()), session)
    assert plan.run.replace(train=run.train) == run
    return plan.run.train.epochs


def test_the_test_images_that_all_answer_together_have_their_time(tmp_path: Path) -> None:
    few, many = (in_time(planned(tmp_path, test=test), 2, Pace(0.1, 0.1)) for test in (0, 60))
    # 22 images to train on and 2 held out take 2.4 s; of 36 s 5 + 5 / 3 are for ends, 1.4 for own answers
    assert (few, many) == (11, 9)  # 60 images by three networks take 18 s, 6 s of each share


def test_what_does_not_fit_is_refused_with_what_would_and_nothing_is_left(tmp_path: Path) -> None:
    run, folder = planned(tmp_path), tmp_path / "out"
    message = r"--minutes 0.1: 1 epoch at 16 px in each of 3 folds does not fit .*; the shortest is --minutes "
    with pytest.raises(InputError, match=message) as refused:
        carried_out(
            lambda told: folds.start(run, Session(folder, CPU), told, deadline=Deadline(0.1, 0.0, Clock())),
            Clock(),
            lambda _: 0.0,
            Pace(0.1, 0.0),
        )
    assert not folder.exists()
    assert in_time(run, float(str(refused.value).rsplit(" ", 1)[1]), Pace(0.1, 0.0)) == 1


@pytest.mark.long
def test_minutes_of_folds_that_are_resumed_are_that_commands(tmp_path: Path) -> None:
    run, clock, folder = planned(tmp_path), Clock(), tmp_path / "out"

    class StopError(Exception):
        pass

    def stopping(number: int) -> float:
        if number == 20:
            raise StopError
        return 0.4

    with pytest.raises(StopError):
        carried_out(lambda told: folds.start(run, Session(folder, CPU), told), clock, stopping, Pace(0.1, 0.0))
    clock.now = 1000.0
    done, _ = carried_out(
        lambda told: folds.resume(Session(folder, CPU), (), told, deadline=Deadline(1, 1000.0, clock)),
        clock,
        lambda _: 0.4,
        Pace(0.1, 0.0),
    )
    assert done.cut == (1, 2, 3)  # 40 epochs of each take minutes
    assert clock.now + 5 <= 1061
    assert min(lengths(folder)) > 10
