"""Several networks by name, each with its queue; one is exchanged for a new one under load, or stays as it is."""

import asyncio
import gc
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from deepres.base.errors import DeepresError, InputError, unknown
from deepres.base.files import resolved
from deepres.base.reading import cause_text
from deepres.data.loading.workers import num_cores
from deepres.serve.batcher import Batcher, ImageQueue
from deepres.serve.limits import Limits
from deepres.serve.logs import Logs
from deepres.serve.metrics import ServerMetrics
from deepres.serve.refusal import RefusedError
from deepres.serve.served import Served

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.DOTALL)

LoadModel = Callable[[str, str], Served]
"""(name, place) -> the network."""


class Word(NamedTuple):
    """What was asked to be served: a place, and the name it goes by."""

    name: str
    where: str


def words_of(words: Iterable[str]) -> list[Word]:
    """`RUN` or `NAME=RUN`; without a name it goes by the last part of its place.

    Raises:
        InputError: two of one name.
    """
    found: dict[str, Word] = {}
    for word in words:
        named = None if Path(word).exists() else _NAMED.fullmatch(word)
        if named is not None:
            one = Word(named[1], named[2])
        else:
            stem = re.sub(r"\.(safetensors|onnx|pt2|xml|pth?|h5|keras)$", "", resolved(Path(word)).name or word)
            one = Word(re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:64] or "model", word)
        if one.name in found:
            raise InputError(
                f"{found[one.name].where} and {one.where}: both are called {one.name}; name one, NAME={one.where}"
            )
        found[one.name] = one
    return [*found.values()]


class Models:
    """The networks that answer now; the first is meant where none is named."""

    def __init__(
        self,
        served: Iterable[Served],
        load: LoadModel,
        limits: Limits,
        metrics: ServerMetrics,
        logs: Logs,
        queue: type[ImageQueue] = Batcher,
    ) -> None:
        self._served = {one.name: one for one in served}
        self._load, self._limits, self._metrics, self._logs = load, limits, metrics, logs
        self.readers = ThreadPoolExecutor(num_cores(), thread_name_prefix="reader")
        self.lookers = ThreadPoolExecutor(1, thread_name_prefix="headers")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._batchers = {name: self._batcher(name, queue) for name in self._served}
        self._exchanging = asyncio.Lock()
        for name, one in self._served.items():
            metrics.model.labels(name, one.sha256).set(1)
            metrics.queue_length.labels(name).set_function(partial(len, self._batchers[name]))

    def __iter__(self) -> Iterator[Served]:
        return iter([*self._served.values()])

    @property
    def names(self) -> list[str]:
        """The names, the default first."""
        return [*self._served]

    def get(self, name: str | None = None) -> Served:
        """That network; RefusedError 404 with the nearest names where there is none."""
        if name is None:
            return next(iter(self._served.values()))
        if name not in self._served:
            raise RefusedError(404, unknown("model", name[:100], self._served).message)
        return self._served[name]

    def batcher(self, name: str) -> ImageQueue:
        """Its queue, which stays when it is exchanged."""
        return self._batchers[name]

    def stuck(self) -> list[str]:
        """Networks that have been at one batch for longer than a request may take."""
        return [name for name, one in self._batchers.items() if one.stuck_seconds > self._limits.timeout]

    async def reload(self, name: str) -> bool:
        """Read the network anew, try it, exchange it between two batches; False: refused, the old one stays."""
        async with self._exchanging:
            old = self._served[name]
            loop = asyncio.get_running_loop()
            try:
                new = await loop.run_in_executor(self._loader, self._load, name, old.where)
            except Exception as cause:  # whatever is wrong with it, the old one answers
                why = cause.message if isinstance(cause, DeepresError) else cause_text(cause)
                self._metrics.reloads.labels(name, "refused").inc()
                self._logs("reload", model=name, outcome="refused", problem=why, sha256=old.sha256)
                return False
            self._served[name] = new
            if new.sha256 != old.sha256:
                self._metrics.model.remove(name, old.sha256)
            self._metrics.model.labels(name, new.sha256).set(1)
            self._metrics.reloads.labels(name, "done").inc()
            self._logs("reload", model=name, outcome="done", sha256=new.sha256, before=old.sha256)
            del old
            await loop.run_in_executor(self._loader, gc.collect)
            return True

    def close(self) -> None:
        """No thread is left once what they are at has ended."""
        for pool in (self.readers, self.lookers, self._loader):
            pool.shutdown(wait=False, cancel_futures=True)
        for batcher in self._batchers.values():
            batcher.close()

    def _batcher(self, name: str, queue: type[ImageQueue]) -> ImageQueue:
        limits, metrics = self._limits, self._metrics

        def on_batch(images: int, seconds: float) -> None:
            metrics.batch_size.labels(name).observe(images)
            metrics.network_seconds.labels(name).observe(seconds)

        return queue(
            self.readers,
            size=limits.batch_size,
            wait=limits.batch_wait_ms / 1000,
            most=limits.queue,
            ahead=2 * limits.batch_size + num_cores(),
            on_batch=on_batch,
        )
