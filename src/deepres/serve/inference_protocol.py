"""The Open Inference Protocol over REST (version 2): health, metadata, inference in JSON or with binary tensors.

https://github.com/open-inference/open-inference-protocol, and Triton's binary tensor data extension. The one input is
`image`: UINT8 (n, 3, H, W), upright RGB as it was decoded; or BYTES (n), each a picture's file, in JSON as base64.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from deepres.base.version import VERSION
from deepres.serve.asking import Service, ask, ask_files
from deepres.serve.batcher import BatchJob
from deepres.serve.body import Upload
from deepres.serve.door import unless_gone
from deepres.serve.inference_request import LENGTH, InferenceRequest, TensorValues, read_request
from deepres.serve.logs import entry_of
from deepres.serve.pixels import require_no_strip
from deepres.serve.refusal import RefusedError
from deepres.serve.served import Served

VERSIONS = ["1"]
"""Of each model: what is exchanged takes the place of what was there."""


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
    platform = "deepres_pytorch" if served.exported is None else "deepres_exported"
    inputs = [{"name": "image", "datatype": "UINT8", "shape": [-1, 3, -1, -1]}]
    return {
        "name": served.name,
        "versions": VERSIONS,
        "platform": platform,
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
        wanted = await loop.run_in_executor(
            service.models.lookers, read_request, whole, length, tuple(known), service.limits
        )
        entry.images = wanted.images
        if wanted.pixels is None:
            uploads = [Upload(f"image {number}", data) for number, data in enumerate(wanted.files)]
            work = asyncio.ensure_future(ask_files(service, served, uploads, entry))
        else:
            height, width = wanted.pixels.shape[2:]
            require_no_strip(width, height, "input image", served.preparation, service.limits.max_pixels)
            entry.px = wanted.images * height * width
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


def _reply(served: Served, wanted: InferenceRequest, outputs: Sequence[Any]) -> Response:
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
