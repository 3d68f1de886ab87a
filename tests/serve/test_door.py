"""The border: what a hostile or clumsy client does to a server that others use too."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deepres.serve.limits import Limits
from deepres.serve.run import Options
from deepres.serve.served import Served

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def tight(starting: Any, small: Path) -> Any:
    """Little is taken: 20 kB, 10,000 px, 4 images in the queue, 1 s."""
    return starting(small, limits=Limits(max_bytes=20_000, max_pixels=10_000, queue=4, timeout=1.0, batch_size=2))


@pytest.fixture(scope="module")
def locked(starting: Any, small: Path) -> Any:
    return starting(small, options=Options("cpu", "float32", TOKEN))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is closed the network stands still."""
    gate, real = threading.Event(), Served.ask

    def ask(self: Served, read: list[Any]) -> Any:
        assert gate.wait(20)
        return real(self, read)

    monkeypatch.setattr(Served, "ask", ask)
    yield gate
    gate.set()


def _raw(port: int, data: bytes, seconds: float = 10.0) -> bytes:
    """All that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


def _chunked(size: int) -> bytes:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"1000\r\n" + bytes(4096) + b"\r\n" for _ in range(size // 4096)) + b"0\r\n\r\n"


@pytest.mark.medium
def test_a_body_beyond_the_limit_is_refused_announced_or_not(tight: Any, formed: Any) -> None:
    announced = tight("/v1/predict", bytes(20_001))
    assert announced.status == 413
    assert announced.error == (
        "a body of 20,001 bytes; the limit (--max-bytes) is 20,000; send less at once, or smaller"
    )
    assert announced.headers["connection"] == "close"
    counted = _raw(tight.port, _chunked(80_000))
    assert counted.startswith(b"HTTP/1.1 413 ")
    assert b"bytes so far; the limit (--max-bytes) is 20,000" in counted
    kind, body = formed([("a", bytes(50_000))])
    assert tight("/v1/predict", body, {"Content-Type": kind}).status == 413
    asking = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20001\r\n\r\n"
    assert _raw(tight.port, asking).startswith(b"HTTP/1.1 413 ")  # and never is the body asked for
    lying = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    assert b" 413 " in _raw(tight.port, lying)


@pytest.mark.medium
def test_pixels_beyond_the_limit_are_refused(tight: Any, pictures: Any) -> None:
    reply = tight("/v1/predict", pictures(0, (200, 100), "JPEG"))
    assert reply.status == 422
    assert reply.error.startswith("image: 200 x 100 px, 20,000 pixels; the limit (--max-pixels) is 10,000")


@pytest.mark.medium
def test_a_slow_client_is_ended_and_stops_nobody(tight: Any, pictures: Any) -> None:
    began = time.monotonic()
    slow = socket.create_connection(("127.0.0.1", tight.port), timeout=10)
    slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na")
    silent = socket.create_connection(("127.0.0.1", tight.port), timeout=10)
    silent.sendall(b"POST /v1/pre")
    assert tight("/v1/predict", pictures()).status == 200
    with slow, silent:
        found = b""
        while part := slow.recv(4096):
            found += part
        assert b" 408 " in found
        assert b"the body did not arrive within 1 s (--timeout); send it faster, or smaller" in found
        with suppress(ConnectionResetError):
            assert silent.recv(10) == b""
    assert time.monotonic() - began < 8


@pytest.mark.medium
def test_a_timeout_is_504_and_its_image_leaves_the_queue(tight: Any, pictures: Any, gate: threading.Event) -> None:
    replies: list[Any] = []
    threads = [threading.Thread(target=lambda: replies.append(tight("/v1/predict", pictures()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    batcher = tight.running.service.models.batcher("small")
    _until(lambda: len(batcher) == 4)
    full = tight("/v1/predict", pictures())
    assert (full.status, full.headers["retry-after"]) == (503, "1")
    assert full.error == "the queue is full (4 of 4 images wait); try again in a second"
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} == {504}
    assert replies[0].error == "not answered within 1 s (--timeout); try again later, or send fewer images at once"
    assert len(batcher) == 0
    gate.set()
    _until(lambda: batcher.stuck_seconds == 0)
    assert tight("/v1/predict", pictures()).status == 200


@pytest.mark.medium
def test_who_has_gone_is_not_asked_for(ask: Any, pictures: Any, gate: threading.Event) -> None:
    batcher, data = ask.running.service.models.batcher("small"), pictures()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Request-Id: gone-%d\r\nContent-Length: {len(data)}\r\n\r\n"
    asked = ask.metric("deepres_batch_size_sum")
    open_ = []
    for number in range(3):
        open_.append(socket.create_connection(("127.0.0.1", ask.port)))
        open_[-1].sendall((head % number).encode() + data)
        _until(lambda: len(batcher) == len(open_) and batcher.stuck_seconds > 0)
    for connection in open_[1:]:
        connection.close()
    ask.log("request", id="gone-2", status=499)
    _until(lambda: len(batcher) == 1)
    gate.set()
    assert b" 200 " in open_[0].recv(65536)
    open_[0].close()
    assert ask.metric("deepres_batch_size_sum") == asked + 1


def test_a_client_that_is_gone_amid_its_upload_leaves_nothing(ask: Any) -> None:
    for number in range(3):
        with socket.create_connection(("127.0.0.1", ask.port)) as connection:
            connection.sendall(
                f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Request-Id: cut-{number}\r\nContent-Length: 90000\r\n\r\n".encode()
                + bytes(5000)
            )
        ask.log("request", id=f"cut-{number}", status=499)
    assert ask.running.service.bodies.bytes == 0


@pytest.mark.parametrize("header", [None, "Bearer wrong-token-here", "Basic OnhYWA==", f"Bearer {TOKEN}x", TOKEN])
@pytest.mark.parametrize("path", ["/", "/v1/models", "/metrics", "/docs", "/openapi.json", "/nothing"])
@pytest.mark.medium
def test_without_the_token_all_but_health_is_closed(locked: Any, header: str | None, path: str) -> None:
    reply = locked(path, None, {} if header is None else {"Authorization": header})
    assert reply.status == 401
    assert "send the server's own as a header: Authorization: Bearer TOKEN" in reply.error
    assert "Basic" in reply.headers["www-authenticate"]
    assert TOKEN not in reply.body.decode()


def test_with_the_token_it_is_open(locked: Any, pictures: Callable[..., bytes]) -> None:
    reply = locked("/v1/predict", pictures(), {"Authorization": f"Bearer {TOKEN}"})
    assert reply.status == 200
    assert locked("/v1/predict", pictures()).status == 401  # with the body on its way
    locked.log("request", status=401, path="/v1/predict")
    assert TOKEN not in str(locked.log("request"))


@pytest.mark.medium
@pytest.mark.parametrize("path", ["/", "/v2/health/ready", "/v1/models", "/metrics", "/v1/predict", "/nowhere"])
def test_head_is_get_without_its_body(ask: Any, path: str) -> None:
    """As uptime watchers ask; a client of raw bytes sees that nothing follows the head."""

    def asked(method: str) -> tuple[bytes, dict[bytes, bytes], bytes]:
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        head, _, body = _raw(ask.port, request.encode()).partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        return status, dict(line.lower().split(b": ", 1) for line in lines), body

    (status, headers, body), (wanted, others, whole) = asked("HEAD"), asked("GET")
    assert (status, body) == (wanted, b"")
    assert whole
    assert headers.keys() == others.keys()
    assert headers[b"content-type"] == others[b"content-type"]


def test_what_is_no_http_is_400_and_no_traceback(ask: Any) -> None:
    assert _raw(ask.port, b"\x16\x03\x01\x02\x00\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.medium
def test_what_is_thrown_away_after_an_early_answer_ends(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepres.serve import door

    monkeypatch.setattr(door, "LINGER_SECONDS", 0.3)
    began = time.monotonic()
    head = b"POST /v1/models/none/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n"
    found = _raw(ask.port, head + bytes(100_000))
    assert b" 404 " in found
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_the_loop_goes_on_while_pictures_are_decoded_and_asked(ask: Any, pictures: Any) -> None:
    late: list[float] = []

    async def watch() -> None:
        while True:
            due = time.perf_counter() + 0.01
            await asyncio.sleep(0.01)
            late.append(time.perf_counter() - due)

    watching = asyncio.run_coroutine_threadsafe(watch(), ask.loop)
    ask.form("/v1/predict", [(f"{n}", pictures(n, (500, 400), "JPEG")) for n in range(8)])
    watching.cancel()
    assert sorted(late)[len(late) // 2] < 0.05  # of most; the machine may be anybody's


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.005)
    raise AssertionError("never")
