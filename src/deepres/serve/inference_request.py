"""The body of a request of the Open Inference Protocol -> pictures, as files or pixels, and what is wanted of them."""

from base64 import b64decode
from binascii import Error as NoBase64Error
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from deepres.base.errors import InputError, unknown
from deepres.base.reading import parse_json
from deepres.base.wording import counted
from deepres.serve.limits import MOST_FILES, Limits
from deepres.serve.refusal import RefusedError

MOST_NUMBERS = 400_000
"""Numbers in a JSON body, lists counted too: reading so many stops the event loop for some 20 to 50 ms."""

MOST_QUOTES = 2_000
BYTES_A_NUMBER = 6

LENGTH = "Inference-Header-Content-Length"
TensorValues = np.ndarray[Any, Any]


@dataclass(frozen=True)
class InferenceRequest:
    """A request as it was read: pictures as files or pixels, which outputs in which form."""

    files: tuple[bytes, ...]
    pixels: TensorValues | None
    outputs: tuple[str, ...]
    binary: frozenset[str]
    number: str | None

    @property
    def images(self) -> int:
        return len(self.files) if self.pixels is None else len(self.pixels)


def read_request(body: bytes, length: str | None, known: tuple[str, ...], limits: Limits) -> InferenceRequest:
    """A request's body.

    Raises:
        RefusedError: it is none of the protocol's, or of another input.
    """
    size = len(body)
    if length is not None:
        if not length.isdecimal() or int(length[:20]) > len(body):
            raise RefusedError(
                400, f"{LENGTH}: {length[:40]}; wanted the bytes of JSON, at most the {len(body):,} of the body"
            )
        size = int(length)
    head, tail = body[:size], memoryview(body)[size:]
    _require_short(head)
    try:
        facts = parse_json(head, "body", "JSON", "send what the Open Inference Protocol says")
    except InputError as cause:
        raise RefusedError(400, cause.message) from cause
    match facts:
        case {"inputs": [dict() as tensor]}:
            pass
        case {"inputs": [_, *_] as several}:
            raise RefusedError(400, f"{len(several)} inputs; wanted one, named image")
        case _:
            raise RefusedError(400, 'body: no list `inputs` with one tensor; wanted {"inputs": [{"name": "image", …}]}')
    outputs, binary = _outputs_wanted(facts, known)
    files, pixels = _tensor(tensor, tail, limits)
    number = facts.get("id")
    if not isinstance(number, str | int | None) or isinstance(number, bool):
        raise RefusedError(400, f"id: {number!r:.40}; wanted a text, which comes back with the answer")
    return InferenceRequest(files, pixels, outputs, binary, str(number)[:200] if number is not None else None)


def _require_short(head: bytes) -> None:
    """Refuse JSON whose reading would hold everybody up: many or long numbers, many texts; long texts do not."""
    values = head.count(b",") + head.count(b"[")
    quotes = head.count(b'"')
    if values > MOST_NUMBERS:
        given = f"more than {MOST_NUMBERS:,} values in JSON"
    elif quotes > MOST_QUOTES:
        given = f"{quotes // 2:,} texts in JSON, at most {MOST_QUOTES // 2:,}"
    elif (outside := sum(map(len, head.split(b'"')[::2]))) > BYTES_A_NUMBER * MOST_NUMBERS:
        given = f"{outside:,} bytes of numbers in JSON, at most {BYTES_A_NUMBER * MOST_NUMBERS:,}"
    else:
        return
    raise RefusedError(413, f"{given}; send them as binary tensors, or the pictures' files as BYTES")


def _outputs_wanted(facts: dict[str, Any], known: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    given = facts.get("outputs") or [{"name": name} for name in known]
    all_binary = _parameters(facts).get("binary_data_output") is True
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise RefusedError(400, 'outputs: wanted a list of {"name": …}')
    names, binary = [], set()
    for one in given:
        name = str(one.get("name"))[:100]
        if name not in known:
            raise RefusedError(400, unknown("output", name, known).message)
        parameters = _parameters(one)
        if "classification" in parameters:
            raise RefusedError(400, f"output {name}: classification is not known; labels and probabilities say it")
        if parameters.get("binary_data", all_binary):
            binary.add(name)
        names.append(name)
    return tuple(names), frozenset(binary)


def _parameters(facts: dict[str, Any]) -> dict[str, Any]:
    found = facts.get("parameters") or {}
    if not isinstance(found, dict):
        raise RefusedError(400, "parameters: wanted an object")
    return found


def _tensor(tensor: dict[str, Any], tail: memoryview, limits: Limits) -> tuple[tuple[bytes, ...], TensorValues | None]:
    """The input: files, or pixels (n, 3, H, W)."""
    if tensor.get("name") != "image":
        raise RefusedError(400, unknown("input", str(tensor.get("name"))[:100], ["image"]).message)
    kind, shape = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(shape, list) or not shape or not all(type(side) is int and 0 < side < 2**31 for side in shape):
        raise RefusedError(400, f"input image: shape {shape!r:.60}; wanted positive whole numbers")
    if shape[0] > MOST_FILES:
        raise RefusedError(413, f"input image: {shape[0]} images; a request has at most {MOST_FILES}")
    size = _parameters(tensor).get("binary_data_size")
    if size is not None and ("data" in tensor or type(size) is not int or size != len(tail)):
        raise RefusedError(
            400, f"input image: binary_data_size {size!r:.20}, {len(tail):,} bytes follow the JSON; wanted as many"
        )
    if size is None and len(tail):
        raise RefusedError(400, f"{len(tail):,} bytes follow the JSON, and no input has binary_data_size")
    if size is None and not isinstance(tensor.get("data"), list):
        raise RefusedError(400, "input image: no list `data`")
    if kind == "BYTES" and len(shape) == 1:
        files = _of_binary(tail) if size is not None else _of_base64(tensor["data"])
        if len(files) != shape[0]:
            raise RefusedError(400, f"input image: {counted(len(files), 'file')}, its shape says {shape[0]}")
        return files, None
    if kind != "UINT8" or len(shape) != 4 or shape[1] != 3:
        raise RefusedError(
            400, f"input image: {kind!r:.20} {shape!r:.60}; wanted UINT8 [n, 3, height, width], or BYTES [n]"
        )
    if shape[2] * shape[3] > limits.max_pixels:
        told = f"{shape[3]:,} x {shape[2]:,} px"
        raise RefusedError(
            422, f"input image: {told}; the limit (--max-pixels) is {limits.max_pixels:,}; send it smaller"
        )
    return (), _pixels(np.frombuffer(tail, np.uint8) if size is not None else _numbers(tensor["data"]), shape)


def _pixels(values: TensorValues, shape: list[int]) -> TensorValues:
    if values.size != prod(shape):
        raise RefusedError(400, f"input image: {values.size:,} values, its shape {shape} says {prod(shape):,}")
    return np.ascontiguousarray(values.reshape(shape)).copy()


def _numbers(data: list[Any]) -> TensorValues:
    try:
        found = np.asarray(data)
    except (ValueError, OverflowError) as cause:  # ragged
        raise RefusedError(400, "input image: data is ragged; wanted whole numbers from 0 to 255") from cause
    if found.dtype.kind not in "iu" or found.min() < 0 or found.max() > 255:
        raise RefusedError(400, "input image: data of UINT8 is whole numbers from 0 to 255")
    return found.astype(np.uint8).reshape(-1)


def _of_base64(data: list[Any]) -> tuple[bytes, ...]:
    try:
        return tuple(b64decode(one, validate=True) for one in data)
    except (NoBase64Error, TypeError, ValueError) as cause:
        raise RefusedError(400, "input image: data of BYTES is a list of files in base64") from cause


def _of_binary(tail: memoryview) -> tuple[bytes, ...]:
    """Each a length of four bytes, the lowest first, and so many bytes."""
    found: list[bytes] = []
    at = 0
    while at < len(tail):
        size = int.from_bytes(tail[at : at + 4], "little")
        if at + 4 + size > len(tail):
            raise RefusedError(400, f"input image: its binary data ends within file {len(found) + 1}")
        found.append(bytes(tail[at + 4 : at + 4 + size]))
        at += 4 + size
    return tuple(found)
