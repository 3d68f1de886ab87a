"""Texts from outside that would steer a terminal, and streams that take nothing more: stdout full, closed, gone."""

import gc
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.base.cells import csv_of
from deepres.base.errors import InputError, unknown
from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.base.wording import blamed, reason_alone, shown
from deepres.cli.main import run
from deepres.cli.streams import ReaderGoneError, SafeStream

TITLE, CLIPBOARD, CLEAR, CSI = "\x1b]0;owned\x07", "\x1b]52;c;cm0gLXJm\x07", "\x1b[2J\x1b[H", "\x9b31m"
EVIL = [
    TITLE,
    CLIPBOARD,
    CLEAR,
    CSI,
    "\rpassed",
    "\x08\x08",
    "\u202egpj.exe",
    "\u2066x\u2069",
    "\x7f",
    "a\u2028b",
]
STEERING = set(map(chr, [*range(9), *range(11, 32), *range(127, 160)])) | set(
    "\u202a\u202b\u202d\u202e\u2066\u2067\u2068"
)


def steers(text: str) -> bool:
    return any(letter in STEERING for letter in text)


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_that_is_shown_steers(evil: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    safe = shown(f"cat{evil}")
    assert safe.isprintable()
    assert shown(safe) == safe
    assert json.loads(f'"{safe}"') == f"cat{evil}"
    for refusal in (InputError(f"{evil}: no"), InputError("x", [evil]), unknown("source", evil, ["digits"])):
        assert not steers(str(refusal)), repr(str(refusal))
    assert blamed(evil, f"{evil}: empty") == blamed(evil, str(InputError(f"{evil}: empty"))) == f"{shown(evil)}: empty"
    assert reason_alone(evil, str(InputError(f"{evil}: empty"))) == "empty"
    out = io.StringIO()
    watch = Watch("starting", out=out, live=True)
    watch(Doing(f"listing {evil}", 1, 3))
    assert not steers(watch.line())
    watch.say(f"left out: {evil}")
    watch.write(out, evil)
    assert not steers(out.getvalue())
    assert not steers(csv_of([[evil, 1]]).replace("\r", ""))
    for words in (["describe", evil], ["models", evil], [evil], ["eval", "--protocol", evil]):
        assert run(words) == 2
        said = capsys.readouterr()
        assert not steers(said.err + said.out), (words, said)
        assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", ["café", "猫\u3000犬", "नमस्\u200dते", "👩\u200d🔬", "a\u00a0b", "می\u200cخواهم"])
def test_names_of_all_languages_stay(name: str) -> None:
    assert shown(name) == name


@pytest.mark.slow
def test_every_verb_shows_class_and_file_names_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for label in (f"cat{TITLE}".replace("/", ""), f"dog{CSI}", f"{CLEAR}\u202eeel"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(5):
            picture = Image.fromarray(draw.integers(0, 256, (36, 36, 3), dtype=np.uint8))
            picture.save(tmp_path / "photos" / label / f"{number}{CLIPBOARD}.png")
    (tmp_path / "photos" / label / f"bad{TITLE}.png").write_bytes(b"no picture")
    tiny = ["--recipe", "small", "-b", "4", "--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16"]
    short = ["--epochs", "1", "--compile", "off", "--workers", "0", "--on-bad-image", "skip"]
    cpu = ["--device", "cpu"]
    verbs = [
        (["data", "check", "photos"], 1),
        (["data", "check", "photos", "--json"], 1),
        (["train", "photos", *tiny, "--workers", "0", *cpu, "--output", "stopped"], 2),
        (["train", "photos", *tiny, *short, *cpu, "--output", "run"], 0),
        (["eval", "run", "--worst", "worst.csv", *cpu], 0),
        (["eval", "run", "--json", *cpu], 0),
        (["predict", "run", "photos", "--csv", "answers.csv", *cpu], 1),
        (["predict", "run", f"photos/{TITLE}.png", *cpu], 2),
        (["predict", "run", "photos", "--json", *cpu], 1),
        (["predict", "run", "photos", "--cam", "maps", "--class", f"cot{TITLE}", *cpu], 2),
        (["data", "show", "photos", "--set", "data.on_bad_image=skip"], 0),
        (["data", "split", "photos"], 0),
        (["weights", "inspect", "run"], 0),
    ]
    for words, expected in verbs:
        code = run(words)
        said = capsys.readouterr()
        assert code == expected, (words, said.err)
        assert not steers(said.out + said.err), (
            words,
            [line for line in (said.out + said.err).splitlines() if steers(line)],
        )
    for name in ("run/log.txt", "run/worst.csv", "worst.csv", "answers.csv", "run/sessions.jsonl", "run/history.jsonl"):
        assert not steers((tmp_path / name).read_text()), name
    for events in (tmp_path / "run" / "events").iterdir():
        assert CLIPBOARD.encode() not in events.read_bytes()


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_stdout_that_is_full_ends_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert run(["describe", "resnet20_cifar", "--svg", str(tmp_path / "net.svg")]) == 74
    assert (tmp_path / "net.svg").is_file()
    assert capsys.readouterr().err == (
        "deepres: stdout cannot be written (No space left on device); what it should show is lost, files are whole\n"
    )
    monkeypatch.setattr(sys, "stderr", Full())
    assert run(["describe", "nothing"]) == 2


def test_a_reader_that_went_away_ends_the_work_on_stdout_only() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(ReaderGoneError):
        SafeStream(Gone(), ends=True).write("x")
    err = SafeStream(Gone(), ends=False)
    assert err.write("x") == 1
    assert err.lost


@pytest.mark.medium
def test_commands_leave_no_streams_behind(capsys: pytest.CaptureFixture[str]) -> None:
    """In one process, as a notebook or a server gives them."""

    def left() -> int:
        gc.collect()
        return sum(type(each) is SafeStream for each in gc.get_objects())

    before = left()
    for _ in range(5):
        assert run(["describe", "no_such_network"]) == 2
        assert run(["describe", "resnet20_cifar"]) == 0
        capsys.readouterr()
    assert left() <= before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        (">/dev/full", 74, "deepres: stdout cannot be written (No space left on device)"),
        (">&-", 74, "deepres: stdout cannot be written (it is closed)"),
        (">/dev/full 2>&1", 74, ""),
        (">&- 2>&- <&-", 74, ""),
        ("2>&-", 0, ""),
        ("| true", 0, ""),
    ],
)
def test_a_program_whose_stdout_is_lost(redirected: str, code: int, said: str) -> None:
    command = f"set -o pipefail; {sys.executable} -m deepres describe resnet20_cifar {redirected}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.endswith(" so far")]  # of a busy machine
    assert len(lines) == (1 if said else 0), done.stderr
    assert said in done.stderr
