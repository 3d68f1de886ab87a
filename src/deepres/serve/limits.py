"""How much a server takes: bytes, pixels, images that wait, seconds; sizes as people write them; the token."""

import hmac
import re
from base64 import b64decode
from binascii import Error as NoBase64Error
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import Field

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.base.records import Record

MOST_FILES = 64
"""Images in a request."""

BODIES = 16
"""So many bodies of the greatest size are held at once; whoever brings more is asked to come again."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]I?|)B?", re.IGNORECASE)
_SHORTEST = 8  # letters of a token


class Limits(Record):
    """What one server takes; seconds and milliseconds as named, `max_bytes` of a body, `max_pixels` of an image."""

    max_bytes: Annotated[int, Field(ge=1024)] = 20_000_000
    max_pixels: Annotated[int, Field(ge=1, le=2**27)] = 50_000_000
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    batch_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 5.0
    queue: Annotated[int, Field(ge=1)] = 256
    timeout: Annotated[float, Field(gt=0)] = 30.0
    drain: Annotated[float, Field(ge=0)] = 20.0


def size_of(text: str, flag: str) -> int:
    """`20MB`, `50M`, `512KiB`, `2000000` as a number; M is a million, Mi 1,048,576.

    Raises:
        InputError: it is none of these.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{flag} {text}: wanted a number with or without a unit, such as 20MB, 50M or 512KiB")
    return round(float(found[1]) * _UNITS[found[2].upper()])


def token_in(path: Path) -> str:
    """The token that stands alone in a file.

    Raises:
        InputError: no such file, or it holds no token: at least 8 visible letters of ASCII in one line.
    """
    token = read_text(path, "file with a token").strip()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"--token-file {path}: wanted one line of at least {_SHORTEST} letters of ASCII without blanks; "
            "make one with: openssl rand -hex 32"
        )
    return token


def is_token(authorization: str, token: str) -> bool:
    """Whether an `Authorization` header brings the token: as `Bearer TOKEN`, or as the password of `Basic`.

    Browsers ask for the latter by themselves. What is compared takes the same time however much of it is right.
    """
    scheme, _, given = authorization.strip().partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            given = b64decode(given, validate=True).decode().partition(":")[2]
        except (NoBase64Error, ValueError):
            given = ""
    elif scheme.lower() != "bearer":
        given = ""
    return hmac.compare_digest(*(sha256(text.encode(errors="surrogatepass")).digest() for text in (given, token)))
