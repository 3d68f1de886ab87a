"""An address -> the bytes of a picture, within limits: http(s) alone, so many bytes, redirections and seconds."""

from http.client import HTTPException
from threading import Thread
from time import monotonic
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from deepres.base.version import VERSION
from deepres.data.decode import BadImageError

MOST_BYTES = 64 << 20
SECONDS = 30.0
"""For the whole of it; a third of it for each wait."""

MOST_REDIRECTIONS = 5
_PICTURES = ("image/", "application/octet-stream", "binary/octet-stream")


class _Redirections(HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTIONS

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise URLError(f"it redirects to {newurl[:80]}, which is not read")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(address: str, *, seconds: float = SECONDS, most_bytes: int = MOST_BYTES) -> bytes:
    """What lies at the address.

    Raises:
        BadImageError: it does not answer, not in time, with an error, with no picture, or with too much.
    """
    got: list[bytes | str] = []
    reading = Thread(target=lambda: got.append(_read(address, seconds, most_bytes)), daemon=True)
    reading.start()
    reading.join(seconds)  # a server that sends a byte now and then is never late by itself
    found = got[0] if got else f"took longer than {seconds:g} s; download it, and give the file"
    if isinstance(found, str):
        raise BadImageError(f"{address}: {found}")
    return found


def _read(address: str, seconds: float, most_bytes: int) -> bytes | str:
    """The bytes, or why there are none."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        _Redirections(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    latest = monotonic() + seconds
    try:
        request = Request(_ascii(address), headers={"User-Agent": f"deepres/{VERSION}", "Accept": "image/*"})
        with opener.open(request, timeout=seconds / 3) as response:
            kind = response.headers.get_content_type() if response.headers.get("Content-Type") else ""
            if kind and not kind.startswith(_PICTURES):
                return f"is no picture but {kind}; wanted the address of the image itself"
            data = bytearray()
            while part := response.read1(1 << 16):
                data += part
                if len(data) > most_bytes:
                    return f"more than {most_bytes / (1 << 20):g} MiB; download it, and give the file"
                if monotonic() > latest:
                    return f"took longer than {seconds:g} s; download it, and give the file"
            expected = response.headers.get("Content-Length", "")
            if expected.isdecimal() and len(data) < int(expected):
                return f"ended after {len(data):,} of {int(expected):,} bytes; try again"
            return bytes(data)
    except HTTPError as cause:
        return f"answered {cause.code} {' '.join(str(cause.reason).split())[:80]}; check the address"
    except TimeoutError:
        return f"did not answer within {seconds / 3:.2g} s; download it, and give the file"
    except (OSError, HTTPException, ValueError) as cause:
        reason = cause.reason if isinstance(cause, URLError) else cause
        if isinstance(reason, TimeoutError):
            return f"did not answer within {seconds / 3:.2g} s; download it, and give the file"
        return f"cannot be had ({' '.join(str(reason).split())[:160] or type(reason).__name__}); check the address"


def _ascii(address: str) -> str:
    """Blanks and letters beyond ASCII as a browser would send them."""
    parts = urlsplit(address)
    if not parts.hostname:
        raise ValueError("no host in it")
    host = parts.netloc.encode("idna").decode() if not parts.netloc.isascii() else parts.netloc
    path, query = (quote(text, safe="%/:=&?~+!$,;'@()*[]") for text in (parts.path, parts.query))
    return parts._replace(netloc=host, path=path or "/", query=query, fragment="").geturl()
