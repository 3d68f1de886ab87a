"""What a person sees while work goes on: on terminals of any width, and where there is none."""

import io
import logging
import logging.handlers
import os
import pty
import re
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

from deepres.base.events import Detail, Doing
from deepres.base.warned import in_one_line
from deepres.base.watch import EVERY, Watch
from deepres.base.wording import duration
from deepres.cli.main import VERBS, deepres, run
from deepres.runs.progress import Display
from deepres.train.loop import Step

TINY = ("--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16")
QUICK = {"models", "describe", "serve"}
"""Verbs that load no torch and answer at once; serve shows that it loads, not that it serves."""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _watch(clock: Clock, live: bool = False) -> tuple[Watch, io.StringIO]:
    out = io.StringIO()
    return Watch("starting", out=out, live=live, clock=clock), out


def _step(step: int, total: int = 10_000, seconds: float = 0.1) -> Step:
    return Step(step, total, 0.3123, {"wrong": 8}, 64, 0.1, 0.002, seconds)


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("what", ["training", "imagenet_2015/resnet152/seed-0, ten-crop-logits:224/256"])
def test_percent_and_remaining_time_are_whole_at_any_width(width: int, what: str) -> None:
    clock = Clock()
    watch, _ = _watch(clock)
    watch(Doing(what, 0, 10_000))
    clock.now += 310
    watch(Doing(what, 3_100, 10_000), ("loss 0.312", "error 12.50 %", "640 images/s", "waiting for data 2 %"))
    line = watch.line(width)
    assert len(line) <= width
    assert "31 %, 12 min left" in line
    assert line.isprintable()
    wide = watch.line(200)
    if width >= 120 and what == "training":
        assert "3,100 of 10,000, loss 0.312, error 12.50 %, 640 images/s, waiting for data 2 %" in line
        assert "━" in wide or "#" in wide


def test_without_a_terminal_a_line_is_due_every_thirty_seconds_and_only_then() -> None:
    clock = Clock()
    watch, out = _watch(clock)
    watch(Doing("lesion", 0, 200))
    for second in range(1, 151):
        clock.now += 1
        watch(Doing("lesion", second, 200))
        watch.beat()
    said = out.getvalue().splitlines()
    assert len(said) == 150 // EVERY
    assert said[0] == "lesion: 15 %, 170 s left, 30 of 200" or said[0] == "lesion: 15 %, 3 min left, 30 of 200"
    assert said[-1].startswith("lesion: 75 %, 50 s left, 150 of 200")
    assert out.getvalue().replace("\n", "").isprintable()


def test_what_cannot_be_counted_says_for_how_long_it_has_gone_on() -> None:
    clock = Clock()
    watch, out = _watch(clock)
    watch(Doing("listing the images of photos"))
    clock.now += 31
    watch.beat()
    assert out.getvalue() == "listing the images of photos: for 31 s so far\n"
    clock.now += 10
    watch.say("a line of its own")  # then silence is counted anew
    clock.now += 29
    watch.beat()
    assert out.getvalue().count("\n") == 2


def test_a_pass_over_held_out_images_between_epochs_keeps_the_remaining_time_of_training() -> None:
    clock = Clock()
    watch, _ = _watch(clock)
    watch(Doing("training", 1, 1000))
    clock.now += 100
    watch(Doing("training", 101, 1000))
    watch(Doing("held-out images", 0, 10))
    watch(Doing("held-out images", 10, 10))
    clock.now += 100
    watch(Doing("training", 201, 1000))
    assert "20 %, 13 min left" in watch.line()
    watch(Doing("held-out images", 2, 10))  # the next pass counts from its own beginning
    assert watch.line() == "held-out images: 20 %, 2 of 10"


def test_a_resumed_run_is_timed_by_the_steps_of_this_part() -> None:
    clock = Clock()
    watch, _ = _watch(clock)
    display = Display(watch, clock=clock)
    display(_step(9_000))
    clock.now += 50
    display(_step(9_100))
    assert watch.line(30) == "training: 91 %, 8 min left" or "91 %, 450 s left" in watch.line(40)


def test_how_long_it_takes_is_said_once_when_the_pace_is_known() -> None:
    clock = Clock()
    watch, out = _watch(clock)
    display = Display(watch, clock=clock)
    clock.now += 60  # the first step compiles: it counts not
    for step in range(1, 200):
        display(_step(step))
        clock.now += 0.1
    assert re.findall(r"about .* to go: .*", out.getvalue()) == ["about 17 min to go: 9,948 steps, 640 images/s"]


def test_details_are_for_those_who_ask() -> None:
    for verbose in (False, True):
        watch, out = _watch(Clock())
        display = Display(watch, verbose)
        display(Detail("plain steps: a short run"))
        display("report: runs/a/report.html")
        assert ("plain steps" in out.getvalue()) == verbose
        assert out.getvalue().endswith("report: runs/a/report.html\n")


def test_every_verb_that_may_take_long_is_watched() -> None:
    unwatched = set()
    for verb in VERBS:
        command = deepres.get_command(click.Context(deepres), verb)  # type: ignore[attr-defined]
        inner = command.commands if isinstance(command, click.Group) else {verb: command}
        unwatched |= {verb for part in inner.values() if not hasattr(part.callback, "watched")}
    assert unwatched == QUICK


@pytest.mark.slow
def test_a_run_says_what_it_does_in_every_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    before = Watch.__call__

    def heard(self: Watch, now: Doing, figures: tuple[str, ...] = ()) -> None:
        told.append(now.what)
        before(self, now, figures)

    monkeypatch.setattr(Watch, "__call__", heard)
    assert run(["train", "digits", "--smoke", "--output", "run", "--device", "cpu", *TINY]) == 0, (
        capsys.readouterr().err
    )
    phases = list(dict.fromkeys(told))
    for phase in (
        "listing the images of digits",
        "mean and spread of the training images",
        "measuring how many workers pay",
        "measuring whether compiling pays",
        "training",
        "held-out images",
        "test images",
        "writing the report",
    ):
        assert phase in phases, phases
    told.clear()
    assert run(["eval", "run", "--device", "cpu"]) == 0
    assert "images" in told


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Can't initialize NVML", False),
        ("CUDA initialization: Found no NVIDIA driver on your system.\nPlease check", False),
        ("'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't", False),
        ("Detected call of `lr_scheduler.step()` before `optimizer.step()`.", False),
        ("Triton is not available; some kernels", False),
        ("CUDA initialization: The NVIDIA driver on your system is too old\n(found version 11040).", True),
        ("overflow encountered in cast", True),
    ],
)
def test_warnings_are_one_line_and_harmless_ones_none(message: str, shown: bool) -> None:
    said: list[str] = []
    with warnings.catch_warnings(), in_one_line(said.append):
        warnings.simplefilter("always")
        warnings.warn(message, stacklevel=1)
        warnings.warn("for programmers", FutureWarning, stacklevel=1)
        logging.getLogger("torch.utils.cpp_extension").warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/usr")
    assert said == ([f"warning: {' '.join(message.split())}"] if shown else [])


def test_torchs_log_line_about_cuda_does_not_leak() -> None:
    logger, told = logging.getLogger("torch.utils.cpp_extension"), logging.handlers.BufferingHandler(10)
    logger.addHandler(told)
    try:
        with in_one_line(print):
            logger.warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/usr/local/cuda")
            logger.warning("something else")
    finally:
        logger.removeHandler(told)
    assert [record.getMessage() for record in told.buffer] == ["something else"]


PROGRAM = """
import sys, time
from deepres.base.events import Doing
from deepres.cli.watch import watched
import deepres.base.watch as w
w._DRAWN = 0.02
@watched
def work(watch):
    watch(Doing("training", 0, 100), ("loss 0.312", "error 12.50 %", "640 images/s", "waiting for data 2 %"))
    time.sleep(1.1)
    watch(Doing("training", 31, 100), ("loss 0.312", "error 12.50 %", "640 images/s", "waiting for data 2 %"))
    time.sleep(0.15)
    print("cat.jpg: cat 93.1 %")
    watch.say("epoch 1")
    time.sleep(0.1)
work()
"""


def _in_terminal(columns: int, **environment: str) -> str:
    """All that the program writes to a pseudo-terminal so wide."""
    main, side = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TERM")}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=side, stderr=side, env={**kept, "TERM": "xterm", **environment}
    ) as process:
        os.close(side)
        written = b""
        while True:
            try:
                part = os.read(main, 4096)
            except OSError:
                break
            if not part:
                break
            written += part
        assert process.wait() == 0
    os.close(main)
    return written.decode()


@pytest.mark.medium
def test_a_real_terminal_of_eighty_columns_shows_percent_and_time() -> None:
    written = _in_terminal(80)
    drawn = [part for part in re.split(r"\r|\x1b\[K|\n", written) if part]
    assert max(map(len, drawn)) <= 79
    assert any(part.startswith("training: 31 %, 2 s left, 31 of 100, loss 0.312, error 12.50 %") for part in drawn)
    assert "\r\x1b[Kcat.jpg: cat 93.1 %\r\n" in written  # the answer stands alone on its line
    assert written.endswith("\r\x1b[K")


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_plain_text_gets_no_control_characters(environment: dict[str, str]) -> None:
    assert re.sub("\r\n", "", _in_terminal(80, **environment)) == "cat.jpg: cat 93.1 %epoch 1"


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"CI": "true", "TERM": "xterm"}])
def test_what_is_piped_has_no_control_characters(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    assert done.stdout == "cat.jpg: cat 93.1 %\n"
    assert done.stderr == "epoch 1\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (40, "40 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3000, "50 min"),
        (9000, "2.5 h"),
        (86400 * 3, "3.0 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_home_that_cannot_be_written_is_no_line_of_matplotlib(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with in_one_line(said.append):
        for text in ("mkdir -p failed for path /x", "Matplotlib created a temporary cache directory at /tmp/x because"):
            logging.getLogger("matplotlib").warning(text)
        logging.getLogger("matplotlib").warning("what matters")
    assert said == []
    assert capsys.readouterr().err == "what matters\n"
