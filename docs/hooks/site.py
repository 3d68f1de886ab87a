"""What `mkdocs` does beside its own work: pages made from the source, links that lead out of docs/ led into the site.

- the commands, from what each says of itself (commands.py); the errors, from the source (errors.py);
  how weights were trained (trainings.py); notebooks as pages
- ARCHITECTURE.md, CONTRIBUTING.md, CHANGELOG.md, the decisions' list and evidence/ become part of the site
- a built page that would fetch something from elsewhere fails the build
"""

import posixpath
import re
from pathlib import Path

import commands
import errors
import notebooks
import trainings
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PROJECT = {name.upper() + ".md": f"project/{name}.md" for name in ("architecture", "contributing", "changelog")}
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon)\b[^>]*\bhref=["']?(?:https?:)?//"""
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages and files that are made, or lie outside of docs/."""

    def page(uri: str, text: str) -> None:
        files.append(File.generated(config, uri, content=text))

    for source, uri in PROJECT.items():
        page(uri, (ROOT / source).read_text())
    page("reference/commands.md", commands.page())
    page("decisions/index.md", _decisions())
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        page(f"notebooks/{path.stem}.md", notebooks.page(path))
    for path in sorted(path for kind in ("*.json", "*.html") for path in (ROOT / "evidence").glob(kind)):
        files.append(File.generated(config, f"evidence/{path.name}", abs_src_path=str(path)))
    page("evidence/README.md", (ROOT / "evidence" / "README.md").read_text())
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Marks filled in, links led into the site."""
    for mark, made in MARKS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, made())
    here = posixpath.dirname(_place(page.file.src_uri))

    def led(link: re.Match[str]) -> str:
        target = _inside(posixpath.normpath(posixpath.join(here, link[2])))
        if target is None:
            return link[0]
        return link[1] + posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".") + link[3]

    return LINK.sub(led, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Nothing in the site comes from elsewhere."""
    for path in Path(config.site_dir).rglob("*.html"):
        found = FETCHED.search(path.read_text())
        if found is not None:
            raise PluginError(f"{path}: would fetch {found[0]}…; pages of the site stand alone")


def _place(uri: str) -> str:
    """Where the text of a page lies in the repository."""
    return next(
        (source for source, made in PROJECT.items() if made == uri),
        uri if uri.startswith("evidence/") else f"docs/{uri}",
    )


def _inside(place: str) -> str | None:
    """The page or file of the site for a place in the repository."""
    if place.startswith("docs/"):
        return place.removeprefix("docs/").removesuffix("/") if place != "docs/decisions" else "decisions/index.md"
    if place == "README.md":
        return "index.md"
    return PROJECT.get(place, place if place.startswith("evidence/") else None)


def _decisions() -> str:
    """The list of decisions: number, title, question."""
    lines = ["# Decisions", "", "A decision that closes a road: question, options, choice, price.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        text = path.read_text()
        question = re.search(r"\*\*Question\.\*\* (.*?)(?:\n\n|\Z)", text, re.DOTALL)
        title = text.splitlines()[0].lstrip("# ")
        lines.append(
            f"- [{path.name[:4]} {re.sub(r'^[0-9]+[.] ', '', title)}]({path.name})"
            + (f"<br>{' '.join(question[1].split())}" if question else "")
        )
    return "\n".join(lines) + "\n"


def _public() -> str:
    """`::: MODULE.NAME` for each public name, where it is defined."""
    import deepres

    return "\n\n".join(
        f"::: {module}.{attribute}\n    options: {{heading: deepres.{name}, toc_label: {name}}}"
        for name, (module, attribute) in deepres._PUBLIC.items()
    )


MARKS = {"<!-- errors -->": errors.listing, "<!-- public -->": _public, "<!-- trainings -->": trainings.table}
