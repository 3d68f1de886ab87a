"""Tasks done by worker processes, their answers in order; a process that dies is replaced, and what it held done again.

Each process has a pipe of its own, so that one that is killed leaves no lock behind that others wait for.
"""

import atexit
import os
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from itertools import islice
from multiprocessing import connection, get_context
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, NamedTuple, TypeVar

import torch
import torch.multiprocessing  # tensors travel as shared memory
from torch import distributed

from deepres.base.errors import RunError

T = TypeVar("T")
Done = TypeVar("Done")

LIVES = 3
"""So many processes may die over a task before it is given up."""

ENDING_SECONDS = 5.0
"""How long a process that is told to end may take before it is killed."""

NO_MEMORY = 71
"""The exit code of a process that was refused memory."""

LEFT_TO_PARENT = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
"""Sent to the whole group by terminals and schedulers."""


class DiedError(RunError):
    """Processes died again and again over one and the same `task`."""

    def __init__(self, message: str, task: Any = None) -> None:  # also as it arrives from another process
        super().__init__(message)
        self.task = task


def by_processes(
    work: Callable[[T], Done], tasks: Iterable[T], processes: int, *, ahead: int
) -> Generator[Done, None, None]:
    """`work(task)` of each task, in order; every process has at most `ahead` tasks in hand or ready.

    `work` gives for a task the same in any process, and is sent to it where it cannot be inherited. No more processes
    are started than there are tasks; they end when this generator does, or their parent.

    Raises:
        DiedError: `LIVES` processes died over one task.
        RunError: no process can be started, or `work` failed, with the words of its traceback.
    """
    context, left = _context(), iter(tasks)
    hands: list[_Hand[T, Done]] = []
    try:
        for number, task in enumerate(islice(left, processes * ahead)):
            if number < processes:
                hands.append(_Hand(work, context))
            hands[number % processes].give(task)
        turn = 0
        while hands and hands[turn % len(hands)].given:
            hand = hands[turn % len(hands)]
            answer = hand.answer()
            for task in islice(left, 1):
                hand.give(task)
            yield answer
            turn += 1
    finally:
        for hand in hands:
            hand.dismiss()
        for hand in hands:
            hand.wait()


def _context() -> BaseContext:
    """How processes are started: forked, but not beside the threads of collectives.

    Such a thread may hold a lock of the interpreter at that very moment, for which the child (before Python 3.12) would
    wait for ever. There a server that has no threads forks, to which `work` is sent.
    """
    if sys.platform != "linux":
        return get_context()
    if not (distributed.is_available() and distributed.is_initialized()):
        return get_context("fork")
    context = get_context("forkserver")
    context.set_forkserver_preload(["deepres.data.loading.loader"])
    return context


class _Failed(NamedTuple):
    """What `work` raised, as text: a mistake of ours."""

    text: str


class _Hand(Generic[T, Done]):
    """A process, and those that follow it."""

    def __init__(self, work: Callable[[T], Done], context: BaseContext) -> None:
        self.given: deque[T] = deque()
        self._work, self._context, self._died = work, context, 0  # died: over the oldest task
        self._pipe, self._process = self._started()
        atexit.register(self.dismiss)  # before multiprocessing asks with SIGTERM, and waits

    def give(self, task: T) -> None:
        self.given.append(task)
        if not self._died:
            self._send(task)

    def answer(self) -> Done:
        """To the oldest task."""
        while True:
            try:
                connection.wait([self._pipe, self._process.sentinel])
                if not self._pipe.poll():
                    raise EOFError
                answer: Done | _Failed = self._pipe.recv()
            except (OSError, EOFError, RuntimeError) as cause:  # the last where shared memory cannot be had
                self._replace(cause)
                continue
            if isinstance(answer, _Failed):
                raise RuntimeError(f"in a loader process:\n{answer.text}")
            self.given.popleft()
            if self._died:
                self._died = 0
                for task in self.given:
                    self._send(task)
            return answer

    def dismiss(self) -> None:
        self._send(None)
        self._pipe.close()
        atexit.unregister(self.dismiss)

    def wait(self) -> None:
        self._process.join(ENDING_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()

    def _started(self) -> tuple["connection.Connection[Any, Any]", BaseProcess]:
        ours, theirs = self._context.Pipe()
        inherited = ours if self._context.get_start_method() == "fork" else None
        process = self._context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(self._work, theirs, inherited), daemon=True, name="deepres loader"
        )
        before = _block(LEFT_TO_PARENT)  # inherited
        try:
            process.start()
        except OSError as cause:
            ours.close()
            raise RunError(f"a loader process cannot be started ({cause}); use fewer: --workers 0") from cause
        finally:
            if before is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        return ours, process

    def _send(self, task: T | None) -> None:
        with suppress(OSError):  # that it is dead is noticed when it is asked
            self._pipe.send(task)

    def _replace(self, cause: Exception) -> None:
        self._process.join(ENDING_SECONDS / 10)
        how = _ended(self._process.exitcode) or str(cause)
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._died += 1
        if self._died == LIVES:
            raise DiedError(
                f"{LIVES} loader processes died in turn ({how}): the machine may be short of memory, or /dev/shm full; "
                "use fewer (--workers 0) or a smaller --batch-size",
                self.given[0],
            ) from cause
        warnings.warn(
            f"loader process {self._process.pid} died ({how}), as where memory is short; another reads again what it "
            "had in hand",
            stacklevel=2,
        )
        self._pipe, self._process = self._started()
        self._send(self.given[0])  # the others once it is answered: answers that lie ready die with their process


def _ended(code: int | None) -> str:
    """How; empty where it has not."""
    if code is None:
        return ""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "no memory left" if code == NO_MEMORY else f"exit code {code}"


def _block(signals: set[signal.Signals]) -> set[signal.Signals | int] | None:
    """Signals that this thread passes over from now on; those of before, None where the system has no such mask."""
    if not hasattr(signal, "pthread_sigmask"):
        return None
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, signals))


def _serve(
    work: Callable[[Any], Any],
    pipe: "connection.Connection[Any, Any]",
    inherited: "connection.Connection[Any, Any] | None",
) -> None:
    """What a process does until its parent has no more for it, or is no more.

    The end of the pipe is seen once nobody holds the parent's side: of a parent that is killed the process that was
    forked last sees it first.
    """
    if inherited is not None:
        inherited.close()
    _block(LEFT_TO_PARENT)
    torch.set_num_threads(1)
    inbox: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_take, args=(pipe, inbox), daemon=True).start()
    while True:
        task = inbox.get()
        try:
            answer = work(task)
        except MemoryError:
            os._exit(NO_MEMORY)
        except Exception:
            answer = _Failed(traceback.format_exc())
        try:
            pipe.send(answer)
        except OSError:
            os._exit(os.EX_OK)


def _take(pipe: "connection.Connection[Any, Any]", inbox: "SimpleQueue[Any]") -> None:
    """Empties the pipe at once, so that the parent never waits to give; ends the process, whatever it is doing."""
    while True:
        try:
            task = pipe.recv()
        except (OSError, EOFError):
            task = None
        if task is None:
            os._exit(os.EX_OK)
        inbox.put(task)
