"""The Open Inference Protocol over REST (version 2): health, metadata, inference in JSON or with binary tensors.

https://github.com/open-inference/open-inference-protocol, and Triton's binary tensor data extension. The one input is
`image`: UINT8 (n, 3, H, W), upright RGB as it was decoded; or BYTES (n), each a picture's file, in JSON as base64.
"""

import asyncio
import json
from base64 import b64decode
from binascii import Error as NoBase64Error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from deepres.base.errors import InputError, unknown
from deepres.base.reading import parse_json
from deepres.base.version import VERSION
from deepres.serve.asking import Service, ask, ask_files
from deepres.serve.batcher import BatchJob
from deepres.serve.body import Upload
from deepres.serve.door import unless_gone
from deepres.serve.limits import MOST_FILES, Limits
from deepres.serve.logs import entry_of
from deepres.serve.refusal import RefusedError
from deepres.serve.served import Served

MOST_NUMBERS = 400_000
"""Numbers in a JSON body: reading so many stops the event loop for some 20 ms."""

VERSIONS = ["1"]
"""Of each model: what is exchanged takes the place of what was there."""

LENGTH = "Inference-Header-Content-Length"
TensorValues = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Wanted:
    """A request as it was read: pictures as files or pixels, which outputs in which form."""

    files: tuple[bytes, ...]
    pixels: TensorValues | None
    outputs: tuple[str, ...]
    binary: frozenset[str]
    number: str | None

    @property
    def images(self) -> int:
        return len(self.files) if self.pixels is None else len(self.pixels)


def routes(service: Service) -> APIRouter:
    """The routes of version 2."""
    found = APIRouter(prefix="/v2")

    @found.get("")
    async def server() -> Response:
        """Which server this is."""
        return JSONResponse({"name": "deepres", "version": VERSION, "extensions": ["binary_tensor_data"]})

    @found.get("/health/live")
    async def live() -> Response:
        """Whether the process is alive."""
        return JSONResponse({"live": True})

    @found.get("/health/ready")
    async def ready() -> Response:
        """Whether requests are welcome: not while it drains, nor while a network stands still."""
        return _readiness(service, service.models.names)

    def served(request: Request, name: str) -> Served:
        one, version = service.models.get(name), request.path_params.get("version")
        if version not in (None, VERSIONS[0]):
            raise RefusedError(404, f"model {one.name}: version {version:.40} is not there; known: {VERSIONS[0]}")
        return one

    @found.get("/models/{name}")
    @found.get("/models/{name}/versions/{version}", include_in_schema=False)
    async def model(request: Request, name: str) -> Response:
        """Inputs and outputs of a model."""
        return JSONResponse(metadata(served(request, name)))

    @found.get("/models/{name}/ready")
    @found.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
    async def model_ready(request: Request, name: str) -> Response:
        """Whether a model answers."""
        return _readiness(service, [served(request, name).name], {"name": name})

    @found.post("/models/{name}/infer")
    @found.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
    async def infer(request: Request, name: str) -> Response:
        """Pictures in, `probabilities` and `labels` out (of numbers: `values`)."""
        return await _inferred(service, request, served(request, name))

    return found


def metadata(served: Served) -> dict[str, Any]:
    """What the protocol tells of a model."""
    outputs = [{"name": name, **facts} for name, facts in _outputs(served).items()]
    inputs = [{"name": "image", "datatype": "UINT8", "shape": [-1, 3, -1, -1]}]
    return {
        "name": served.name,
        "versions": VERSIONS,
        "platform": "deepres_pytorch",
        "inputs": inputs,
        "outputs": outputs,
    }


def _readiness(service: Service, names: Sequence[str], told: Mapping[str, Any] | None = None) -> Response:
    stuck = [name for name in service.models.stuck() if name in names]
    ready = not stuck and not service.draining
    why = "the server takes leave" if service.draining else f"{', '.join(stuck)}: the network stands still"
    return JSONResponse({**(told or {}), "ready": ready, **({} if ready else {"error": why})}, 200 if ready else 503)


def _outputs(served: Served) -> dict[str, dict[str, Any]]:
    form, number = served.task.form, len(served.predictor.classes)
    if form == "numbers":
        return {"values": {"datatype": "FP32", "shape": [-1, number]}}
    if form in ("class", "classes"):
        return {
            "probabilities": {"datatype": "FP32", "shape": [-1, number]},
            "labels": {"datatype": "BYTES", "shape": [-1]},
        }
    return {}


async def _inferred(service: Service, request: Request, served: Served) -> Response:
    entry = entry_of(request.scope)
    entry.model = served.name
    known = _outputs(served)
    if not known:
        raise RefusedError(422, f"{served.name} is a {served.task.kind}, whose answers are no tensors; use /v1/predict")
    loop = asyncio.get_running_loop()
    async with service.bodies.of(request) as body:
        whole = await body.whole()
        entry.bytes = body.bytes
        length = request.headers.get(LENGTH)
        wanted = await loop.run_in_executor(service.models.lookers, _read, whole, length, tuple(known), service.limits)
        entry.images = wanted.images
        if wanted.pixels is None:
            uploads = [Upload(f"image {number}", data) for number, data in enumerate(wanted.files)]
            work = asyncio.ensure_future(ask_files(service, served, uploads, entry))
        else:
            entry.px = wanted.images * wanted.pixels.shape[2] * wanted.pixels.shape[3]
            jobs: list[BatchJob | RefusedError] = [
                served.job_of_pixels(torch.from_numpy(one), f"image {number}")
                for number, one in enumerate(wanted.pixels)
            ]
            work = asyncio.ensure_future(ask(service, served, jobs, entry))
        asked = await unless_gone(request, work)
    for one in asked:
        if one.problem is not None:
            raise one.problem
    outputs = [one.outputs for one in asked]
    return await loop.run_in_executor(service.models.lookers, _reply, served, wanted, outputs)


def _read(body: bytes, length: str | None, known: tuple[str, ...], limits: Limits) -> _Wanted:
    """A request's body.

    Raises:
        RefusedError: it is none of the protocol's, or of another input.
    """
    size = len(body)
    if length is not None:
        if not length.isdecimal() or int(length) > len(body):
            raise RefusedError(
                400, f"{LENGTH}: {length[:40]}; wanted the bytes of JSON, at most the {len(body):,} of the body"
            )
        size = int(length)
    head, tail = body[:size], memoryview(body)[size:]
    if head.count(b",") > MOST_NUMBERS:
        raise RefusedError(
            413,
            f"more than {MOST_NUMBERS:,} values in JSON; send them as binary tensors, or the pictures' files as BYTES",
        )
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
    return _Wanted(files, pixels, outputs, binary, str(number)[:200] if number is not None else None)


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
            raise RefusedError(400, f"input image: {len(files)} files, its shape says {shape[0]}")
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


def _reply(served: Served, wanted: _Wanted, outputs: Sequence[Any]) -> Response:
    columns: dict[str, Callable[[], TensorValues | list[str]]] = {
        "probabilities": lambda: np.stack([one.float().numpy() for one in outputs]).astype("<f4"),
        "values": lambda: np.array([[each.value for each in _told(served, one).values] for one in outputs], "<f4"),
        "labels": lambda: [_label(served, one) for one in outputs],
    }
    told, parts = [], []
    for name in wanted.outputs:
        values = columns[name]()
        kind = "BYTES" if isinstance(values, list) else "FP32"
        shape = [len(values)] if isinstance(values, list) else [*values.shape]
        facts: dict[str, Any] = {"name": name, "datatype": kind, "shape": shape}
        if name in wanted.binary:
            parts.append(_binary(values))
            facts["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            facts["data"] = values if isinstance(values, list) else values.reshape(-1).tolist()
        told.append(facts)
    whole: dict[str, Any] = {"model_name": served.name, "model_version": VERSIONS[0], "outputs": told}
    if wanted.number is not None:
        whole["id"] = wanted.number
    if not parts:
        return JSONResponse(whole)
    head = json.dumps(whole).encode()
    return Response(b"".join([head, *parts]), media_type="application/octet-stream", headers={LENGTH: str(len(head))})


def _binary(values: TensorValues | list[str]) -> bytes:
    if not isinstance(values, list):
        return values.tobytes()
    encoded = [value.encode(errors="backslashreplace") for value in values]
    return b"".join(len(one).to_bytes(4, "little") + one for one in encoded)


def _told(served: Served, outputs: Any) -> Any:
    return served.decoded(outputs, "image", 1)


def _label(served: Served, outputs: Any) -> str:
    """The likeliest class; of several labels all that are said, with ; between."""
    answer = _told(served, outputs)
    return str(answer.guesses[0].name) if served.task.form == "class" else ";".join(answer.labels)
