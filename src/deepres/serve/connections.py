"""uvicorn's server, its signals ours: which connections there are, which idle, which are ended."""

import asyncio
import ctypes
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import cast

import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

MANY_LINES = 200
"""In 64 kB that were read at once: h11 takes some 60 µs for each, and 64 kB of chunks of a byte would be 0.7 s."""

PIECE = 1024

QUIET_SECONDS = 1.0
"""A connection that says nothing for so long is ended when the server takes leave."""


class _Flow(FlowControl):
    """Reads on only where nothing that was read is `held`."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class FairProtocol(H11Protocol):
    """Takes what came in many small parts, such as chunks of one byte, a little at a time: others have their turn."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._own_flow, self._left = _Flow(transport), bytearray()
        self.flow = self._own_flow

    def data_received(self, data: bytes) -> None:
        if not self._left and data.count(b"\r\n") < MANY_LINES:
            super().data_received(data)
            return
        self._left += data
        if not self._own_flow.held:
            self._own_flow.held = True
            self.flow.pause_reading()
            self._take()

    def _take(self) -> None:
        if self.transport.is_closing():
            self._left.clear()
            return
        part = bytes(self._left[:PIECE])
        del self._left[:PIECE]
        super().data_received(part)
        if self._left:
            asyncio.get_running_loop().call_soon(self._take)
        else:
            self._own_flow.held = False
            self.flow.resume_reading()


_SYN = [(0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
"""A filter of Linux's: load the byte of TCP's flags; where it has SYN, take nothing of the packet, else all of it."""
_SO_ATTACH_FILTER = 26


def _knock_no_more(door: socket.socket) -> None:
    """From now on nobody begins to be taken into the queue, whose end would be a reset; who has begun comes in.

    Where packets cannot be filtered the queue is as short as it can be: whom it does not hold any more is reset.
    """
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in _SYN))
    program = struct.pack("HP", len(_SYN), ctypes.addressof(code))
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            door.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
            return
    door.listen(0)


class Server(uvicorn.Server):
    """Ends at `should_exit` alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @property
    def connections(self) -> list[H11Protocol]:
        """All that are open."""
        return cast(list[H11Protocol], list(self.server_state.connections))

    @property
    def idle(self) -> list[H11Protocol]:
        """Those that nothing was asked on since the last answer, or at all."""
        return [one for one in self.connections if one.cycle is None or one.cycle.response_complete]

    def cut(self, scope: Scope) -> None:
        """End the connection of a request, whether what was sent is taken or not."""
        for one in self.connections:
            if one.scope is scope:
                one.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in any more, and no request fall: who knocked is let in first, who came in may ask once.

        uvicorn's own ends connections on which a request is on its way.
        """
        for door in sockets or ():
            with suppress(OSError):  # closed already
                _knock_no_more(door)
        await asyncio.sleep(QUIET_SECONDS / 4)
        for server in self.servers:
            server.close()
        since: dict[H11Protocol, float] = {}
        while self.connections:
            since = {one: since.get(one, monotonic()) for one in self.idle}
            for one, began in since.items():
                if monotonic() - began > QUIET_SECONDS:
                    one.transport.close()
            await asyncio.sleep(0.02)

    def abort(self) -> None:
        """End all."""
        for one in self.connections:
            one.transport.abort()

    async def end_late(self, seconds: float) -> None:
        """End connections that bring no whole head of a request for so long; uvicorn waits for ever."""
        since: dict[H11Protocol, tuple[object, float]] = {}
        while True:
            now, idle = monotonic(), self.idle
            same = {one: since[one] for one in idle if one in since and since[one][0] is one.cycle}
            since = {one: same.get(one, (one.cycle, now)) for one in idle}
            for one, (_, began) in since.items():
                if now - began > seconds:
                    one.transport.abort()
            await asyncio.sleep(min(1.0, seconds / 4))
