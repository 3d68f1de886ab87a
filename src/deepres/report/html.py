"""A template and its facts -> one HTML page that needs nothing else; all pages share one frame and one style."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from PIL.PngImagePlugin import PngInfo

from deepres.base.wording import counted


def made_here() -> PngInfo:
    """What says of a picture that deepres made it, as the frame says of a page."""
    facts = PngInfo()
    facts.add_text("Software", "deepres")
    return facts


def render(template: str, filters: Mapping[str, Callable[..., Any]], **facts: Any) -> str:
    """The page of a template, which extends the frame; all text is escaped, a fact left out is an error."""

    def source(name: str) -> str:
        return files("deepres.report").joinpath(name).read_text("utf-8")

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(source),
    )
    environment.filters.update({"counted": counted, **filters})
    return environment.get_template(template).render(facts)
