"""Where every request comes in and goes out: its number, the token, its time, its end, and a line about it."""

import asyncio
import re
import secrets
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import TypeVar, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepres.base.errors import InputError
from deepres.serve.asking import Service
from deepres.serve.limits import is_token
from deepres.serve.logs import LogEntry
from deepres.serve.refusal import RefusedError

OPEN = ("/v2/health/live", "/v2/health/ready")
"""What needs no token."""

GONE = 499
"""What is counted where the client went away before it was answered."""

LINGER_SECONDS = 2.0
"""For so long what a client still sends is taken and thrown away after an early answer, so that it reads the answer."""

_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


T = TypeVar("T")


class GoneError(Exception):
    """The client went away."""


class Door:
    """ASGI around `app`; `at_work` requests are being answered. Where the service drains, connections end.

    `cut` ends the connection of a scope at once: that of a client that does not even take its answer.
    """

    def __init__(self, app: ASGIApp, service: Service, token: str | None) -> None:
        self._app, self.service, self._token, self.at_work = app, service, token, 0
        self.cut: Callable[[Scope], object] = id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began = perf_counter()
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        entry = LogEntry(given if _NUMBER.fullmatch(given) else secrets.token_hex(8))
        scope["deepres.entry"] = entry
        entry.whole = not {name for name, _ in scope["headers"]} & {b"content-length", b"transfer-encoding"}
        passage = _Passage(self, scope, receive, send, entry)
        self.at_work += 1
        try:
            await self._through(scope, passage)
        finally:
            self.at_work -= 1
            self._tell(scope, entry, perf_counter() - began)

    async def _through(self, scope: Scope, passage: "_Passage") -> None:
        entry = passage.entry
        try:
            async with asyncio.timeout(self.service.limits.timeout):
                try:
                    self._require_token(scope)
                    await self._answered(scope, passage)
                except (RefusedError, InputError) as refusal:
                    await passage.refuse(refusal)
        except (ClientDisconnect, GoneError):
            entry.status = GONE
            self.cut(scope)
        except TimeoutError:
            await self._too_late(scope, passage)
        except Exception as cause:
            entry.problem = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
            self.service.logs(
                "error", id=entry.number, problem=entry.problem, traceback=traceback.format_exc(limit=-12)
            )
            if passage.started:
                if not passage.ended:
                    self.cut(scope)
                return
            with suppress(Exception):
                await passage.refuse(
                    RefusedError(500, f"the server failed; its log says more under request {entry.number}"), tell=False
                )

    async def _answered(self, scope: Scope, passage: "_Passage") -> None:
        """HEAD, as watchers of servers ask, is what GET is, of which uvicorn keeps the body back."""
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(asked, passage.receive, passage.send)
        finally:
            scope["route"] = asked.get("route")

    async def _too_late(self, scope: Scope, passage: "_Passage") -> None:
        limit = f"{self.service.limits.timeout:g} s (--timeout)"
        if passage.started:
            passage.entry.problem = f"its answer was not taken within {limit}"
            self.cut(scope)
            return
        if passage.entry.whole:
            refusal = RefusedError(504, f"not answered within {limit}; try again later, or send fewer images at once")
        else:
            refusal = RefusedError(408, f"the body did not arrive within {limit}; send it faster, or smaller")
        with suppress(Exception):
            async with asyncio.timeout(LINGER_SECONDS):
                await passage.refuse(refusal, linger=False)

    def _require_token(self, scope: Scope) -> None:
        if self._token is None or path_in(scope) in OPEN:
            return
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not is_token(given[0], self._token):
            what = "no token" if not given else "another token"
            raise RefusedError(
                401,
                f"{what}; send the server's own as a header: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": 'Basic realm="deepres, the token is the password", charset="UTF-8", Bearer'},
            )

    def _tell(self, scope: Scope, entry: LogEntry, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "")
        self.service.metrics.requests.labels(route, entry.model or "", str(entry.status)).inc()
        self.service.metrics.request_seconds.labels(route).observe(seconds)
        facts = {name: value for name, value in vars(entry).items() if name not in ("number", "whole")}
        for name in ("queue_ms", "decode_ms", "network_ms"):
            facts[name] = None if facts[name] is None else round(facts[name], 2)
        self.service.logs(
            "request",
            id=entry.number,
            method=scope["method"][:16],
            path=scope["path"][:200],
            **facts,
            ms=round(1000 * seconds, 2),
        )


class _Passage:
    """The two ways of one request: what was received, what was sent."""

    def __init__(self, door: Door, scope: Scope, receive: Receive, send: Send, entry: LogEntry) -> None:
        self._door, self._scope, self._receive, self._send = door, scope, receive, send
        self.entry, self.started, self.ended, self._gone = entry, False, False, False
        self._comes = b"expect" not in dict(scope["headers"])  # else the body waits until it is asked for

    async def receive(self) -> Message:
        """The next of the body; the last one is noted."""
        self._comes = True
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self.entry.whole = True
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def send(self, message: Message, linger: bool = True) -> None:
        """What is answered; where the body has not come whole the connection ends, once the client had time to read."""
        if message["type"] == "http.response.start":
            self.started, self.entry.status = True, message["status"]
            more = {**_HEADERS, "X-Request-Id": self.entry.number}
            own = {name.lower() for name, _ in message.get("headers", [])}
            headers = [*message.get("headers", [])]
            headers += [
                (name.encode(), value.encode()) for name, value in more.items() if name.lower().encode() not in own
            ]
            if self._door.service.draining or not self.entry.whole:
                headers.append((b"connection", b"close"))
            await self._send({**message, "headers": headers})
            return
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and linger and self._comes and not self.entry.whole:
            await self._send({**message, "more_body": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while not self.entry.whole and not self._gone:
                        await self.receive()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)
        self.ended = self.ended or last

    async def refuse(self, refusal: RefusedError | InputError, *, linger: bool = True, tell: bool = True) -> None:
        """The refusal as JSON."""
        refusal = refusal if isinstance(refusal, RefusedError) else RefusedError(422, refusal.message)
        if tell:
            self.entry.problem = refusal.message[:300]
        response = JSONResponse({"error": refusal.message}, refusal.status, refusal.headers)

        async def send(message: Message) -> None:
            await self.send(message, linger)

        await response(self._scope, self._receive, send)


def path_in(scope: Scope) -> str:
    """The path within this server, wherever it is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


async def unless_gone(request: Request, work: "asyncio.Future[T]") -> T:
    """What `work` comes to; once the client has gone, it is cancelled. The body must have been read.

    Raises:
        GoneError: the client has gone.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    watching: asyncio.Future[None] = asyncio.ensure_future(gone())
    try:
        await asyncio.wait(cast(list[asyncio.Future[object]], [work, watching]), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise GoneError
        return work.result()
    finally:
        watching.cancel()
        work.cancel()
