"""Processes of Python that have deepres loaded when they begin: forked off one that loaded it once.

`run` and `Popen` take what subprocess's take. `python -m deepres …` and `python FILE …` are forked where that changes
nothing but their first seconds: processes of their own with streams, folder, environment and signals of their own.
What is read while a process begins (`PYTHON…`, `OMP_NUM_THREADS`, limits) needs a new one: such a command gets it.
"""

import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

DEEPRES = [sys.executable, "-m", "deepres"]
LOADED = ("cli.train", "cli.evaluate", "cli.predict", "cli.compare", "runs.folds", "runs.train", "predict.predictor")
EARLY = ("PYTHON", "OMP_", "MKL_", "LD_", "LC_", "LANG", "OPENBLAS", "MALLOC_", "GLIBC_", "TORCH_")
"""Variables that are read while a process begins, by how they begin."""
_ENDED = struct.Struct("=id")  # exit code, processor seconds
_FDS = 4  # stdin, stdout, stderr, and where to say how it ended
_LONGEST = 1 << 20

spent = 0.0
"""Processor seconds of all that were forked and have ended."""


def run(
    words: Sequence[str],
    *,
    input: str | bytes | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> "subprocess.CompletedProcess[Any]":
    """As `subprocess.run`."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with Popen(words, **options) as process:
        try:
            out, errors = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    ended = subprocess.CompletedProcess(process.args, process.returncode, out, errors)
    if check:
        ended.check_returncode()
    return ended


def Popen(words: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":  # noqa: N802
    """As `subprocess.Popen`."""
    known = {"cwd", "env", "stdin", "stdout", "stderr", "text", "errors", "encoding", "start_new_session", "bufsize"}
    words = [str(word) for word in words]
    forks = words[:3] == DEEPRES or (words[0] == sys.executable and words[1].endswith(".py"))
    forks = forks and sys.platform == "linux" and set(options) <= known and not _begins_otherwise(options)
    return (_Forked if forks else subprocess.Popen)(words, **options)


def together(words: Sequence[str], processes: int = 2, **options: Any) -> "list[subprocess.Popen[Any]]":
    """The same command as so many processes of one run, in the environment that torchrun would give them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    place["LOCAL_WORLD_SIZE"] = str(processes)
    ranks = [{**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    return [Popen(words, env=environment, **options) for environment in ranks]


def ended_together(
    words: Sequence[str], processes: int = 2, seconds: float = 300, **options: Any
) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each of `together`, once all have ended."""
    started = together(words, processes, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        said = [process.communicate(timeout=seconds) for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
    return [(process.returncode, *words) for process, words in zip(started, said, strict=True)]


def _begins_otherwise(options: dict[str, Any]) -> bool:
    given = options.get("env")
    if given is None:
        return False
    early = {name for name in {*given, *os.environ} if name.startswith(EARLY)}
    return any(given.get(name) != os.environ.get(name) for name in early)


class _Forked(subprocess.Popen[Any]):
    """What `subprocess.Popen` is, of a process whose parent is the one that loaded the libraries."""

    def __init__(self, words: list[str], **options: Any) -> None:
        self._own_session = bool(options.get("start_new_session"))
        self._says = -1
        super().__init__(words, **options)

    def _execute_child(self, args: Any, *rest: Any) -> None:
        """The private method of the standard library that begins a process: its arguments by their places."""
        cwd, env = rest[4], rest[5]
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[9:15]
        self._says, told = os.pipe()
        try:
            asked = {
                "words": list(args),
                "cwd": os.fspath(cwd) if cwd else str(Path.cwd()),
                "env": dict(os.environ if env is None else env),
                "session": self._own_session,
            }
            streams = [given if given != -1 else own for own, given in enumerate((p2cread, c2pwrite, errwrite))]
            self.pid = _server().ask(asked, [*streams, told])
            self._child_created = True
        finally:
            os.close(told)
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            self._ended_within(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None and not self._ended_within(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def _ended_within(self, seconds: float | None) -> bool:
        global spent
        if not select.select([self._says], [], [], None if seconds is None else max(0.0, seconds))[0]:
            return False
        told = os.read(self._says, _ENDED.size)
        os.close(self._says)
        code, used = _ENDED.unpack(told) if told else (-signal.SIGKILL, 0.0)  # the parent is gone, and it with it
        self.returncode = code
        spent += used
        return True


class _Server:
    """The process that has loaded the libraries, and the socket by which it is asked for another."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd="/",
            start_new_session=True,
        )
        theirs.close()

    def ask(self, asked: dict[str, Any], fds: list[int]) -> int:
        """The number of a new process."""
        socket.send_fds(self._socket, [json.dumps(asked).encode("utf-8", "surrogatepass")], fds)
        told = self._socket.recv(16)
        assert told, "the process that loads the libraries has ended"
        return int(told)


@cache
def _server() -> _Server:
    return _Server()


def _serve(asking: socket.socket) -> None:
    """Fork whatever is asked for until nobody can ask any more."""
    for name in LOADED:
        import_module(f"deepres.{name}")
    gc.collect()
    gc.freeze()
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    living = dict[int, int]()
    while True:
        ready, _, _ = select.select([asking, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell(living)
        if asking not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(asking, _LONGEST, _FDS)
        if not message:
            return
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asking.close()
            for fd in (woken, wakes, *living.values()):
                os.close(fd)
            _become(json.loads(message.decode("utf-8", "surrogatepass")), fds)
            return
        living[child] = fds[-1]
        for fd in fds[:-1]:
            os.close(fd)
        asking.send(str(child).encode())


def _tell(living: dict[int, int]) -> None:
    """Say of those that have ended how, each to whom it concerns."""
    while living:
        ended, status, used = os.wait4(-1, os.WNOHANG)
        if not ended:
            return
        told = living.pop(ended)
        with suppress(BrokenPipeError):
            os.write(told, _ENDED.pack(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime))
        os.close(told)


def _become(asked: dict[str, Any], fds: list[int]) -> None:
    """The process that was asked for."""
    gc.unfreeze()
    if asked["session"]:
        os.setsid()
    for own, given in enumerate(fds[:-1]):
        os.dup2(given, own)
    for fd in fds:
        os.close(fd)
    tempfile.tempdir = None  # it is another's
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")
    for name, fd, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = io.BufferedWriter(io.FileIO(fd, "w", closefd=False))
        stream = io.TextIOWrapper(raw, "utf-8", errors, line_buffering=fd == 2 or os.isatty(fd))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    words = asked["words"]
    if words[1] == "-m":
        sys.argv, sys.path[0] = words[2:], asked["cwd"]
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words[1:], str(Path(words[1]).parent)
        runpy.run_path(words[1], run_name="__main__")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        _serve(given)
