"""Runs that have so many minutes: what is planned, what is cut, that they end in time and are told apart from others."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.base.events import Detail
from deepres.base.manifest import read_sealed
from deepres.base.records import build, load
from deepres.cli.main import run as command
from deepres.data.facts import facts_of
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source
from deepres.recipes.by_name import recipe
from deepres.recipes.run import Run
from deepres.runs import train as execute
from deepres.runs.autotune import Pace, pace_of
from deepres.runs.budget import Deadline, fitted
from deepres.runs.session import Session
from deepres.runs.train import Event, resume, start
from deepres.tasks.validation import by_error
from deepres.train.checkpoint import Contents
from deepres.train.distributed import SINGLE_PROCESS
from deepres.train.history import read_history
from deepres.train.loop import Epoch, Step, train
from deepres.train.schedules import Bend
from deepres.train.state import EpochTotals, Progress
from processes import DEEPRES
from processes import run as run_process

CPU = torch.device("cpu")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _an_end_of_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepres.runs.budget.END_SECONDS", 5.0)


@pytest.fixture
def photos(tmp_path: Path) -> Source:
    """Two classes of 40 photographs of 240 px; 10 % are held out, 10 % for the test, says the source."""
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(40):
            Image.new("RGB", (240, 240), (number, 0, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    return open_source(DataConfig(source=str(tmp_path / "photos")))


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """48 images of 16 px, of which a tenth is held out and .15 are for the test."""
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (48, 16, 16), dtype=np.uint8), np.arange(48) % 2
    np.savez(tmp_path / "numbers.npz", x=x, y=y)
    return tmp_path / "numbers.npz"


def planned(source: Source, name: str = "photos", **train: object) -> Run:
    facts = facts_of(source)
    run = recipe(name, facts, None)
    return run.replace(train=run.train.replace(**train)).fitted(facts)


def at(speed: float, before: float = 0.0) -> Callable[[Run], Pace]:
    """So many images/s at 224 px, smaller ones as their operations say."""
    return lambda run: Pace((run.model.input[1] / 224) ** 2 / speed, 0.0, before)


# 60 images to train on, so that an epoch takes 60 / speed seconds; what comes after it 5
@pytest.mark.parametrize(
    ("minutes", "speed", "epochs", "fits", "size", "words"),
    [
        (30, 10, 60, 60, 224, "all 60 epochs at 224 px (measured 10.0 images/s; about 6 min from here)"),
        (3, 10, 60, 26, 224, "26 epochs at 224 px (measured 10.0 images/s; 60 epochs would take 6 min)"),
        (3, 30, 200, 78, 224, "78 epochs at 224 px (measured 30 images/s; 200 epochs would take 7 min)"),
        (1, 10, 60, 16, 160, "16 epochs at 160 px (measured 19.6 images/s; at 224 px 10.0 images/s, where 12 epochs"),
        (0.5, 10, 60, 19, 96, "19 epochs at 96 px (measured 54 images/s; at 224 px 10.0 images/s, where 12 epochs"),
        (0.25, 2, 60, 1, 96, "1 epoch at 96 px (measured 10.9 images/s; at 224 px 2.0 images/s, where 12 epochs"),
        (0.5, 0.75, 1, 1, 96, "1 epoch at 96 px (measured 4.1 images/s; at 224 px 0.8 images/s, where 1 epoch would"),
        (3, 10, 1, 1, 224, "1 epoch at 224 px (measured 10.0 images/s; about 11 s from here)"),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_as_much_as_fits_is_planned_and_said(
    photos: Source, minutes: float, speed: float, epochs: int, fits: int, size: int, words: str
) -> None:
    run = planned(photos, epochs=epochs)
    run = run.replace(preparation=run.preparation.replace(crop=224, resize=256)).fitted(facts_of(photos))
    made = fitted(run, photos, Deadline(minutes, 0.0, Clock()), at(speed))
    sentence, repeated = made.sentences
    assert isinstance(sentence, str)
    assert sentence.startswith(f"{minutes:g} min: {words}")
    assert (made.run.train.epochs, made.run.model.input[1]) == (fits, size)
    assert (made.run.preparation.crop, made.run.preparation.resize) == (size, round(size * 256 / 224))
    smaller = f" --set preparation.crop={size} --set preparation.resize={round(size * 256 / 224)}" if size < 224 else ""
    assert repeated == Detail(f"the same without a clock: --epochs {fits}{smaller}")


@pytest.mark.medium
def test_what_goes_on_before_training_and_after_it_counts(photos: Source) -> None:
    run, clock = planned(photos, epochs=60, batch_size=64), Clock()
    assert fitted(run, photos, Deadline(1, 0.0, clock), at(10, before=10)).run.train.epochs == 19
    clock.now = 30.0
    slower = lambda run: Pace(1 / 10, 1 / 10, 5.0, burden=2.0)  # noqa: E731
    # 0.9 x 30 s are left, of which 5 are before and 10 + 1.2 after; an epoch takes 6 s and 0.8 on held-out images
    assert fitted(run, photos, Deadline(1, 0.0, clock), slower, any_size=False).run.train.epochs == 1


@pytest.mark.parametrize(
    ("name", "any_size", "message"),
    [
        ("photos", True, r"--minutes 0.1: 1 epoch at 96 px does not fit \(5.4 images/s measured, 3 s gone so far\)"),
        ("photos", False, r"--minutes 0.1: 1 epoch at 128 px does not fit \(3.1 images/s"),
        ("imagenet_2015", True, r"--minutes 0.1: 1 epoch at 224 px does not fit \(1.0 images/s"),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_what_does_not_fit_is_refused_with_what_would(photos: Source, name: str, any_size: bool, message: str) -> None:
    run, clock = planned(photos, name, epochs=60, iterations=None), Clock()
    clock.now = 3.0
    with pytest.raises(InputError, match=message + ".*; the shortest is --minutes ") as refused:
        fitted(run, photos, Deadline(0.1, 0.0, clock), at(1), any_size=any_size)
    shortest = float(str(refused.value).rsplit(" ", 1)[1])
    assert fitted(run, photos, Deadline(shortest, 0.0, clock), at(1), any_size=any_size).run.train.epochs == 1


@pytest.mark.medium
def test_a_length_in_steps_stays_one(photos: Source) -> None:
    run = planned(photos, "imagenet_2015", epochs=None, iterations=1000, batch_size=8)
    made = fitted(run, photos, Deadline(10, 0.0, Clock()), at(10))
    assert (made.run.train.iterations, made.run.train.epochs) == (668, None)
    assert made.sentences[0] == "10 min: 668 steps at 224 px (measured 10.0 images/s; 1,000 steps would take 13 min)"
    assert made.sentences[1] == Detail("the same without a clock: --set train.iterations=668")


@pytest.mark.medium
def test_at_sizes_that_cannot_fit_nothing_is_measured(photos: Source) -> None:
    run, asked = planned(photos), []
    run = run.replace(preparation=run.preparation.replace(crop=224, resize=224)).fitted(facts_of(photos))

    def measure(run: Run) -> Pace:
        asked.append(run.model.input[1])
        return at(4)(run)

    fitted(run, photos, Deadline(1, 0.0, Clock()), measure)
    assert asked == [224, 96]


def went(source: Source, minutes: float, seconds_of: Callable[[int], float]) -> tuple[float, Progress, list[str]]:
    """A run of 60 epochs, planned at 0.5 s a step, whose steps take as long as is said; and when it ended."""
    clock, said = Clock(), []
    run = planned(source, batch_size=10)
    made = fitted(run, source, Deadline(minutes, 0.0, clock), lambda run: Pace(0.05, 0.05))
    total = made.run.train.steps(60)
    progress = Progress()
    while progress.step < progress.length(total):
        clock.now += seconds_of(progress.step)
        progress = progress.replace(step=progress.step + 1)
        event = Step(progress.step, progress.length(total), 1.0, 1, 10, 0.1, 0.0, 0.5)
        if (cut := made.cut(event, progress)) is not None:
            said.append(made.said(event, cut))
            progress = made.bent(progress, cut)
        if progress.step % 6 == 0:
            clock.now += 0.4 * seconds_of(progress.step) / 0.5
            made.cut(_epoch(progress), progress)
    return clock.now + made.end(), progress, said


def _epoch(progress: Progress) -> Epoch:
    return Epoch(1, progress.step, EpochTotals(), 0.1, by_error(0.1, 0.1), False)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("minutes", "seconds_of", "cut"),
    [
        (2, lambda step: 0.5, False),
        (2, lambda step: 0.54, False),
        (2, lambda step: 0.8, True),
        (2, lambda step: 0.5 if step < 100 else 1.5, True),
        (2, lambda step: 0.5 if step % 20 else 3.0, True),
        (2, lambda step: 4.0 if step == 5 else 0.5, False),
        (2, lambda step: 0.5 if step < 150 else 1.5, True),
        (1, lambda step: 8.0, True),
        (2, lambda step: 0.1, False),
    ],
)
def test_it_ends_in_time_however_slow_the_machine_becomes(
    photos: Source, minutes: float, seconds_of: Callable[[int], float], cut: bool
) -> None:
    ended, progress, said = went(photos, minutes, seconds_of)
    assert ended <= 60 * minutes + 0.5
    assert bool(said) == cut
    if cut:
        assert progress.bend is not None
        assert progress.bend.why == f"--minutes {minutes}"
        assert len(said) < 8
        assert all(
            re.search(r"after step [\d,]+: .* images/s now, 20 images/s as measured before", line) for line in said
        )


@pytest.mark.medium
def test_a_planned_run_is_one_without_a_clock_to_the_bit(numbers: Path, tmp_path: Path) -> None:
    run = tiny(numbers)
    with_clock = begun(run, tmp_path / "clock", Deadline(3, 0.0, Clock()), Pace(1.0, 0.0))
    assert load(Run, tmp_path / "clock" / "run.json", "run").train.epochs == 4
    assert with_clock[0] == "3 min: 4 epochs at 16 px (measured 1.0 images/s; 50 epochs would take 30 min)"
    assert "3 min: 4 epochs" in (tmp_path / "clock" / "log.txt").read_text()
    without = run.replace(train=run.train.replace(epochs=4))
    start(without, Session(tmp_path / "none", CPU))
    assert weights(tmp_path / "clock") == weights(tmp_path / "none")
    assert json.loads((tmp_path / "clock" / "summary.json").read_text())["ended_by"] == "length"


class _StopError(Exception):
    pass


@pytest.mark.medium
def test_a_cut_run_ends_its_schedule_says_why_and_resumes_to_the_bit(numbers: Path, tmp_path: Path) -> None:
    run, whole, part, deadline = tiny(numbers), tmp_path / "whole", tmp_path / "part", partial(Deadline, 5, 0.0)
    clock = Clock()  # steps of 16 images take 30 s, not 16, of which 16 were planned
    said = begun(run, whole, deadline(clock), Pace(1.0, 0.0), clock=clock, step=30.0)
    cuts = [line for line in said if line.startswith("after step") and "the rate falls to its end" in line]
    bend = bent(whole)
    assert cuts[-1].startswith(f"after step {bend.step}:")
    assert clock.now <= 300.0
    clock = Clock()
    with pytest.raises(_StopError):
        begun(run, part, deadline(clock), Pace(1.0, 0.0), clock=clock, step=30.0, stop=bend.step + 1)
    assert bent(part) == bend
    assert bend.step < bend.total < 13
    resume(Session(part, CPU))
    assert weights(whole) == weights(part)
    assert read_history(whole)[-1]["step"] == bend.total
    assert read_history(whole)[-1]["lr"] < 0.3 * run.train.schedule.lr
    for folder in (whole, part):
        assert json.loads((folder / "summary.json").read_text())["ended_by"] == "--minutes 5"
    # a length that is given anew is the whole one again
    resume(Session(part, CPU), ["train.epochs=7"])
    assert read_history(part)[-1]["step"] == 16


def bent(folder: Path) -> Bend:
    facts, whole = read_sealed(sorted((folder / "state").glob("step-*"))[-1] / "state.json")
    bend = build(Contents, facts, "state").progress.bend
    assert whole
    assert bend is not None
    return bend


@pytest.mark.medium
def test_minutes_of_a_resumed_run_are_that_commands(numbers: Path, tmp_path: Path) -> None:
    run, folder, clock = tiny(numbers), tmp_path / "run", Clock()
    with pytest.raises(_StopError):
        begun(run, folder, None, Pace(1.0, 0.0), clock=clock, step=1.0, stop=2)
    clock.now, told = 1000.0, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "pace_of", lambda run, **_: Pace(0.01, 0.0))
        patch.setattr(execute, "train", timed(clock, 2.0))
        resume(Session(folder, CPU, told.append), deadline=Deadline(0.5, 1000.0, clock))
    assert "0.5 min: what is left is cut where it would not end in time (measured 100 images/s)" in told
    steps = [event for event in told if isinstance(event, Step)]
    assert 2 < steps[-1].step < 20
    assert clock.now <= 1030.0
    assert any("rate falls to its end" in line for line in told if isinstance(line, str))


def tiny(numbers: Path) -> Run:
    source = open_source(DataConfig(source=str(numbers)))
    run = planned(source, "small", epochs=50, batch_size=16, save_every_seconds=1e-6, compile="off")
    return run.replace(data=run.data.replace(source=str(numbers)), model=run.model.replace(depths=(1, 1, 1)))


def begun(
    run: Run,
    folder: Path,
    deadline: Deadline | None,
    pace: Pace,
    *,
    clock: Clock | None = None,
    step: float = 0.0,
    stop: int | None = None,
) -> list[str]:
    """What was said by a run whose steps take `step` seconds by `clock`, which is stopped after `stop` steps."""
    said = []

    def on_event(event: Event) -> None:
        if isinstance(event, Step) and event.step == stop:
            raise _StopError
        if isinstance(event, str):
            said.append(event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "pace_of", lambda run, **_: pace)
        patch.setattr(execute, "train", timed(clock, step))
        start(run, Session(folder, CPU, on_event), deadline=deadline)
    return said


def timed(clock: Clock | None, step: float) -> Callable[..., Iterator[Step | Epoch]]:
    def slowly(*given: Any, **named: Any) -> Iterator[Step | Epoch]:
        for event in train(*given, **named):
            if clock is not None and isinstance(event, Step):
                clock.now += step
            yield event

    return slowly


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.medium
def test_what_is_measured_is_of_the_sizes_of_a_machine(photos: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepres.runs.autotune.STEP_SECONDS", 0.05)
    run = planned(photos, batch_size=4)
    run = run.replace(preparation=run.preparation.replace(crop=32, resize=32)).fitted(facts_of(photos))
    pace = pace_of(run, photos, CPU, SINGLE_PROCESS)
    assert 0 < pace.answered < pace.trained < 10
    assert 0 < pace.before < 60
    assert 1 <= pace.burden <= 8


@pytest.mark.medium
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--minutes", "0"], "0: wanted a number of minutes above 0, such as 30"),
        (["--minutes", "-3"], "-3: wanted a number of minutes above 0, such as 30"),
        (["--minutes", "nan"], "nan: wanted a number of minutes above 0, such as 30"),
        (["--minutes", "inf"], "inf: wanted a number of minutes above 0, such as 30"),
        (
            ["--minutes", "1", "--smoke"],
            "--minutes 1 with --smoke: time is planned when a run begins; leave one of them",
        ),
        (["--minutes", "1", "--dry-run"], "--minutes 1 with --dry-run: time is planned when a run begins"),
        (["--minutes", "1e-9"], "1 epoch at 16 px does not fit"),
    ],
)
def test_minutes_that_cannot_be_are_refused_in_one_line(
    flags: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deepres.runs.autotune.STEP_SECONDS", 0.05)
    assert command(["train", "digits", *flags, "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert words in said[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_digits_end_within_half_a_minute_by_the_clock_on_the_wall(tmp_path: Path) -> None:
    minutes = "0.5"
    for _ in range(3):  # a machine that others load may need more, and says how much
        began = time.monotonic()
        ended = run_process(
            [*DEEPRES, "train", "digits", "--minutes", minutes, "--output", "run"],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode == 0:
            break
        assert "the shortest is --minutes " in ended.stderr
        minutes = ended.stderr.strip().rsplit(" ", 1)[1]
    assert time.monotonic() - began <= 60 * float(minutes) + 3
    assert f" of {float(minutes):g} min" in ended.stdout.splitlines()[-1]
