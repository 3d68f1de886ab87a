"""Taking a trained network apart: analyses of a run, or of weights made elsewhere, into one folder and one page.

Each analysis writes its numbers (JSON), its plots (PNG and SVG) and its part of the page as soon as it is done; one
that stands there already, of the same weights, images and settings, is not done again.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from markupsafe import Markup
from pydantic import JsonValue

from deepres.analyze import figures
from deepres.base.errors import InputError, unknown
from deepres.base.files import make_folder, write_atomic
from deepres.data.draws import generator
from deepres.data.sample import Images
from deepres.data.sources import DataConfig
from deepres.evaluate.page import render
from deepres.recipes.analyses import ANALYSES, Section, Settings, Subject
from deepres.recipes.measure import asked_for

Tell = Callable[[str, int, int], None]
"""tell(what, done, total)."""


def examine(
    weights: str,
    data: DataConfig | None,
    kinds: tuple[str, ...],
    output: Path | None,
    settings: Settings,
    *,
    model: str | None = None,
    variant: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    device: torch.device,
    command: str,
    tell: Tell,
) -> tuple[Path, dict[str, list[str]]]:
    """Carry out the analyses `kinds` (none: all that this network allows) and write the page; what each found.

    Raises:
        InputError: an unknown analysis, one that this network has no parts for, anything that weights or images refuse.
    """
    for kind in kinds:
        if kind not in ANALYSES:
            raise unknown("analysis", kind, ANALYSES)
    asked = asked_for(weights, data, model, variant, mean, std, None, device, command)
    images = _some(asked.images, settings)
    subject = Subject(asked.predictor, images, settings, asked.provenance)
    folder = output or (Path(weights) / "analysis" if Path(weights).is_dir() else Path("analysis"))
    make_folder(folder)
    key = json.dumps(
        [asked.provenance["weights_sha256"], asked.provenance["source"], asked.split, settings.model_dump()],
        indent=None,
    )
    sections: dict[str, list[str]] = {}
    for kind in kinds or tuple(ANALYSES):
        before = _before(folder, kind, key)
        if before is not None:
            sections[kind] = before
            continue
        try:
            section = ANALYSES[kind](subject, partial(tell, kind))
        except InputError as cause:
            if kinds:
                raise
            sections[kind] = [f"left out: {cause.message}"]
            continue
        _write(folder, section, key, asked.provenance)
        sections[kind] = section.found
    if all(lines[0].startswith("left out: ") for lines in sections.values()):
        raise InputError(f"{weights}: no analysis fits this network; name one to learn why: {', '.join(ANALYSES)}")
    _page(folder, f"{subject.network.description.name} taken apart", asked.provenance, len(images))
    return folder, sections


def _some(images: Images, settings: Settings) -> Images:
    order = torch.randperm(len(images), generator=generator(settings.seed, "examined"))
    return images.select(order[: settings.images].tolist())


def _write(folder: Path, section: Section, key: str, provenance: dict[str, JsonValue]) -> None:
    for name, plot in section.plots.items():
        write_atomic(folder / f"{section.name}_{name}.png", figures.png(plot))
        write_atomic(folder / f"{section.name}_{name}.svg", figures.svg(plot))
    facts = {
        "key": key,
        "title": section.title,
        "about": section.about,
        "found": section.found,
        "plots": list(section.plots),
        "provenance": provenance,
        "numbers": {name: numbers.model_dump(mode="json") for name, numbers in section.numbers.items()},
    }
    write_atomic(folder / f"{section.name}.json", json.dumps(facts, indent=1) + "\n")


def _before(folder: Path, kind: str, key: str) -> list[str] | None:
    path = folder / f"{kind}.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return None
    plots = (folder / f"{kind}_{name}.svg" for name in facts.get("plots", ()))
    return list(facts["found"]) if facts.get("key") == key and all(plot.is_file() for plot in plots) else None


def _page(folder: Path, title: str, provenance: dict[str, JsonValue], num_images: int) -> None:
    """All sections that lie in the folder, in the order of `ANALYSES`."""
    shown = []
    for kind in ANALYSES:
        path = folder / f"{kind}.json"
        if path.is_file():
            facts = json.loads(path.read_text(encoding="utf-8"))
            plots = [Markup((folder / f"{kind}_{name}.svg").read_text(encoding="utf-8")) for name in facts["plots"]]
            shown.append({**facts, "svgs": plots, "file": path.name})
    page = render(
        "deepres.recipes",
        "examine.html.jinja",
        {},
        title=title,
        sections=shown,
        provenance=provenance,
        images=num_images,
    )
    write_atomic(folder / "report.html", page)
