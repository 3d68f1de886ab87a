"""The body of a request -> its files, in memory alone: counted while they come, in one body and in all together.

Neither Starlette's `max_body_size` nor its forms are used: the first answers 413 without a word of the limit and
without closing, so that a client may send on for ever; the second write files of forms to the disk.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from deepres.base.wording import shown
from deepres.serve.limits import BODIES, MOST_FILES, Limits
from deepres.serve.refusal import RefusedError, busy

PIECE = 8192
"""Of a form, read before others have their turn: where each line may be a boundary, 64 kB would take 0.1 s."""

_LONGEST = 255  # letters of a name
_ENCODED = re.compile(rb"\bfilename\*\s*=\s*utf-8'[^']*'([^;\s]+)", re.IGNORECASE)
"""RFC 5987: how some clients write names with letters beyond ASCII."""


class Upload(NamedTuple):
    """A file by the name that its sender gives it, which is shown and never a path."""

    name: str
    data: bytes


class Bodies:
    """The bodies that are held at this moment: `BODIES` of the greatest size, and no byte more."""

    def __init__(self, limits: Limits) -> None:
        self._limit, self._most = limits.max_bytes, BODIES * limits.max_bytes
        self.bytes = 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator["Body"]:
        """The body of a request, which counts until this ends."""
        body = Body(request, self)
        try:
            yield body
        finally:
            self.bytes -= body.bytes

    def _count(self, body: "Body", more: int) -> None:
        body.bytes += more
        self.bytes += more
        if body.bytes > self._limit:
            raise too_large(f"{body.bytes:,} bytes so far", self._limit)
        if self.bytes > self._most:
            raise busy(f"bodies of {self._most:,} bytes are held already; try again in a second")

    def _announced(self, length: str) -> None:
        if length.isdecimal() and int(length[:20]) > self._limit:
            raise too_large(f"{int(length[:20]):,} bytes", self._limit)


class Body:
    """One body: `bytes` of it came so far."""

    def __init__(self, request: Request, bodies: Bodies) -> None:
        self._request, self._bodies, self.bytes = request, bodies, 0

    async def whole(self) -> bytes:
        """All of it, as it is."""
        content = BytesIO()
        async for part in self._parts():
            content.write(part)
        return content.getvalue()

    async def files(self) -> list[Upload]:
        """The files of a form (multipart/form-data), 1 to 64; or the body itself as one, named `image`.

        Raises:
            RefusedError: 413 too many bytes or files; 400 no form; 415 compressed; 422 no file; 503 too much held.
        """
        kind, options = parse_options_header(self._request.headers.get("content-type", ""))
        if kind != b"multipart/form-data":
            data = await self.whole()
            if not data:
                raise RefusedError(422, "no image: the body is empty; send a picture, such as --data-binary @cat.jpg")
            return [Upload("image", data)]
        form = _Form(options.get(b"boundary", b""))
        async for part in self._parts():
            for at in range(0, len(part), PIECE):
                form.write(part[at : at + PIECE])
                await asyncio.sleep(0)
        return form.ended()

    async def _parts(self) -> AsyncIterator[bytes]:
        coding = self._request.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            raise RefusedError(415, f"Content-Encoding {shown(coding[:40])}: is not undone; send the body as it is")
        self._bodies._announced(self._request.headers.get("content-length", ""))
        async for part in self._request.stream():
            self._bodies._count(self, len(part))
            yield part


def too_large(given: str, limit: int) -> RefusedError:
    """413, in one line."""
    return RefusedError(413, f"a body of {given}; the limit (--max-bytes) is {limit:,}; send less at once, or smaller")


class _Form:
    """multipart/form-data, part by part."""

    def __init__(self, boundary: bytes) -> None:
        self._files: list[tuple[str, BytesIO]] = []
        self._field, self._value, self._disposition = b"", b"", b""
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data", "end")
        self._whole = False
        try:
            if not boundary:
                raise FormParserError("no boundary")
            called = {f"on_{name}": getattr(self, f"_{name}") for name in names}
            self._parser = MultipartParser(boundary, called)  # type: ignore[arg-type]
        except FormParserError as cause:
            raise RefusedError(
                400, "multipart/form-data without a boundary that can be used; let the client set it"
            ) from cause

    def write(self, part: bytes) -> None:
        """What comes next."""
        try:
            self._parser.write(part)
        except FormParserError as cause:
            raise RefusedError(
                400, f"no multipart/form-data ({shown(str(cause)[:120])}); let the client write it"
            ) from cause

    def ended(self) -> list[Upload]:
        """All files; RefusedError where there are none, or the form was cut short."""
        if not self._whole:
            raise RefusedError(
                400, "multipart/form-data without its end: cut short, or another boundary; send it again"
            )
        if not self._files:
            raise RefusedError(422, "no image: the form has no file; send one, such as -F file=@cat.jpg")
        return [Upload(name, content.getvalue()) for name, content in self._files]

    def _part_begin(self) -> None:
        self._field, self._value, self._disposition = b"", b"", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        encoded = _ENCODED.search(self._disposition)
        if encoded is not None:
            options[b"filename"] = unquote_to_bytes(encoded[1])
        if b"filename" not in options:
            name = shown(options.get(b"name", b"").decode(errors="replace")[:40])
            raise RefusedError(
                422, f"field '{name}': is no file; images alone are sent, options stand in the address: ?top_k=3"
            )
        if len(self._files) == MOST_FILES:
            raise RefusedError(413, f"more than {MOST_FILES} files in a form; send fewer at once")
        name = options[b"filename"].decode(errors="backslashreplace")[:_LONGEST]
        self._files.append((name or f"image {len(self._files) + 1}", BytesIO()))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._files[-1][1].write(memoryview(data)[start:end])

    def _end(self) -> None:
        self._whole = True
