"""The server as replicas of Ray Serve: what it is given, its queue; and with Ray itself, one replica killed."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from deepres.base.errors import InputError
from deepres.predict.pictures import Picture
from deepres.predict.predictor import Predictor
from deepres.serve.batcher import Answered, BatchJob
from deepres.serve.ray_app import RayBatcher, build
from deepres.serve.refusal import RefusedError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "ray_app: run: missing"),
        ({"run": " "}, r"ray_app: run: names nothing; wanted \[NAME=\]RUN"),
        ({"run": "a/net b/net"}, "both are called net"),
        ({"run": "net", "replica": "2"}, "field 'replica': unknown; did you mean replicas"),
        ({"run": "net", "replicas": "0"}, "replicas: "),
        ({"run": "net", "replicas": 2, "max_replicas": 4}, "replicas beside max_replicas"),
        ({"run": "net", "min_replicas": 3, "max_replicas": 2}, "min_replicas 3, max_replicas 2"),
        ({"run": "net", "max_bytes": "huge"}, "max_bytes: .*wanted a number"),
        ({"run": "net", "precision": "int4"}, "precision: "),
    ],
    ids=str,
)
def test_what_it_is_given_is_used_or_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        build(given)
    assert "\n" not in refused.value.message


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"Ray Serve is not installed; pip install 'deepres\[cluster\]'"):
        build({"run": "net"})


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`@serve.batch` in its documented words, in twelve lines; `deployment` tells what it was given."""

    def batch(max_batch_size: int, batch_wait_timeout_s: float) -> Callable[[Any], Any]:
        def decorate(asked: Any) -> Any:
            waiting: list[tuple[Any, asyncio.Future[Any]]] = []

            async def soon() -> None:
                await asyncio.sleep(batch_wait_timeout_s)
                while waiting:
                    part = [waiting.pop(0) for _ in range(min(max_batch_size, len(waiting)))]
                    part = [(one, future) for one, future in part if not future.cancelled()]
                    for (_, future), told in zip(part, await asked([one for one, _ in part]), strict=True):
                        future.set_result(told)

            async def one(item: Any) -> Any:
                future = asyncio.get_running_loop().create_future()
                waiting.append((item, future))
                if len(waiting) == 1:
                    one.task = asyncio.ensure_future(soon())  # type: ignore[attr-defined]
                return await future

            return one

        return decorate

    def deployment(target: Any, **options: Any) -> Any:
        return SimpleNamespace(bind=lambda facts: (options, facts))

    module = ModuleType("ray")
    module.serve = SimpleNamespace(batch=batch, deployment=deployment)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", module)
    return module.serve  # type: ignore[no-any-return]


def test_replicas_are_fixed_or_follow_the_requests(pretended: SimpleNamespace) -> None:
    options, facts = build({"run": "a=x b=y", "replicas": "2", "max_bytes": "3MB", "cpus": "0.5"})
    assert options["num_replicas"] == 2
    assert options["ray_actor_options"] == {"num_cpus": 0.5, "num_gpus": 0.0}
    assert facts["max_bytes"] == 3_000_000
    options, _ = build({"run": ["x"], "min_replicas": 1, "max_replicas": 8, "batch_size": 4})
    assert options["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 8, "target_ongoing_requests": 4.0}
    assert "num_replicas" not in options
    options, _ = build({"run": "x", "min_replicas": 3, "max_replicas": 3})
    assert options["num_replicas"] == 3


class Network:
    """Doubles; None is an error, and what is below zero cannot be read."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def job(self, number: int | None, key: str = "") -> BatchJob:
        def read() -> tuple[str, int | None]:
            if number is not None and number < 0:
                raise RefusedError(422, "no picture")
            return key, number

        return BatchJob(read, self.ask)

    def ask(self, given: list[Any]) -> list[Any]:
        self.batches.append(given)
        if None in given:
            raise ValueError("none")
        return [2 * one for one in given]


def _asked(jobs: list[BatchJob], **options: Any) -> list[Any]:
    async def main() -> list[Any]:
        told: list[tuple[int, float]] = []
        given = {"size": 4, "wait": 0.01, "most": 64, "ahead": 8, **options}
        with ThreadPoolExecutor(2) as readers:
            queue = RayBatcher(readers, on_batch=lambda *facts: told.append(facts), **given)
            found = await queue.ask(jobs)
            assert len(queue) == 0
            assert queue.stuck_seconds == 0
            queue.close()
        assert all(seconds >= 0 for _, seconds in told)
        return [one.value if isinstance(one, Answered) else repr(one) for one in found]

    return asyncio.run(main())


def test_images_of_one_shape_go_together_in_order_and_fail_alone(pretended: SimpleNamespace) -> None:
    network = Network()
    assert _asked([network.job(n, "ab"[n % 2]) for n in range(10)]) == [2 * n for n in range(10)]
    assert max(map(len, network.batches)) <= 4
    assert all(len({one % 2 for one in batch}) == 1 for batch in network.batches)
    assert _asked([network.job(1), network.job(None), network.job(3), network.job(-1)]) == [
        2,
        "ValueError('none')",
        6,
        "RefusedError('no picture')",
    ]
    with pytest.raises(RefusedError, match="3 images in a request, the queue holds 2"):
        _asked([network.job(1)] * 3, most=2)


def test_who_has_gone_leaves_the_queue(pretended: SimpleNamespace) -> None:
    network = Network()

    async def main() -> None:
        with ThreadPoolExecutor(1) as readers:
            queue = RayBatcher(readers, size=2, wait=0.05, most=9, ahead=9, on_batch=lambda *facts: None)
            asking = asyncio.ensure_future(queue.ask([network.job(1)]))
            await asyncio.sleep(0.01)
            assert len(queue) == 1
            asking.cancel()
            await asyncio.wait([asking])
            assert len(queue) == 0
            (found,) = await queue.ask([network.job(2)])
            assert isinstance(found, Answered)
            queue.close()

    asyncio.run(main())
    assert [2] in network.batches
    assert [1] not in network.batches


def _replicas() -> dict[int, str]:
    """Number of each process that is a replica here."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
        except OSError:
            continue
        if line.startswith(b"ray::ServeReplica:deepres"):
            found[int(entry.name)] = line.decode(errors="replace")
    return found


@pytest.fixture
def on_ray(small: Path) -> Iterator[int]:
    """The port of two replicas on this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'deepres[cluster]'")
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed: pip install 'deepres[cluster]'")
    from ray import serve

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    try:
        port = 18_700 + os.getpid() % 1000
        serve.start(http_options={"port": port, "num_cpus": 0}, logging_config={"log_level": "ERROR"})
        args = {"run": str(small), "replicas": 2, "precision": "float32", "device": "cpu", "max_bytes": "1MB"}
        serve.run(build(args), name="deepres", route_prefix="/")
        yield port
    finally:
        serve.shutdown()
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_replica_killed_under_load_gives_no_wrong_answer_and_is_replaced(
    on_ray: int, small: Path, pictures: Callable[..., bytes]
) -> None:
    predictor = Predictor.load(small, "cpu")
    files = [pictures(number) for number in range(8)]
    read = [predictor.read(Picture(str(n), lambda one=one: one)) for n, one in enumerate(files)]
    expected = [predictor.ask([one])[0].tolist() for one in read]
    names = list(predictor.classes)
    stop, wrong, failures, answered = threading.Event(), list[str](), list[float](), list[float]()

    def client(number: int) -> None:
        while not stop.is_set():
            number = (number + 1) % len(files)
            try:
                connection = HTTPConnection("127.0.0.1", on_ray, timeout=60)
                connection.request("POST", "/v1/predict?top_k=3", files[number])
                reply = connection.getresponse()
                status, body = reply.status, reply.read()
                connection.close()
            except OSError:
                failures.append(time.monotonic())
                continue
            if status != 200:
                failures.append(time.monotonic())
                continue
            import json

            answered.append(time.monotonic())
            told = {one["name"]: one["probability"] for one in json.loads(body)["answers"][0]["guesses"]}
            if any(abs(told[name] - value) > 1e-5 for name, value in zip(names, expected[number], strict=True)):
                wrong.append(f"{number}: {told}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    try:
        _until(lambda: len(answered) > 50)
        before = _replicas()
        assert len(before) == 2
        victim = sorted(before)[0]
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        _until(lambda: len(_replicas()) == 2 and victim not in _replicas())
        so_far = len(answered)
        _until(lambda: len(answered) > so_far + 50)
        recovered = time.monotonic() - killed
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    late = max([when - killed for when in failures], default=0.0)
    print(
        f"answered {len(answered)}, failed {len(failures)} (the last {late:.1f} s after the kill), "
        f"wrong {len(wrong)}, two replicas again after {recovered:.1f} s"
    )
    assert wrong == []
    assert not failures or min(failures) >= killed
    assert late <= 30
    assert recovered <= 30
    assert len(failures) <= 12  # what the killed one was at
    for path, status, message in (
        ("/metrics", 404, b"scrape Ray's own"),
        ("/v1/models/none", 404, b"unknown"),
        ("/", 200, b"<!doctype html>"),
        ("/v2/health/ready", 200, b'"ready":true'),
    ):
        connection = HTTPConnection("127.0.0.1", on_ray, timeout=60)
        connection.request("GET", path)
        reply = connection.getresponse()
        assert (reply.status, message in reply.read()) == (status, True), path
    connection.request("POST", "/v1/predict", bytes(1_000_001))
    reply = connection.getresponse()
    assert (reply.status, b"the limit (--max-bytes) is 1,000,000" in reply.read()) == (413, True)


def _until(holds: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("never")
