"""A server from its start to its end: the port, the networks, ready; signals, draining, nothing left behind."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

import uvicorn

from deepres.base.errors import InputError
from deepres.nn.inference import InferencePrecision
from deepres.serve.asking import Service
from deepres.serve.body import Bodies
from deepres.serve.connections import FairProtocol, Server
from deepres.serve.door import Door
from deepres.serve.http import app_of
from deepres.serve.limits import Limits
from deepres.serve.logs import Logs
from deepres.serve.metrics import ServerMetrics
from deepres.serve.models import Models, Word
from deepres.serve.served import Served
from deepres.serve.watching import Watching

GRACE_SECONDS = 0.5
"""For so long after a signal connections are still taken, so that whoever knocked already is answered."""

TICK_SECONDS = 0.05

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How the networks answer, who may ask, whether changed files are taken up."""

    device: str | None = None
    precision: InferencePrecision = "auto"
    token: str | None = None
    reload: bool = False


def bound(host: str, port: int) -> socket.socket:
    """The port, taken but not open yet.

    Raises:
        InputError: another has it, or no such address here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as cause:  # a name too long for one is told as Unicode's
        told = cause.strerror if isinstance(cause, OSError) else "no name that a machine can have"
        raise InputError(f"--host {host}: no address of this machine ({told}); wanted 127.0.0.1 or 0.0.0.0") from cause
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as cause:
        taken.close()
        remedy = "choose another --port, or end who has it" if port else "choose another --host"
        raise InputError(f"{_url(host, port)}: the port cannot be taken ({cause.strerror}); {remedy}") from cause
    return taken


def loaded(words: list[Word], options: Options, say: Say) -> list[Served]:
    """The networks, each once it has answered an image.

    Raises:
        InputError: one that cannot be asked. RunError: one that does not answer.
    """
    served = []
    for name, where in words:
        one = Served.load(name, where, options.device, options.precision)
        say(f"{name}: {one.predictor.network.description.name}, {one.precision}")
        if note := one.facts()["note"]:
            say(f"{name}: {note}")
        served.append(one)
    return served


def serve(served: list[Served], taken: socket.socket, options: Options, limits: Limits, ready: Say) -> int:
    """Serve until a signal ends it; 0, or 1 where requests were left unanswered; `ready` hears the address.

    Raises:
        InputError: another server opened the port meanwhile.
    """
    _allow_connections()
    logs = Logs()
    try:
        with _uvicorn_to(logs):
            return asyncio.run(_run(served, taken, options, limits, logs, ready))
    finally:
        logs.close()


async def _run(
    served: list[Served], taken: socket.socket, options: Options, limits: Limits, logs: Logs, ready: Say
) -> int:
    running, asked, loop = Running(served, options, limits, logs), asyncio.Event(), asyncio.get_running_loop()

    def stop(number: int) -> None:
        if asked.is_set():
            running.end_now(128 + number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    ready(await running.begin(taken))
    await loop.run_in_executor(running.service.models.lookers, running.api.openapi)  # made at its first asking
    await asked.wait()
    if not await running.drained():
        running.end_now(1)
    return 0


class Running:
    """One server in this thread's event loop, without signals: `begin`, then `drained`."""

    def __init__(self, served: list[Served], options: Options, limits: Limits, logs: Logs) -> None:
        def load(name: str, where: str) -> Served:
            return Served.load(name, where, options.device, options.precision)

        metrics = ServerMetrics()
        models = Models(served, load, limits, metrics, logs)
        served.clear()  # those that are exchanged later are held by nobody else
        self.service = Service(models, limits, Bodies(limits), metrics, logs)
        self.api = app_of(self.service)
        self.door = Door(self.api, self.service, options.token)
        config = uvicorn.Config(
            self.door,
            http=FairProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, min(5, int(limits.timeout))),
        )
        self.server, self._look = Server(config), options.reload
        self.door.cut = self.server.cut
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, taken: socket.socket) -> str:
        """Open the port; the address of the server.

        Raises:
            InputError: another opened it meanwhile.
        """
        host, port = taken.getsockname()[:2]
        try:
            taken.listen(2048)
        except OSError as cause:
            raise InputError(f"port {port}: opened by another meanwhile; choose another --port") from cause
        self._serving = asyncio.ensure_future(self.server.serve(sockets=[taken]))
        beside = (
            _lateness(self.service.metrics),
            self.server.end_late(self.service.limits.timeout),
            Watching(self.service.models, self._look).run(),
        )
        self._tasks = [asyncio.ensure_future(each) for each in beside]
        while not self.server.started and not self._serving.done():
            await asyncio.sleep(0.01)
        self.service.logs("ready", models=self.service.models.names)
        return _url(host, port)

    async def drained(self) -> bool:
        """Whether all that was accepted has been answered, within the time for it; then nothing is left."""
        began, limits = monotonic(), self.service.limits
        self.service.draining = True
        self.service.logs("draining", at_work=self.door.at_work)
        await asyncio.sleep(min(GRACE_SECONDS, limits.drain))
        self.server.should_exit = True
        while (self.door.at_work or not self._serving.done()) and monotonic() - began < limits.drain:
            await asyncio.sleep(0.02)
        for task in self._tasks:
            task.cancel()
        if self.door.at_work:
            return False
        self.server.abort()  # who does not take what is sent
        self.service.models.close()
        self.service.logs("ended", seconds=round(monotonic() - began, 2))
        if not self._serving.done():
            self._serving.cancel()
        return True

    def end_now(self, code: int) -> None:
        """End the process, whatever its threads are at."""
        self.service.logs("ended", unanswered=self.door.at_work)
        self.service.logs.close()
        os._exit(code)


async def _lateness(metrics: ServerMetrics) -> None:
    """How late the loop wakes up."""
    latest = 0.0
    while True:
        due = monotonic() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        late = max(0.0, monotonic() - due)
        metrics.loop_late.observe(late)
        if late > latest:
            latest = late
            metrics.loop_latest.set(late)


@contextmanager
def _uvicorn_to(logs: Logs) -> Iterator[None]:
    """Inside, what uvicorn has to say becomes lines of the log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logs("server", level=record.levelname.lower(), problem=record.getMessage()[:300])

    names = ("uvicorn", "uvicorn.error", "python_multipart", "asyncio")
    loggers, handler = [logging.getLogger(name) for name in names], Handler()
    before = [(logger.level, logger.propagate, logger.handlers[:]) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
        logger.propagate, logger.handlers = False, [handler]
    try:
        yield
    finally:
        for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate, logger.handlers = propagate, handlers


def _allow_connections() -> None:
    """As many open connections as this process may be allowed."""
    with suppress(ImportError, OSError, ValueError):  # Windows counts none
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_open_to_others(host: str) -> bool:
    """Whether other machines can reach a server on that address."""
    return not (host.startswith("127.") or host in ("localhost", "::1"))
