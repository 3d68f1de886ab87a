"""The pictures of a request -> their answers: looked at, queued, asked, told; a bad one never fails its neighbours."""

import asyncio
import json
import traceback
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from deepres.serve.batcher import Answered, BatchJob
from deepres.serve.body import Bodies, Upload
from deepres.serve.limits import Limits
from deepres.serve.logs import LogEntry, Logs
from deepres.serve.metrics import ServerMetrics
from deepres.serve.models import Models
from deepres.serve.pixels import require_few
from deepres.serve.refusal import RefusedError
from deepres.serve.served import Served


@dataclass
class Service:
    """What the routes of one server share; `draining`: it takes leave, and is not ready for more."""

    models: Models
    limits: Limits
    bodies: Bodies
    metrics: ServerMetrics
    logs: Logs
    draining: bool = False


class AskedPictures(NamedTuple):
    """Of one picture `outputs`, which `Served.decoded` takes; or why there are none."""

    outputs: Any = None
    problem: RefusedError | None = None


async def ask_files(
    service: Service, served: Served, uploads: Sequence[Upload], entry: LogEntry
) -> list[AskedPictures]:
    """What the network says of each file, in order.

    Raises:
        RefusedError: the queue is full.
    """
    looked = await asyncio.get_running_loop().run_in_executor(
        service.models.lookers, _looked_at, service, served, uploads
    )
    entry.px = sum(one for one in looked if isinstance(one, int))
    jobs = [
        one if isinstance(one, RefusedError) else served.job(upload.data, upload.name)
        for upload, one in zip(uploads, looked, strict=True)
    ]
    return await ask(service, served, jobs, entry)


async def ask(
    service: Service, served: Served, jobs: Sequence[BatchJob | RefusedError], entry: LogEntry
) -> list[AskedPictures]:
    """What comes of each job; of one that was refused, its refusal."""
    found = iter(await service.models.batcher(served.name).ask([job for job in jobs if isinstance(job, BatchJob)]))
    told = [_told(service, served, next(found) if isinstance(job, BatchJob) else job, entry) for job in jobs]
    for one in told:
        outcome = "answered" if one.problem is None else "failed" if one.problem.status >= 500 else "refused"
        service.metrics.images.labels(served.name, outcome).inc()
    return told


async def maps(
    service: Service, served: Served, uploads: Sequence[Upload], label: str | None, entry: LogEntry
) -> list[tuple[str, float, bytes]]:
    """Of each file the class, its probability, and the map as PNG.

    Raises:
        InputError: no such class, no maps of this network. RefusedError: no picture, or the network failed.
    """
    looking = asyncio.get_running_loop().run_in_executor
    await looking(service.models.lookers, served.require_maps, label)  # by a thread: it looks for the nearest names
    looked = await looking(service.models.lookers, _looked_at, service, served, uploads)
    entry.px = sum(one for one in looked if isinstance(one, int))
    for one in looked:
        if isinstance(one, RefusedError):
            raise one
    jobs = [served.map_job(upload.data, upload.name, label) for upload in uploads]
    found = []
    for asked in await ask(service, served, jobs, entry):
        if asked.problem is not None:
            raise asked.problem
        name, chance, drawn = asked.outputs
        found.append((name, chance, await asyncio.get_running_loop().run_in_executor(service.models.readers, drawn)))
    return found


def as_data(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


def as_json(told: object) -> bytes:
    """As a body."""
    return json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        errors="backslashreplace"
    )


def _looked_at(service: Service, served: Served, uploads: Sequence[Upload]) -> list[int | RefusedError]:
    """Of each file its pixels, from its header; or why it is not read."""

    def one(upload: Upload) -> int | RefusedError:
        try:
            return require_few(upload.data, upload.name, served.preparation, service.limits.max_pixels)
        except RefusedError as refusal:
            return refusal

    return [one(upload) for upload in uploads]


def _told(service: Service, served: Served, found: Answered | Exception, entry: LogEntry) -> AskedPictures:
    if isinstance(found, Answered):
        _count(service, served, found, entry)
        return AskedPictures(found.value)
    if isinstance(found, RefusedError):
        return AskedPictures(problem=found)
    service.logs(
        "failed",
        id=entry.number,
        model=served.name,
        problem=f"{type(found).__name__}: {' '.join(str(found).split())[:300]}",
        traceback="".join(traceback.format_exception(found)[-6:]),
    )
    return AskedPictures(
        problem=RefusedError(
            500,
            f"model {served.name}: the network failed on this image; the log says more under request {entry.number}",
        )
    )


def _count(service: Service, served: Served, found: Answered, entry: LogEntry) -> None:
    metrics = service.metrics
    metrics.queue_seconds.labels(served.name).observe(found.queue_seconds)
    metrics.decode_seconds.labels(served.name).observe(found.read_seconds)
    entry.queue_ms = max(entry.queue_ms or 0.0, 1000 * found.queue_seconds)
    entry.decode_ms = max(entry.decode_ms or 0.0, 1000 * found.read_seconds)
    entry.network_ms = max(entry.network_ms or 0.0, 1000 * found.network_seconds)
    entry.batch = max(entry.batch or 0, found.together)
