"""A queue: what its file may say, in which order it works, how it stands, how it is held, killed, gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from deepres.base.events import Doing
from deepres.base.files import digest
from deepres.base.locks import is_locked
from deepres.base.wording import duration
from deepres.cli import main
from deepres.cli.queue import table
from deepres.runs.lock import asked_to_stop
from deepres.runs.progress import print_event
from deepres.studies import study as studies_module
from deepres.studies.executor import carry_out
from deepres.studies.plan import Job
from deepres.studies.queue import Queue, load_queue, queued, studies_of
from deepres.studies.queue_gate import Gate
from deepres.studies.queue_status import NOW, PAUSED, Now, queue_status, seconds_per_step
from deepres.studies.study import Paper, Printed, Study
from deepres.train.loop import Step
from processes import Popen

CPU = torch.device("cpu")
TINY = ("train.iterations=24", "train.batch_size=8", "train.accumulate=1", "train.compile=off")
TINY = (*TINY, "train.save_every_seconds=0.01", "train.precision=float32")


@pytest.fixture
def tiny(study: Study) -> Study:
    """Its runs at full scale are 24 steps of 8 images."""
    printed = {"test": Printed(value=90.0)}
    rows = (study.rows[0], *(row.replace(edits=TINY, printed=printed) for row in study.rows[1:]))
    return study.replace(rows=rows, tolerance=50.0)


@pytest.fixture(autouse=True)
def known(tiny: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The test's studies are the only ones."""
    bare = tiny.rows[1].replace(printed={})
    read = tiny.replace(name="test/read", columns=tiny.columns[2:], claims=(), rows=(bare,))
    lacking = tiny.replace(name="test/lacking", lacking="detection is not built yet")
    whole = tiny.replace(name="test/whole", rows=tuple(row.replace(edits=()) for row in tiny.rows))
    paper = Paper(name="test", citation="nobody", studies=(tiny, read, lacking, whole))
    (tmp_path / "paper.json").write_text(paper.to_json())
    studies_module.studies.cache_clear()
    monkeypatch.setattr(studies_module, "papers", lambda: (paper,))
    yield
    studies_module.studies.cache_clear()


def _queue(*runs: dict[str, Any], folder: str = "full") -> Queue:
    return Queue.model_validate({"folder": folder, "runs": runs})


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def made(*runs: dict[str, Any]) -> Path:
        path = tmp_path / "queue.json"
        path.write_text(json.dumps({"folder": str(tmp_path / "full"), "runs": runs}))
        return path

    return made


def test_runs_come_by_turn_then_by_cost_and_each_once() -> None:
    whole = {"study": "test/whole"}
    line = queued(
        _queue(
            {**whole, "rows": ["ResNet-20"], "seeds": [0, 3], "turn": 1},
            {**whole, "rows": ["plain-20"], "precision": "float32", "turn": 1},
            {"study": "test/table1", "turn": 1},
            {**whole, "seeds": [3]},
        )
    )
    told = [(each.turn, each.study.name, each.row, each.job.run.seed, each.job.steps) for each in line]
    assert told == [
        (0, "test/whole", "ResNet-20", 3, 64_000),
        (0, "test/whole", "plain-20", 3, 64_000),
        (1, "test/table1", "plain-20", 0, 24),
        (1, "test/table1", "ResNet-20", 0, 24),
        (1, "test/whole", "ResNet-20", 0, 64_000),
        (1, "test/whole", "plain-20, float32", 0, 64_000),
    ]
    assert line[-1].job.run.train.precision == "float32"
    assert line[2].job.macs == pytest.approx(line[1].job.macs * 24 * 8 / 64_000 / 128, rel=0.01)


def test_a_study_is_reported_whole_and_a_variant_by_its_rows() -> None:
    whole = {"study": "test/whole"}
    found = studies_of(
        _queue(
            {**whole, "rows": ["ResNet-20"]},
            {**whole, "rows": ["plain-20"], "seeds": [1, 4]},
            {**whole, "rows": ["ResNet-20"], "precision": "bfloat16"},
        )
    )
    assert [(study.name, len(study.rows), seeds) for study, seeds in found] == [
        ("test/whole", 3, [0, 1, 4]),
        ("test/whole", 1, None),
    ]
    assert found[1][0].rows[0].edits == ("train.precision=bfloat16",)
    assert found[1][0].note.endswith("was trained in bfloat16.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("[]", "wanted a JSON object, given list"),
        ('{"folder": "f"}', "runs: missing"),
        ('{"folder": "f", "runs": []}', "runs"),
        ('{"folder": "", "runs": [{"study": "test/table1"}]}', "folder: "),
        ('{"folder": "a\\u0000b", "runs": [{"study": "test/table1"}]}', "no name of a file"),
        (
            '{"folder": "f", "runs": [{"study": "test/table8"}]}',
            "study 'test/table8': unknown; did you mean test/table1",
        ),
        ('{"folder": "f", "runs": [{"study": "test/table1", "rows": ["ResNet-21"]}]}', "did you mean ResNet-20"),
        (
            '{"folder": "f", "runs": [{"study": "test/table1", "rows": ["ResNet-20", "Others"]}]}',
            "test/table1, Others: not",
        ),
        ('{"folder": "f", "runs": [{"study": "test/read"}]}', "test/read: nothing to train: its figures are"),
        ('{"folder": "f", "runs": [{"study": "test/lacking"}]}', "nothing to train: detection is not built yet"),
        ('{"folder": "f", "runs": [{"study": "test/table1", "seeds": []}]}', "runs.0.seeds"),
        ('{"folder": "f", "runs": [{"study": "test/table1", "seeds": [-1]}]}', "runs.0.seeds"),
        ('{"folder": "f", "runs": [{"study": "test/table1", "seeds": [1e9]}]}', "runs.0.seeds"),
        ('{"folder": "f", "runs": [{"study": "test/table1", "seeds": 2}]}', "runs.0.seeds"),
        ('{"folder": "f", "runs": [{"study": "test/table1", "precision": "int8"}]}', "runs.0.precision: "),
        ('{"folder": "f", "runs": [{"study": "test/table1", "row": "ResNet-20"}]}', "field 'runs.0.row': unknown"),
        ('{"folder": "f", "runs": [{"study": "test/table1", "turn": NaN}]}', "runs.0.turn: "),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_queue_is_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "queue.json"
    path.write_text(text)
    assert main.run(["reproduce", "--queue", str(path), "--status"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"deepres: {path}: ")
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.medium
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--queue", "no.json"], "no.json: wanted a readable queue of runs"),
        (["--queue", ".", "--status"], "no regular file"),
        (["--status"], "--status: of which queue? add --queue FILE"),
        (["test/table1", "--hours", "3"], "--hours: of which queue?"),
        (["--queue", "FILE", "test/table1"], "test/table1: not with --queue, whose file says what is run"),
        (["--queue", "FILE", "--only", "x"], "--only: not with --queue"),
        (["--queue", "FILE", "--scale", "full"], "--scale: not with --queue"),
        (["--queue", "FILE", "--dry-run"], "--dry-run: not with --queue"),
        (["--queue", "FILE", "--status", "--pause"], "--status with --pause: one thing at a time"),
        (["--queue", "FILE", "--pause", "--hours", "1"], "--pause with --hours"),
        (["--queue", "FILE", "--json"], "add --status"),
        (["--queue", "FILE", "--hours", "nan"], "nan: wanted a number of hours above 0"),
        (["--queue", "FILE", "--hours", "0"], "0: wanted a number of hours above 0"),
        (["--queue", "FILE", "--data", "x.npz"], "--data x.npz: of which set? write --data cifar10=x.npz"),
        (
            ["--queue", "FILE", "--data", "cifar100=x.npz"],
            "--data cifar100: the queue does not use it; it uses cifar10",
        ),
        (["--queue", "FILE", "--data", "cifar10=x.npz"], "x.npz"),
        (["--queue", "FILE"], "cifar10 is not here; unpack"),
        (["--queue", "FILE", "--device", "tpu"], "--device tpu"),
        (["--queue", "FILE", "--output", "run"], "exists already, as a run"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(
    words: list[str],
    told: str,
    file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deepres.base.priority.give_way", list)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    path = str(file({"study": "test/table1"}))
    before = sorted(tmp_path.rglob("*"))
    assert main.run(["reproduce", *(path if word == "FILE" else word for word in words)]) == 2
    assert sorted(tmp_path.rglob("*")) == before
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


# how it stands, of files made by hand


def _begun(job: Job, home: Path, seconds: list[float], state: int, each: int = 390) -> None:
    folder = job.folder(home)
    (folder / "state" / f"step-{state:09}").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    rows = [{"step": each * (place + 1), "seconds": spent} for place, spent in enumerate(seconds)]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 39')


def _done(job: Job, home: Path) -> None:
    (job.folder(home)).mkdir(parents=True)
    (job.folder(home) / "summary.json").write_text("{}")
    job.evidence(home).parent.mkdir(exist_ok=True)
    job.evidence(home).write_text(json.dumps({"claim": "test/whole, plain-20, seed 0: test error 8.90"}))


def test_the_status_says_what_is_done_what_runs_and_when_the_next_ends(tmp_path: Path) -> None:
    line = queued(_queue({"study": "test/whole", "seeds": [0, 1]}))
    plain, other, residual, last = (each.job for each in line)
    _done(plain, tmp_path)
    _begun(other, tmp_path, [78.0, 7800.0, 390.0, 39.0, 39.0], 2000)  # the median epoch has 0.2 s a step
    Now(runs=(other.name,)).save(tmp_path / NOW)
    now = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)

    idle = queue_status(line, tmp_path, tmp_path / "none.json")
    assert [one.stands for one in idle.runs] == ["done", "begun", "waits", "waits"], "what it did when it was killed"
    assert [one.done for one in idle.runs] == [64_000, 2000, 0, 0]
    left = 0.2 * 62_000
    assert [one.seconds_left for one in idle.runs] == [None, *[pytest.approx(each) for each in (left, 12_800, 12_800)]]
    assert idle.sentences(now) == [
        "1 of 4 runs done",
        "no queue works here at this moment",
        f"next to end: {other.name}, in about 3.4 h, Fri 27 Nov 15:26",
        "all: in about 11 h, Fri 27 Nov 22:33",
    ]
    (tmp_path / PAUSED).write_text("")
    with (tmp_path / ".lock").open("a") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        Now(runs=(other.name,), held=True, refused={last.name: "the disk is full"}).save(tmp_path / NOW)
        works = queue_status(line, tmp_path, tmp_path / "none.json")
    assert works.sentences(now)[1:3] == [f"could not go on: {last.name}: the disk is full", "paused until --unpause"]
    shown = table(works, now).splitlines()
    assert shown[0].split() == ["run", "of", "steps", "multiply-adds", "time", "left"]
    assert shown[2].split()[-7:] == ["2,000", "of", "64,000", "1e+15", "3.4", "h", "runs"]
    assert shown[3].endswith(" 3.6 h  waits")
    assert shown[4].endswith(" refused")
    assert "test/whole, plain-20, seed 0: test error 8.90" in shown
    assert residual.name in shown[3]


def test_runs_side_by_side_end_earlier_than_one_after_the_other(tmp_path: Path) -> None:
    line = queued(_queue({"study": "test/whole", "seeds": [0, 1]}))
    first, second = (each.job for each in line[:2])
    _begun(first, tmp_path, [39.0], 20_000)
    _begun(second, tmp_path, [39.0], 40_000)
    with (tmp_path / ".lock").open("a") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        Now(runs=(first.name, second.name)).save(tmp_path / NOW)
        works = queue_status(line, tmp_path, tmp_path / "none.json")
    left = [one.seconds_left or 0.0 for one in works.runs]
    assert works.current is not None
    assert works.current.run == second.name, "it has fewer steps left than the one before it"
    all_ended = max(left[1] + left[2], left[0] + left[3])
    assert works.sentences(datetime(2026, 11, 27, tzinfo=UTC))[-1].startswith(f"all: in about {duration(all_ended)}, ")
    assert all_ended < 0.6 * sum(left)


def test_before_the_first_epoch_the_time_is_not_known_and_when_all_are_done_nothing_is_left(tmp_path: Path) -> None:
    line = queued(_queue({"study": "test/whole", "rows": ["plain-20"]}))
    now = datetime(2026, 11, 27, tzinfo=UTC)
    _begun(line[0].job, tmp_path, [], 0)
    found = queue_status(line, tmp_path, tmp_path / "none.json")
    assert found.sentences(now)[-1].endswith(", when is not known before its first epoch has ended")
    _done(queued(_queue({"study": "test/whole", "rows": ["ResNet-20"]}))[0].job, tmp_path)
    line = queued(_queue({"study": "test/whole", "rows": ["ResNet-20"]}))
    assert queue_status(line, tmp_path, tmp_path / "none.json").sentences(now) == ["1 of 1 run done"]


def test_rows_of_a_history_that_do_not_go_on_are_passed_over(tmp_path: Path) -> None:
    rows = [{"step": 10, "seconds": 20.0}, {"step": 10, "seconds": 9.0}, {"step": 5, "seconds": 9.0}, {"step": 20}]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 3')
    assert seconds_per_step(tmp_path) == 2.0


def test_before_the_first_epoch_a_run_has_the_rate_of_its_states(tmp_path: Path) -> None:
    line = queued(_queue({"study": "test/whole", "rows": ["plain-20"]}))
    _begun(line[0].job, tmp_path, [], 0)
    for step in (19, 59):
        path = line[0].job.folder(tmp_path) / "state" / f"step-{step:09}"
        path.mkdir()
        os.utime(path, (1000.0, 1000.0 + 2 * step))
    (one,) = queue_status(line, tmp_path, tmp_path / "none.json").runs
    assert (one.done, one.seconds_left) == (59, pytest.approx(2 * (64_000 - 59)))


@pytest.mark.medium
def test_the_status_needs_no_torch(file: Callable[..., Path]) -> None:
    path = file({"study": "resnet/table6", "rows": ["ResNet-20"]})
    program = (
        "import sys\nfrom deepres.cli.main import run\n"
        f"assert run(['reproduce', '--queue', {str(path)!r}, '--status']) == 0\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 of 1 run done" in done.stdout


# the gate that every event passes


def _step(number: int) -> Step:
    return Step(number, 10, 1.0, {}, 8, 0.1, 0.0, 0.1)


def test_a_run_is_held_while_the_file_lies_there_and_says_so(tmp_path: Path) -> None:
    shown: list[Any] = []
    held: list[bool] = []

    def wait(seconds: float) -> None:
        held.append(Now.model_validate_json((tmp_path / NOW).read_text()).held)
        if len(held) == 3:
            (tmp_path / PAUSED).unlink()

    gate = Gate(tmp_path, lambda name, event: shown.append(event), [], wait=wait, now=Now(runs=("one",)))
    gate("one", _step(1))
    assert not held
    (tmp_path / PAUSED).write_text("")
    gate("one", _step(2))
    assert held == [True] * 3
    assert Now.model_validate_json((tmp_path / NOW).read_text()) == Now(runs=("one",))
    assert [event.what for event in shown if isinstance(event, Doing)] == ["paused until --unpause"]


@pytest.mark.parametrize("why", ["a signal", "the time", "a signal while it is held", "the time while it is held"])
def test_a_run_is_asked_to_stop_between_two_steps_and_once(why: str, tmp_path: Path) -> None:
    now = [0.0]
    with asked_to_stop() as outside:
        gate = Gate(tmp_path, lambda name, event: None, outside, ends=100.0, clock=lambda: now[0])

        def wait(seconds: float) -> None:
            if why == "a signal while it is held":
                signal.raise_signal(signal.SIGTERM)
            now[0] += 60.0 if why == "the time while it is held" else 0.0

        gate.wait = wait
        with asked_to_stop() as inside:  # as a run that trains
            gate("one", _step(1))
            assert not inside
            if why == "a signal":
                outside.append(signal.SIGINT)
            elif why == "the time":
                now[0] = 100.0
            else:
                (tmp_path / PAUSED).write_text("")
            gate("one", Doing("held-out images"))
            gate("one", _step(2))
            gate("one", _step(3)) if not why.endswith("held") else None
            assert inside == [signal.SIGINT if why == "a signal" else signal.SIGTERM]


# whole queues

PROGRAM = """
import sys
from pathlib import Path
from deepres.studies import study as module
paper = module.Paper.model_validate_json((Path(__file__).parent / "paper.json").read_text())
module.papers = lambda: (paper,)
from deepres.base import priority
priority.give_way = lambda: ["gave way"]  # or the test would, to all others
from deepres.cli.main import main
if __name__ == "__main__":
    del sys.argv[1]
    main()
"""


def _typed(folder: Path, *words: object) -> "subprocess.Popen[str]":
    program = folder / "typed.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(folder / "paper.json"), "reproduce", *map(str, words)]
    begun = subprocess.Popen if "--at-once" in words else Popen  # whose processes begin others
    return begun(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def _until(true: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    for _ in range(15_000):
        if true():
            return
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("waited for five minutes")


def _training(of: int) -> list[int]:
    """The processes that it has begun for its runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            pid, _, rest = path.read_text().partition(" (")
            own = int(rest.rpartition(")")[2].split()[1]) == of
            found += [int(pid)] if own and b"spawn_main" in (path.parent / "cmdline").read_bytes() else []
    return found


def _steps(job: Job, home: Path) -> int:
    return max((int(path.name[5:]) for path in job.folder(home).glob("state/step-*")), default=0)


@pytest.mark.long
def test_a_queue_is_held_killed_and_gone_on_with_and_its_runs_are_as_those_of_reproduce(
    tmp_path: Path,
    images: Path,
    file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, home = file({"study": "test/table1", "rows": ["plain-20"]}), tmp_path / "full"
    job = queued(load_queue(path), {"cifar10": str(images)})[0].job
    words = ("--queue", path, "--data", f"cifar10={images}", "--device", "cpu")
    assert main.run(["reproduce", "--queue", str(path), "--pause"]) == 0
    assert "no queue works here" in capsys.readouterr().out
    first = _typed(tmp_path, *words)
    _until(lambda: (home / NOW).is_file() and Now.model_validate_json((home / NOW).read_text()).held, first)
    second = _typed(tmp_path, *words)
    told = second.communicate()[1]
    assert second.returncode == 2
    assert "another queue works there; see it with --status" in told.splitlines()[-1]
    assert main.run(["reproduce", "--queue", str(path), "--unpause"]) == 0
    _until(lambda: _steps(job, home) >= 3, first)
    assert main.run(["reproduce", "--queue", str(path), "--pause"]) == 0
    assert f"{home}: paused, until --unpause" in capsys.readouterr().out
    held = _steps(job, home)
    assert held < job.steps
    time.sleep(0.5)
    assert _steps(job, home) == held
    assert main.run(["reproduce", "--queue", str(path), "--status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["works"], status["paused"], status["runs"][0]["stands"]) == (True, True, "runs")
    first.kill()
    assert "gave way" in first.communicate()[1]
    assert main.run(["reproduce", "--queue", str(path), "--unpause"]) == 0

    third = _typed(tmp_path, *words)
    _until(lambda: _steps(job, home) > held, third)
    third.send_signal(signal.SIGTERM)
    told = third.communicate()[1]
    if third.returncode:  # else it had ended
        assert third.returncode == 128 + signal.SIGTERM
        assert told.splitlines()[-1] == "deepres: stopped; the same command goes on"
    fourth = _typed(tmp_path, *words)
    told = fourth.communicate()[1]
    assert fourth.returncode == 0, told
    carry_out(job, tmp_path / "whole", CPU, print_event)
    ours, whole = (digest(job.folder(place) / "model.safetensors") for place in (home, tmp_path / "whole"))
    assert ours == whole, "as if it had never been killed"

    evidence = json.loads(job.evidence(home).read_text())
    typed_words = ["test/table1", "--only", "plain-20", "--seeds", "1", "--data", str(images), "--device", "cpu"]
    monkeypatch.setattr(
        sys, "argv", ["deepres", "reproduce", *typed_words]
    )  # where the words of a command are told from
    assert main.run(["reproduce", *typed_words, "--output", str(tmp_path / "typed")]) == 0
    typed = json.loads(job.evidence(tmp_path / "typed").read_text())
    assert evidence["command"] == " ".join(["deepres", "reproduce", *map(str, words)])
    assert typed["command"] == " ".join(["deepres", "reproduce", *typed_words])
    for mine in (evidence, typed):
        assert mine.pop("minutes") > 0
        del mine["command"]
    assert (evidence.pop("sessions"), typed.pop("sessions")) in [(3, 1), (2, 1)]
    assert evidence == typed
    assert evidence["weights_sha256"] == ours
    assert (evidence["seed"], evidence["num_test_images"], evidence["verdict"]) == (0, 60, "reproduced")
    assert [row["step"] for row in evidence["curve"]][-1] == job.steps
    assert evidence["claim"].startswith("test/table1, plain-20, float32, seed 0: test error ")
    assert {"hardware", "versions", "precision", "steps_taken", "error"} <= {
        name for name, value in evidence.items() if value
    }


@pytest.mark.long
def test_a_run_that_cannot_go_on_keeps_no_other_waiting(
    tmp_path: Path,
    images: Path,
    file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deepres.base.priority.give_way", list)
    path, home = file({"study": "test/table1"}, {"study": "test/table1", "precision": "bfloat16"}), tmp_path / "full"
    plain, residual = (each.job for each in queued(load_queue(path))[:2])
    plain.folder(home).mkdir(parents=True)
    (plain.folder(home) / "run.json").write_text("no run")
    words = ["reproduce", "--queue", str(path), "--data", f"cifar10={images}", "--device", "cpu"]
    assert main.run(words) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"deepres: 1 run of the queue could not go on; {plain.name}: ")
    assert residual.evidence(home).is_file()
    assert not plain.evidence(home).exists()
    assert (home / "reports" / "test-table1-full" / "report.html").is_file()
    (plain.folder(home) / "run.json").unlink()
    # killed while it wrote down what came of it
    (residual.folder(home) / "test.json").unlink()
    residual.evidence(home).unlink()
    assert main.run(words) == 0
    assert (residual.folder(home) / "test.json").is_file()
    assert plain.evidence(home).is_file()
    assert main.run(words) == 0, "nothing is left to do"


@pytest.mark.long
def test_several_runs_at_once_are_held_stopped_and_gone_on_with_and_one_that_dies_takes_no_other_along(
    tmp_path: Path, images: Path, file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path, home = file({"study": "test/table1", "seeds": [0, 1]}), tmp_path / "full"
    jobs = [each.job for each in queued(load_queue(path), {"cifar10": str(images)})]
    assert len(jobs) == 4
    words = ("--queue", path, "--data", f"cifar10={images}", "--device", "cpu", "--at-once", "2")
    first = _typed(tmp_path, *words)
    _until(lambda: all(_steps(job, home) >= 2 for job in jobs[:2]), first)
    assert main.run(["reproduce", "--queue", str(path), "--pause"]) == 0
    held = [_steps(job, home) for job in jobs[:2]]
    time.sleep(0.5)
    assert [_steps(job, home) for job in jobs[:2]] == held
    assert main.run(["reproduce", "--queue", str(path), "--status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out.partition("until --unpause")[2])
    assert [run["stands"] for run in status["runs"]] == ["runs", "runs", "waits", "waits"]
    first.send_signal(signal.SIGTERM)
    told = first.communicate()[1]
    assert first.returncode == 128 + signal.SIGTERM, told
    assert told.splitlines()[-1] == "deepres: stopped; the same command goes on"
    assert main.run(["reproduce", "--queue", str(path), "--unpause"]) == 0

    second = _typed(tmp_path, *words)
    _until(lambda: bool(_training(second.pid)), second)
    os.kill(_training(second.pid)[0], signal.SIGKILL)
    told = second.communicate()[1]
    assert second.returncode == 1, told
    assert "1 run of the queue could not go on; " in told.splitlines()[-1]
    assert "its process died (-9); the same command goes on" in told.splitlines()[-1]
    assert sum(job.evidence(home).is_file() for job in jobs) == 3
    third = _typed(tmp_path, *words)
    told = third.communicate()[1]
    assert third.returncode == 0, told
    for job in jobs:
        carry_out(job, tmp_path / "whole", CPU, print_event)
        ours, whole = (digest(job.folder(place) / "model.safetensors") for place in (home, tmp_path / "whole"))
        assert ours == whole, "as if nothing had ever happened to it"


@pytest.mark.long
def test_runs_at_once_end_with_who_began_them(tmp_path: Path, images: Path, file: Callable[..., Path]) -> None:
    path, home = file({"study": "test/table1", "seeds": [0, 1]}), tmp_path / "full"
    jobs = [each.job for each in queued(load_queue(path), {"cifar10": str(images)})]
    words = ("--queue", path, "--data", f"cifar10={images}", "--device", "cpu", "--at-once", "2")
    process = _typed(tmp_path, *words)
    _until(lambda: all(_steps(job, home) >= 2 for job in jobs[:2]), process)
    assert main.run(["reproduce", "--queue", str(path), "--pause"]) == 0
    process.kill()
    process.communicate()
    (home / PAUSED).unlink()
    _until(lambda: not any(is_locked(job.folder(home)) for job in jobs[:2]))
    assert all(_steps(job, home) < job.steps for job in jobs[:2])
    last = _typed(tmp_path, *words)
    told = last.communicate()[1]
    assert last.returncode == 0, told
    assert all(job.evidence(home).is_file() for job in jobs)
