"""Our routes: pictures in, answers out, maps, what is known of the models, what is counted; every refusal one line."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from deepres.base.errors import InputError, unknown
from deepres.base.version import VERSION
from deepres.base.wording import shown
from deepres.serve import inference_protocol as protocol
from deepres.serve import page
from deepres.serve.asking import AskedPictures, Service, as_data, as_json, ask_files, maps
from deepres.serve.body import Upload
from deepres.serve.door import unless_gone
from deepres.serve.limits import MOST_FILES
from deepres.serve.logs import entry_of
from deepres.serve.refusal import RefusedError
from deepres.serve.served import Served
from deepres.tasks.kinds import AnyTask

_PICTURES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {
                            "type": "array",
                            "maxItems": MOST_FILES,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            },
        },
    }
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": f'{text}, as `{{"error": …}}`'}
    for status, text in (
        (401, "No token, or another"),
        (404, "No such model"),
        (408, "The body did not arrive in time"),
        (413, "Too many bytes or files"),
        (422, "No picture, too many pixels, or an option that means nothing here"),
        (500, "The network failed"),
        (503, "The queue is full: `Retry-After` says when to come again"),
        (504, "Not answered in time"),
    )
}
TopK = Annotated[int | None, Query(ge=1, le=100_000, description="How many classes to name for each image (5).")]
Above = Annotated[float | None, Query(ge=0, le=1, description="Boxes: tell those of this score or more.")]
Reject = Annotated[
    str | None,
    Query(
        max_length=100,
        description="`unknown` in place of unsure classes: coverage=0.95, error=0.01 or probability=0.8, as "
        "`deepres predict --reject` takes it.",
    ),
]
Cam = Annotated[bool, Query(description="With each answer the map of its likeliest class, as a PNG in `map`.")]
Label = Annotated[
    str | None,
    Query(
        alias="class",
        max_length=1000,
        description="The class whose map is drawn (name or number); by default the likeliest.",
    ),
]


def app_of(service: Service) -> FastAPI:
    """The routes of one server."""
    app = FastAPI(
        title="deepres serve",
        version=VERSION,
        summary="Pictures in, answers out.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_REFUSALS,
    )
    for each in (_routes(service), protocol.routes(service), page.routes()):
        app.include_router(each)
    for kind, handler in (
        (RefusedError, _refused),
        (InputError, _refused),
        (HTTPException, _no_route),
        (RequestValidationError, _not_valid),
        (Exception, _failed),
    ):
        app.add_exception_handler(kind, handler)
    return app


def _routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/predict", openapi_extra=_PICTURES)
    async def predict(
        request: Request, top_k: TopK = None, cam: Cam = False, above: Above = None, reject: Reject = None
    ) -> Response:
        """What is on these pictures: the body is one, or a form of 1 to 64 files; the first model answers."""
        return await _predicted(service, request, None, _Options(top_k, cam, above, reject))

    @routes.post("/v1/models/{name}/predict", openapi_extra=_PICTURES)
    async def predict_by(
        request: Request,
        name: str,
        top_k: TopK = None,
        cam: Cam = False,
        above: Above = None,
        reject: Reject = None,
    ) -> Response:
        """The same, answered by the model of that name."""
        return await _predicted(service, request, name, _Options(top_k, cam, above, reject))

    @routes.post("/v1/cam", openapi_extra=_PICTURES, response_class=Response)
    async def cam(request: Request, label: Label = None) -> Response:
        """A picture with the map of a class on it, PNG of at most 1024 px: where the answer comes from."""
        return await _mapped(service, request, None, label)

    @routes.post("/v1/models/{name}/cam", openapi_extra=_PICTURES, response_class=Response)
    async def cam_by(request: Request, name: str, label: Label = None) -> Response:
        """The same, by the model of that name."""
        return await _mapped(service, request, name, label)

    @routes.get("/v1/models")
    async def models(request: Request) -> Response:
        """The models that answer, the default first."""
        _require_known(request, ())
        return JSONResponse({"default": service.models.names[0], "models": [one.facts() for one in service.models]})

    @routes.get("/v1/models/{name}")
    async def model(request: Request, name: str) -> Response:
        """Network, classes, preparation, weights' SHA-256 and measured error of one model."""
        _require_known(request, ())
        return JSONResponse(service.models.get(name).facts())

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """What is counted, for Prometheus."""
        service.metrics.held_bytes.set(service.bodies.bytes)
        service.metrics.log_lines_lost.set(service.logs.lost)
        text, kind = service.metrics.text()
        return Response(text, media_type=kind)

    return routes


class _Options:
    """?top_k=, ?cam=, ?above=, ?reject= as they were given."""

    def __init__(self, top_k: int | None, cam: bool, above: float | None, reject: str | None) -> None:
        self.top_k, self.cam, self.above, self.reject = top_k, cam, above, reject

    def task_of(self, served: Served) -> AnyTask:
        """What the model is asked, as the options have it; refused is what means nothing to it."""
        task, own = served.task, served.task.tools
        if self.cam:
            served.require_maps()
        if self.above is not None:
            if "--above" not in own:
                why = "hides none of its guesses" if task.form == "boxes" else "finds no boxes"
                raise RefusedError(
                    422, f"above={self.above:g}: {served.name} is a {task.kind}, which {why}; leave it out"
                )
            task = task.replace(above=self.above)
        if self.top_k is not None and task.form not in ("class", "classes"):
            raise RefusedError(
                422, f"top_k={self.top_k}: {served.name} is a {task.kind}, which names no classes; leave it out"
            )
        if self.reject is not None:
            if "--reject" not in own:
                raise RefusedError(
                    422, f"reject={self.reject}: {served.name} is a {task.kind}, which names no one class; leave it out"
                )
            try:
                task = task.rejecting(self.reject)[0]
            except InputError as cause:
                raise RefusedError(422, cause.message.replace("--reject ", "reject=", 1)) from cause
        return task


async def _predicted(service: Service, request: Request, name: str | None, options: _Options) -> Response:
    entry = entry_of(request.scope)
    served = service.models.get(name)
    entry.model = served.name
    _require_known(request, ("top_k", "cam", "above", "reject"))
    task = options.task_of(served)
    async with service.bodies.of(request) as body:
        uploads = await body.files()
        entry.bytes, entry.images = body.bytes, len(uploads)

        async def answered() -> list[tuple[AskedPictures, str | None]]:
            asked = await ask_files(service, served, uploads, entry)
            good = [upload for upload, one in zip(uploads, asked, strict=True) if one.problem is None]
            drawn = iter(await maps(service, served, good, None, entry) if options.cam and good else ())
            return [(one, as_data(next(drawn)[2]) if options.cam and one.problem is None else None) for one in asked]

        found = await unless_gone(request, asyncio.ensure_future(answered()))
    work = asyncio.get_running_loop().run_in_executor(
        service.models.lookers, _composed, served, uploads, found, (options.top_k or 5, task), entry.number
    )
    problem, content = await work
    if problem is None:
        return Response(content, media_type="application/json")
    entry.problem = problem.message[:300]
    return Response(content, problem.status, problem.headers, "application/json")


def _composed(
    served: Served,
    uploads: Sequence[Upload],
    found: Sequence[tuple[AskedPictures, str | None]],
    told_as: tuple[int, AnyTask],
    number: str,
) -> tuple[RefusedError | None, bytes]:
    """The answers as JSON, and the first problem where there is nothing else; by a thread, for they may be long."""
    answers = [
        _answer(served, upload, one, told_as, drawn) for upload, (one, drawn) in zip(uploads, found, strict=True)
    ]
    problems = [one.problem for one, _ in found if one.problem is not None]
    told: dict[str, Any] = {"id": number, "model": served.name, "answers": answers}
    if len(problems) < len(found):
        return None, as_json(told)
    return problems[0], as_json({"error": problems[0].message, **told})


def _answer(
    served: Served, upload: Upload, one: AskedPictures, told_as: tuple[int, AnyTask], drawn: str | None
) -> dict[str, Any]:
    if one.problem is not None:
        return served.unread(shown(upload.name), one.problem.message).model_dump(mode="json")
    answer = served.decoded(one.outputs, shown(upload.name), *told_as)
    return answer.model_dump(mode="json") | ({} if drawn is None else {"map": drawn})


async def _mapped(service: Service, request: Request, name: str | None, label: str | None) -> Response:
    entry = entry_of(request.scope)
    served = service.models.get(name)
    entry.model = served.name
    _require_known(request, ("class",))
    served.require_maps()
    async with service.bodies.of(request) as body:
        uploads = await body.files()
        entry.bytes, entry.images = body.bytes, len(uploads)
        if len(uploads) > 1:
            raise RefusedError(422, f"{len(uploads)} files: a map is drawn on one picture; send one at a time")
        work = asyncio.ensure_future(maps(service, served, uploads, label, entry))
        found, chance, png = (await unless_gone(request, work))[0]
    return Response(png, media_type="image/png", headers={"X-Class": quote(found), "X-Probability": f"{chance:.6f}"})


def _require_known(request: Request, known: tuple[str, ...]) -> None:
    """Refuse options that nobody knows, and those that are given twice."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            raise RefusedError(422, unknown("option", name[:100], known).message)
        if given.count(name) > 1:
            raise RefusedError(422, f"option '{name}': given {given.count(name)} times; give it once")


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, RefusedError | InputError)
    refusal = refusal if isinstance(refusal, RefusedError) else RefusedError(422, refusal.message)
    entry_of(request.scope).problem = refusal.message[:300]
    return JSONResponse({"error": refusal.message}, refusal.status, refusal.headers)


async def _no_route(request: Request, cause: Exception) -> Response:
    """404 and 405 of paths that are none."""
    assert isinstance(cause, HTTPException)
    path = shown(request.scope["path"])[:100]
    message = f"{request.method} {path}: {cause.detail}"
    if cause.status_code == 404:
        message = unknown("path", path, [*request.app.openapi()["paths"], "/", "/docs"]).message
    elif cause.status_code == 405:
        allowed = (cause.headers or {}).get("Allow", "another method")
        message = f"{request.method} {path}: wanted {allowed}"
    entry_of(request.scope).problem = message[:300]
    return JSONResponse({"error": message}, cause.status_code, cause.headers)


async def _not_valid(request: Request, cause: Exception) -> Response:
    """An option of the wrong kind."""
    assert isinstance(cause, RequestValidationError)
    first = cause.errors()[0]
    message = (
        f"option '{first['loc'][-1]}': {first['msg'][:1].lower()}{first['msg'][1:]}, given {first.get('input')!r:.60}"
    )
    return await _refused(request, RefusedError(422, message))


async def _failed(request: Request, cause: Exception) -> Response:  # noqa: ARG001
    """What nobody foresaw; the door logs it."""
    number = entry_of(request.scope).number
    return JSONResponse({"error": f"the server failed; its log says more under request {number}"}, 500)
