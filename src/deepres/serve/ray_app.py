"""`serve run deepres.serve.ray_app:build run=RUN`: the same server as replicas of Ray Serve, on one machine or many.

Each replica is a process with all of our routes; Ray starts and ends them, spreads requests, replaces those that died.
Batches are made by `@serve.batch`. What Ray counts itself (requests, batches, replicas) is in its own metrics.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from deepres.base.errors import InputError
from deepres.base.records import build as build_record
from deepres.nn.inference import InferencePrecision
from deepres.serve.asking import Service
from deepres.serve.batcher import Answered, BatchJob, OnBatch, Waiting, answers_to, read_one, require_room
from deepres.serve.body import Bodies
from deepres.serve.door import Door, path_in
from deepres.serve.http import app_of
from deepres.serve.limits import Limits, size_of, token_in
from deepres.serve.logs import Logs
from deepres.serve.metrics import ServerMetrics
from deepres.serve.models import Models, words_of
from deepres.serve.refusal import RefusedError
from deepres.serve.served import Served

HEALTH_SECONDS = 2.0
"""So often a replica is asked whether it is well; one that has died is replaced after so long at most."""


def _size(given: object) -> object:
    return size_of(given, "size") if isinstance(given, str) else given


class RayLimits(Limits):
    """What `serve run … KEY=VALUE` takes: limits as `deepres serve` has them, what answers, and how many replicas.

    `run`: [NAME=]RUN, several as a list or with blanks between. Paths are those of the replica's machine. `replicas`
    fixed, or from `min_replicas` to `max_replicas`: one more where each has over `target` requests at once.
    """

    max_bytes: Annotated[int, BeforeValidator(_size), Field(ge=1024)] = 20_000_000
    max_pixels: Annotated[int, BeforeValidator(_size), Field(ge=1, le=2**27)] = 50_000_000
    run: str | tuple[str, ...]
    device: str | None = None
    precision: InferencePrecision = "auto"
    token_file: str | None = None
    replicas: Annotated[int, Field(ge=1)] | None = None
    min_replicas: Annotated[int, Field(ge=0)] = 1
    max_replicas: Annotated[int, Field(ge=1)] = 1
    target: Annotated[float, Field(gt=0)] | None = None
    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0

    @property
    def words(self) -> tuple[str, ...]:
        """[NAME=]RUN, one by one."""
        return tuple(self.run.split()) if isinstance(self.run, str) else self.run


def build(args: dict[str, Any]) -> Any:
    """The application: `serve run deepres.serve.ray_app:build run=runs/photos-1 replicas=2`, or a file of settings.

    Raises:
        InputError: Ray Serve is not installed; an argument is unknown, missing, or none of its kind.
    """
    given = build_record(RayLimits, dict(args), "ray_app")
    if not given.words:
        raise InputError("ray_app: run: names nothing; wanted [NAME=]RUN")
    words_of(given.words)
    scaled = given.max_replicas > given.min_replicas
    if given.replicas is not None and (scaled or given.max_replicas > 1):
        raise InputError("ray_app: replicas beside max_replicas; give the one that is fixed, or both bounds")
    if given.max_replicas < given.min_replicas:
        raise InputError(f"ray_app: min_replicas {given.min_replicas}, max_replicas {given.max_replicas}; wanted fewer")
    number: dict[str, Any] = {"num_replicas": given.replicas or given.max_replicas}
    if scaled:
        number = {
            "autoscaling_config": {
                "min_replicas": given.min_replicas,
                "max_replicas": given.max_replicas,
                "target_ongoing_requests": given.target or float(given.batch_size),
            }
        }
    try:
        from ray import serve
    except ImportError as cause:
        raise InputError("ray_app: Ray Serve is not installed; pip install 'deepres[cluster]'") from cause
    deployment = serve.deployment(
        Replica,
        name="deepres",
        max_ongoing_requests=given.queue,
        health_check_period_s=HEALTH_SECONDS,
        health_check_timeout_s=max(10.0, given.timeout),
        graceful_shutdown_timeout_s=given.drain,
        ray_actor_options={"num_cpus": given.cpus, "num_gpus": given.gpus},
        **number,
    )
    return deployment.bind(given.model_dump(mode="json"))


class Replica:
    """One process that answers: our server behind Ray's."""

    def __init__(self, facts: dict[str, Any]) -> None:
        given = build_record(RayLimits, facts, "ray_app")

        def load(name: str, where: str) -> Served:
            return Served.load(name, where, given.device, given.precision)

        served = [load(name, where) for name, where in words_of(given.words)]
        metrics, logs = ServerMetrics(), Logs()
        self._models = Models(served, load, given, metrics, logs, RayBatcher)
        service = Service(self._models, given, Bodies(given), metrics, logs)
        token = None if given.token_file is None else token_in(Path(given.token_file))
        self._door = Door(_without_metrics(app_of(service)), service, token)

    async def __call__(self, request: Request) -> Response:
        """Whatever our routes answer."""
        return _Passed(self._door)

    def check_health(self) -> None:
        """Have Ray replace this replica once a network stands still.

        Raises:
            RuntimeError: it does.
        """
        if stuck := self._models.stuck():
            raise RuntimeError(f"{', '.join(stuck)}: the network stands still")


class _Passed(Response):
    """What Ray takes for the response: the request, passed on to `door`."""

    def __init__(self, door: ASGIApp) -> None:
        super().__init__()
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door(scope, receive, send)


def _without_metrics(app: ASGIApp) -> ASGIApp:
    """The same, but that no replica tells its own counts as if they were those of all."""

    async def passed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and path_in(scope) == "/metrics":
            raise RefusedError(404, "/metrics: each replica counts for itself; scrape Ray's own, on each of its nodes")
        await app(scope, receive, send)

    return passed


class RayBatcher:
    """A queue as `Batcher` is one, whose batches `@serve.batch` makes: of `size` images, or of what came in `wait` s.

    A lone image waits for `wait` seconds too, that is Ray's way. Images of a batch that differ in shape are asked one
    shape after the other.
    """

    def __init__(self, readers: Executor, *, size: int, wait: float, most: int, ahead: int, on_batch: OnBatch) -> None:
        from ray import serve

        self._readers, self._network = readers, ThreadPoolExecutor(1, thread_name_prefix="network")
        self._most, self._on_batch = most, on_batch
        self._ahead, self._held = asyncio.Semaphore(ahead), set[Waiting]()
        self._began: float | None = None

        @serve.batch(max_batch_size=size, batch_wait_timeout_s=wait)  # type: ignore[untyped-decorator]
        async def together(batch: list[Waiting]) -> list[Any]:
            return await self._asked(batch)

        self._together = together

    def __len__(self) -> int:
        return len(self._held)

    @property
    def stuck_seconds(self) -> float:
        """As `Batcher`'s."""
        return 0.0 if self._began is None else perf_counter() - self._began

    async def ask(self, jobs: Sequence[BatchJob]) -> list[Answered | Exception]:
        """As `Batcher`'s.

        Raises:
            RefusedError: the queue has no room for all of them.
        """
        require_room(len(jobs), len(self), self._most)
        loop = asyncio.get_running_loop()
        mine = [Waiting(job, loop.create_future(), perf_counter()) for job in jobs]
        self._held.update(mine)
        try:
            return await asyncio.gather(*map(self._one, mine), return_exceptions=True)  # type: ignore[return-value]
        finally:
            self._held.difference_update(mine)
            for one in mine:
                one.future.cancel()

    async def _one(self, one: Waiting) -> Answered:
        loop = asyncio.get_running_loop()
        async with self._ahead:
            one.key, one.value = await loop.run_in_executor(self._readers, read_one, one)
            value = await self._together(one)
        if isinstance(value, Exception):
            raise value
        one.answered.value = value
        return one.answered

    async def _asked(self, batch: list[Waiting]) -> list[Any]:
        """What is said to each of a batch, in its order; an exception where it failed."""
        alike: dict[tuple[Any, Any], list[Waiting]] = {}
        for one in batch:
            alike.setdefault((one.job.ask, one.key), []).append(one)
        found: dict[Waiting, Any] = {}
        for several in alike.values():
            self._began = began = perf_counter()
            try:
                values = await asyncio.get_running_loop().run_in_executor(self._network, answers_to, several)
            finally:
                self._began = None
            seconds = perf_counter() - began
            self._on_batch(len(several), seconds)
            for one, value in zip(several, values, strict=True):
                told = one.answered
                told.network_seconds, told.together = seconds, len(several)
                told.queue_seconds = began - one.came - told.read_seconds
                found[one], one.value = value, None
        return [found[one] for one in batch]

    def close(self) -> None:
        """As `Batcher`'s."""
        self._network.shutdown(wait=False, cancel_futures=True)
