"""The page that shows answers in a browser, and the one that tells of the API; neither asks anything of elsewhere."""

import secrets
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from jinja2 import Environment, StrictUndefined


def routes() -> APIRouter:
    """`/` and `/docs`."""
    found = APIRouter(include_in_schema=False)

    @found.get("/")
    async def page() -> Response:
        return _page("page.html.jinja")

    @found.get("/docs")
    async def docs(request: Request) -> Response:
        told = request.app.openapi()
        calls = [
            {"method": method.upper(), "path": path, **facts}
            for path, methods in told["paths"].items()
            for method, facts in methods.items()
        ]
        return _page("api.html.jinja", info=told["info"], calls=calls)

    return found


def _page(template: str, **facts: Any) -> Response:
    """The page, whose own style and script alone may work, and which asks this server alone."""
    nonce = secrets.token_urlsafe(16)
    text = files("deepres.serve").joinpath(template).read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    content = environment.from_string(text).render(nonce=nonce, **facts)
    own = f"'nonce-{nonce}'"
    policy = (
        f"default-src 'none'; script-src {own}; style-src {own}; style-src-attr 'unsafe-inline'; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)
