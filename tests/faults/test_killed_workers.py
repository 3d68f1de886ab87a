"""Loader processes that are killed, as by a machine short of memory: replaced bitwise, or given up in one line."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import distributed

from deepres.base.errors import DeepresError, InputError, RunError
from deepres.base.files import digest
from deepres.cli.main import run
from deepres.data.images import FileImages
from deepres.data.loading import processes
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.loading.processes import LIVES, DiedError, by_processes
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics, measure_statistics
from deepres.nn.weights.files import WEIGHTS
from deepres.runs.context import RunContext
from deepres.runs.rescue import resumable

FIT = Preparation(fit="crop", resize=9, crop=8)
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills by the means of Linux")


def square(task: int) -> torch.Tensor:
    return torch.full((400,), float(task)) ** 2


def deadly(task: int) -> torch.Tensor:
    if task == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(task)


def once(task: tuple[int, Path]) -> torch.Tensor:
    number, mark = task
    if number in (5, 6) and not (mark / str(number)).exists():
        (mark / str(number)).touch()
        os.kill(os.getpid(), signal.SIGUSR1 if number == 5 else signal.SIGKILL)
    return square(number)


def greedy(task: int) -> torch.Tensor:
    raise MemoryError


def mistaken(task: int) -> torch.Tensor:
    raise KeyError("a mistake of ours")


def talkative(task: int) -> str:
    return "x" * 300_000


@contextmanager
def collectives() -> Iterator[None]:
    """As in a process of a run on several: workers are not forked from this one."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@pytest.mark.medium
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.filterwarnings("ignore:loader process")
def test_a_killed_process_is_replaced_and_no_answer_lost_or_doubled(number: int) -> None:
    answers = []
    for task, answer in enumerate(by_processes(square, range(40), number, ahead=3)):
        answers.append(answer)
        if task % 6 == 5:
            victim = multiprocessing.active_children()[task % number]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
    assert [int(answer[0]) for answer in answers] == [task**2 for task in range(40)]
    assert not multiprocessing.active_children()


@pytest.mark.medium
def test_one_that_dies_by_itself_is_replaced_and_that_is_said(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"loader process \d+ died \(killed by SIG\w+\).*another reads again") as said:
        answers = list(by_processes(once, ((number, tmp_path) for number in range(9)), 2, ahead=2))
    assert [int(answer[0]) for answer in answers] == [number**2 for number in range(9)]
    assert {name for each in said for name in ("SIGUSR1", "SIGKILL") if name in str(each.message)} == {
        "SIGUSR1",
        "SIGKILL",
    }


@pytest.mark.medium
@pytest.mark.parametrize(
    ("work", "task", "how"), [(deadly, 5, "killed by SIGKILL"), (greedy, 0, "no memory left")], ids=["kill", "memory"]
)
@pytest.mark.filterwarnings("ignore:loader process")
def test_a_task_that_kills_each_is_given_up_in_one_line(work: Any, task: int, how: str) -> None:
    with pytest.raises(DiedError, match=f"^{LIVES} loader processes died in turn .{how}.: .*--workers 0") as caught:
        list(by_processes(work, range(40), 2, ahead=3))
    assert caught.value.task == task
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


@pytest.mark.medium
def test_mistakes_of_ours_keep_their_traceback_and_large_answers_pass() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)in a loader process:.*Traceback.*a mistake of ours"):
        list(by_processes(mistaken, range(3), 1, ahead=1))
    assert len(list(by_processes(talkative, range(12), 2, ahead=4))) == 12
    assert list(by_processes(square, [], 3, ahead=2)) == []


@pytest.mark.medium
def test_no_more_processes_than_tasks_and_none_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = by_processes(square, range(2), 50, ahead=2)
    next(answers)
    assert len(multiprocessing.active_children()) == 2
    answers.close()

    def refused(_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.ForkProcess.start", refused)
    with pytest.raises(RunError, match=r"cannot be started \(.*temporarily unavailable\); use fewer: --workers 0"):
        next(by_processes(square, range(2), 1, ahead=1))


@pytest.mark.medium
def test_stopping_by_signals_is_left_to_the_parent() -> None:
    answers = by_processes(square, range(40), 1, ahead=1)
    next(answers)
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(worker.pid or 0, number)
    assert len(list(answers)) == 39


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import multiprocessing, os, time\nfrom deepres.data.loading.processes import by_processes\n"
        "answers = by_processes(time.sleep, [0, 0, 600, 600, 600], 3, ahead=2)\nnext(answers); next(answers)\n"
        "print(*[each.pid for each in multiprocessing.active_children()], flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 3
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/status").is_file() for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [pid for pid in pids if Path(f"/proc/{pid}/status").is_file()]


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    folder = tmp_path / "pictures"
    for number in range(12):
        path = folder / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((12, 12), 40 + 8 * number).convert("RGB").save(path)
    return FileImages(tuple(sorted(folder.glob("*/*.png"))), torch.tensor([0] * 6 + [1] * 6), ("cat", "dog"))


def statistics(files: FileImages) -> Statistics:
    return measure_statistics(files, FIT)


@pytest.mark.medium
def test_the_images_over_which_processes_die_are_named(files: FileImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepres.data.loading.processes.LIVES", 1)

    def image(self: FileImages, index: int) -> torch.Tensor:
        os._exit(9)

    known = statistics(files)
    monkeypatch.setattr(FileImages, "image", image)
    with pytest.raises(DiedError, match=r"\(exit code 9\).*each was reading .*00\.png, .*02\.png"):
        list(evaluation_batches(files, FIT, known, LoaderConfig(batch_size=2, workers=1)))


def test_one_batch_is_read_without_a_worker(files: FileImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_Hand", None)
    assert len(list(evaluation_batches(files, FIT, statistics(files), LoaderConfig(batch_size=12, workers=4)))) == 1


@pytest.mark.slow
def test_beside_collectives_nothing_is_forked_from_here_and_no_bit_changes(files: FileImages) -> None:
    known = statistics(files)
    here = list(evaluation_batches(files, FIT, known, LoaderConfig(batch_size=2)))
    with collectives():
        batches = evaluation_batches(files, FIT, known, LoaderConfig(batch_size=2, workers=2))
        got = [next(batches)]
        mine = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        workers = {str(each.pid) for each in multiprocessing.active_children()}
        assert len(workers) == 2
        assert not workers & set(mine)  # they are the server's children
        got += batches
    for one, other in zip(got, here, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


def test_files_travel_as_one_text_and_arrive_as_they_were(files: FileImages) -> None:
    import pickle

    for sent in (files, files.select([]), files.select([3])):
        come = pickle.loads(pickle.dumps(sent))
        assert list(come.paths) == list(sent.paths)
        assert come.name(0) == sent.name(0) if len(sent) else len(come) == 0
        assert come.select(range(len(sent))).paths == tuple(sent.paths)


TRAIN = ["--device", "cpu", "--compile", "off", "--batch-size", "4", "--model", "resnet20_cifar", "--set"]
TRAIN += ["preparation.crop=8", "--set", "train.iterations=8", "--set", "train.epochs=none", "--workers", "1"]
TRAIN += ["--set", "data.val_fraction=0"]


class Killing:
    """A reader in whose process something happens at the task that holds a place of the stream."""

    def __init__(self, inner: Any, place: int, mark: Path | None) -> None:
        self._inner, self._place, self._mark = inner, place, mark

    def __getitem__(self, task: Any) -> Any:
        if self._place in task[1] and (self._mark is None or not self._mark.exists()):
            if self._mark is not None:
                self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._inner[task]


@pytest.mark.long
@pytest.mark.filterwarnings("always:loader process")
@pytest.mark.parametrize("again", [False, True], ids=["once", "again and again"])
def test_a_run_goes_on_without_its_worker_or_saves_its_state(
    files: FileImages,
    tmp_path: Path,
    again: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, whole, ours = str(files.paths[0].parent.parent), tmp_path / "whole", tmp_path / "ours"
    assert run(["train", source, *TRAIN, "--output", str(whole)]) == 0
    capsys.readouterr()
    loader = RunContext.loader

    def killing(self: RunContext) -> Any:
        made = loader(self)
        made._read = Killing(made._read, 22, None if again else tmp_path / "mark")  # type: ignore[assignment]
        return made

    monkeypatch.setattr(RunContext, "loader", killing)
    code = run(["train", source, *TRAIN, "--output", str(ours)])
    said = capsys.readouterr().err
    assert "died (killed by SIGKILL), as where memory is short; another reads again" in said
    if again:
        assert code == 1
        assert f"; state saved after step 5; continue with: deepres train --resume {ours}" in said.splitlines()[-1]
        monkeypatch.setattr(RunContext, "loader", loader)
        assert run(["train", "--resume", str(ours)]) == 0
    else:
        assert code == 0
    assert digest(ours / WEIGHTS) == digest(whole / WEIGHTS)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["picture", "folder"])
def test_a_picture_that_is_lost_while_a_run_goes_on_stops_it_between_two_steps(
    files: FileImages, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, whole, ours = files.paths[0].parent.parent, tmp_path / "whole", tmp_path / "ours"
    words = [*TRAIN, "--workers", "0"]
    assert run(["train", str(source), *words, "--output", str(whole)]) == 0
    capsys.readouterr()
    lost, aside = (files.paths[0], tmp_path / "aside") if what == "picture" else (source / "cat", tmp_path / "aside")
    from deepres.runs import rescue

    loader, count = RunContext.loader, [0]

    class Losing:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getitem__(self, task: Any) -> Any:
            count[0] += 1
            if count[0] == 4 and lost.exists():
                lost.rename(aside)
            return self._inner[task]

    def losing(self: RunContext) -> Any:
        made = loader(self)
        made._read = Losing(made._read)  # type: ignore[assignment]
        return made

    assert rescue.UnfedError.exit_code == DeepresError.exit_code
    monkeypatch.setattr(RunContext, "loader", losing)
    assert run(["train", str(source), *words, "--output", str(ours)]) == InputError.exit_code
    assert f"continue with: deepres train --resume {ours}" in capsys.readouterr().err
    monkeypatch.setattr(RunContext, "loader", loader)
    aside.rename(lost)
    assert run(["train", "--resume", str(ours)]) == 0
    assert digest(ours / WEIGHTS) == digest(whole / WEIGHTS)


def test_the_way_on_is_named_also_where_processes_die_over_the_last_measurement(tmp_path: Path) -> None:
    with pytest.raises(DiedError, match=f"^3 died over x.png; continue with: deepres train --resume {tmp_path}$"):  # noqa: SIM117
        with resumable(tmp_path):
            raise DiedError("3 died over x.png")
