"""Connections: what comes in tiny parts stops nobody, and arrives whole."""

import socket
import sys
import time
from typing import Any

import pytest

from deepres.serve import connections


def _chunked(parts: list[bytes]) -> bytes:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _answer(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


@pytest.mark.medium
def test_chunks_of_a_byte_arrive_whole_and_in_turn(ask: Any, pictures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []
    real = connections.H11Protocol.data_received

    def timed(self: Any, data: bytes) -> None:
        began = time.thread_time()
        real(self, data)
        taken.append(time.thread_time() - began)

    monkeypatch.setattr(connections.H11Protocol, "data_received", timed)
    data = pictures(4)
    told = _answer(ask.port, _chunked([data[at : at + 1] for at in range(len(data))]))
    assert told.startswith(b"HTTP/1.1 200 ")
    assert b'"name":' in told
    assert len(taken) > 6 * len(data) / connections.PIECE
    assert max(taken) < 0.05


@pytest.mark.medium
def test_requests_one_after_the_other_on_one_connection_keep_their_order(ask: Any) -> None:
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 90 + b"\r\n"
    last = b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    told = _answer(ask.port, one * 3 + last)
    assert told.count(b"HTTP/1.1 200 OK") == 4
    assert told.index(b'{"live":true}') < told.index(b'"name":"deepres"')


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="packets are filtered by Linux")
def test_who_knocked_comes_in_and_nobody_else_is_taken_into_the_queue() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=5) as door:
        address = door.getsockname()
        with socket.create_connection(address, timeout=5) as before:
            connections._knock_no_more(door)
            with pytest.raises(TimeoutError):  # not refused: the door is there, and will be shut
                socket.create_connection(address, timeout=0.2)
            door.settimeout(5)
            accepted, _ = door.accept()
            with accepted:
                before.sendall(b"may I")
                assert accepted.recv(5) == b"may I"
            door.settimeout(0)
            with pytest.raises(BlockingIOError):
                door.accept()
