"""Taking a trained network apart: analyses of a run, or of weights made elsewhere, into one folder and one page.

Each analysis writes its numbers (JSON), its plots (PNG and SVG) and its part of the page as soon as it is done; one
that stands there already, of the same weights, images and settings, is not done again, nor are finished parts of one
that was interrupted.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from markupsafe import Markup
from pydantic import Field, JsonValue

from deepres.analyze.attribution import class_number
from deepres.analyze.guards import require_size
from deepres.analyze.surface import require_points
from deepres.arch.catalogue.entry import Config, backbone_of
from deepres.arch.catalogue.lookup import config_of
from deepres.base.errors import InputError, unknown
from deepres.base.events import UNSAID, OnProgress
from deepres.base.files import make_folder, read_text, write_atomic
from deepres.base.heap import keep_freed_memory
from deepres.base.manifest import RUN
from deepres.base.records import Record, recalled
from deepres.base.wording import counted
from deepres.data.decode import BadImageError
from deepres.data.images import Images
from deepres.data.loading.config import OnBadImage
from deepres.data.rng import generator
from deepres.data.sources.config import DataConfig
from deepres.nn.hooks import part
from deepres.nn.weights.checkpoints import asked_of
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.exported.names import require_network
from deepres.recipes.run import load_run
from deepres.report import analysis
from deepres.report.html import render
from deepres.runs import outputs
from deepres.runs.analysis.images import shifted_and_resized, where_it_looks
from deepres.runs.analysis.located import boxes_around_maps
from deepres.runs.analysis.pixels import pixel_by_pixel
from deepres.runs.analysis.signal import responses_of_layers, signal_and_gradient
from deepres.runs.analysis.surface import loss_around
from deepres.runs.analysis.units import (
    AnalysisConfig,
    AnalysisSubject,
    Section,
    features_used_again,
    paths_by_length,
    units_left_out,
)
from deepres.runs.evaluate import USUAL, EvaluationConfig, EvaluationTarget, resolve_target
from deepres.tasks.task import require

ANALYSES: dict[str, Callable[[AnalysisSubject, OnProgress], Section]] = {
    "lesion": units_left_out,
    "paths": paths_by_length,
    "responses": responses_of_layers,
    "propagation": signal_and_gradient,
    "reuse": features_used_again,
    "cam": where_it_looks,
    "equivariance": shifted_and_resized,
    "localisation": boxes_around_maps,
    "surface": loss_around,
    "pixels": pixel_by_pixel,
}
"""In the order of the page."""
WHEN_NAMED = ("localisation", "surface", "pixels")
"""Not among those that are carried out if none is named: they want boxes beside the images, or ask about images more
than a hundred times."""

OnKindProgress = Callable[[str, int, int], None]
"""on_progress(what, done, total)."""


class Written(Record):
    """What an analysis has written of itself: `of` what, under which `key`, what it found, in which plots."""

    key: str
    of: list[JsonValue]
    title: str
    about: str
    found: list[str]
    plots: list[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]]
    images: int
    provenance: dict[str, JsonValue]
    numbers: dict[str, JsonValue]


@dataclass(frozen=True)
class AnalysisTarget:
    """What is taken apart: weights, on their own images or those of `data`, chosen as for a measurement."""

    weights: WeightsSpec
    data: DataConfig | None = None
    config: EvaluationConfig = USUAL


def examine(
    target: AnalysisTarget,
    kinds: tuple[str, ...],
    output: Path | None,
    settings: AnalysisConfig,
    *,
    device: torch.device,
    command: str = UNSAID,
    overwrite: bool = False,
    on_progress: OnKindProgress,
) -> tuple[Path, dict[str, list[str]]]:
    """Carry out the analyses `kinds` and write the page; what each found.

    None: all that this network allows, but `WHEN_NAMED`. A page of others in the folder is kept, but under `overwrite`.

    Raises:
        InputError: an unknown analysis, class or part, an analysis that this network has no parts for, a folder that is
            not for it, anything that weights or images refuse.
    """
    for kind in kinds:
        if kind not in ANALYSES:
            raise unknown("analysis", kind, ANALYSES)
    drawn = settings.layer is not None or settings.weighing is not None
    mapped = drawn or (settings.label is not None and "pixels" not in kinds)
    if kinds and "cam" not in kinds and mapped:
        raise InputError(
            f"--class, --layer, --cam with {', '.join(kinds)}: only cam uses them; add cam to the analyses"
        )
    if settings.points is not None and "surface" not in kinds:
        beside = f" with {', '.join(kinds)}" if kinds else ""
        raise InputError(f"--points{beside}: only surface uses them; add surface to the analyses")
    weights = target.weights.name
    require_network(weights)
    place = Path(asked_of(weights)[0])
    folder = output or (place / "analysis" if place.is_dir() else Path("analysis"))
    _require_free(folder, target, overwrite=overwrite, own=place.is_dir() and folder == place / "analysis")
    asked = resolve_target(target.weights, target.data, target.config, device, command)
    task = asked.predictor.task
    known = [kind for kind in ANALYSES if tool_of(kind) in task.tools]
    named = [*kinds, *(["cam"] if mapped else [])]
    for tool in [tool_of(kind) for kind in named] if known else ["analyze"]:
        require(task, tool, str(target.weights))
    images, left = _some(asked.images, settings, asked.data.on_bad_image)
    of = [asked.provenance[name] for name in ("model", "source")]
    of += [
        asked.provenance["weights_sha256"] or weights,
        asked.split,
        *([said] if (said := asked.predictor.said) else []),
    ]
    key = _key(of, settings, "")
    config = _config(place, asked)
    subject = AnalysisSubject(asked.predictor, images, settings, asked.provenance, folder, key, config, asked.data)
    _check(subject)
    make_folder(folder)
    keep_freed_memory()
    sections: dict[str, list[str]] = {}
    for kind in kinds or tuple(kind for kind in ANALYSES if kind not in WHEN_NAMED):
        if kind not in known:
            sections[kind] = [f"left out: nothing that a task of {task.kind} has"]
            continue
        before = _before(folder, kind, _key(of, settings, kind))
        if before is not None:
            sections[kind] = before
            continue
        try:
            section = ANALYSES[kind](subject, partial(on_progress, kind))
        except InputError as cause:
            if kinds:
                raise
            sections[kind] = [f"left out: {cause.message}"]
            continue
        _write(subject, section, of)
        sections[kind] = section.found
    if all(lines[0].startswith("left out: ") for lines in sections.values()):
        raise InputError(f"{weights}: no analysis fits this network; name one to learn why: {', '.join(ANALYSES)}")
    left_out = {kind: lines[0] for kind, lines in sections.items() if lines[0].startswith("left out: ")}
    _page(subject, f"{asked.predictor.network.description.name} taken apart", of, left_out)
    told = {"preprocessing": [asked.predictor.said]} if asked.predictor.said else {}
    notes = [*asked.notes, *([f"{counted(left, 'unreadable image')} left out"] if left else [])]
    return folder, {**told, **({"note": notes} if notes else {}), **sections}


def tool_of(kind: str) -> str:
    """What an analysis is called among the tools of a task."""
    return f"analyze {kind}"


def _check(subject: AnalysisSubject) -> None:
    """Images too small, a class or part that does not exist: refused before anything is measured or written."""
    require_size(subject.network.description, *next(iter(subject.batches(1, 1))).images.shape[1:])
    label, layer = subject.settings.label, subject.settings.layer
    if subject.settings.points is not None:
        require_points(subject.settings.points)
    if label is not None:
        class_number(label, subject.network.num_classes, subject.classes)
    if layer is not None:
        part(subject.network, layer)


def _config(weights: Path, asked: EvaluationTarget) -> Config | None:
    """The network's row of a paper's table: that of the run, else of the catalogue under the network's name."""
    if (weights / RUN).is_file():
        return backbone_of(load_run(weights).model)
    return config_of(asked.predictor.task.taken_apart(asked.predictor.network).description)


def _some(images: Images, settings: AnalysisConfig, on_bad_image: OnBadImage) -> tuple[Images, int]:
    """The images that are looked at, drawn by the seed; under "skip" those that can be read, and how many could not."""
    order = torch.randperm(len(images), generator=generator(settings.seed, "examined")).tolist()
    if on_bad_image == "stop":
        return images.select(order[: settings.images]), 0
    readable: list[int] = []
    for tried, index in enumerate(order):  # noqa: B007
        if len(readable) == settings.images:
            break
        try:
            images.image(index)
        except BadImageError:
            continue
        readable.append(index)
    else:
        tried = len(order)
    if not readable:
        raise InputError(f"none of {counted(len(images), 'image')} can be read; mend or replace them")
    return images.select(readable), tried - len(readable)


def _write(subject: AnalysisSubject, section: Section, of: list[JsonValue]) -> None:
    folder = subject.folder
    for name, plot in section.plots.items():
        write_atomic(folder / f"{section.name}_{name}.png", analysis.png(plot))
        write_atomic(folder / f"{section.name}_{name}.svg", analysis.svg(plot))
    for name, record in section.files.items():
        record.save(folder / f"{section.name}_{name}.json")
    facts = {
        "key": _key(of, subject.settings, section.name),
        "of": of,
        "title": section.title,
        "about": section.about,
        "found": section.found,
        "plots": list(section.plots),
        "images": len(subject.images),
        "provenance": subject.provenance,
        "numbers": {name: numbers.model_dump(mode="json") for name, numbers in section.numbers.items()},
    }
    write_atomic(folder / f"{section.name}.json", json.dumps(facts, indent=1) + "\n")
    for name in section.numbers:
        subject.part(f"{section.name}_{name}").unlink(missing_ok=True)


def _key(of: list[JsonValue], settings: AnalysisConfig, kind: str) -> str:
    """What has to be the same for an analysis not to be done again; of class, part and points what it uses."""
    if kind != "cam":
        settings = settings.replace(label=settings.label if kind == "pixels" else None, layer=None, weighing=None)
    if kind != "surface":
        settings = settings.replace(points=None)
    return json.dumps([*of, settings.model_dump()])


def _require_free(folder: Path, target: AnalysisTarget, *, overwrite: bool, own: bool) -> None:
    """Refuse a folder that is an input or somebody else's; that of a run's own analyses is for them."""
    if own:
        return
    read = [target.weights.name, *([] if target.data is None else [target.data.source])]
    outputs.require_free_folder("--output", folder, read)
    page = folder / "report.html" if folder.is_dir() else None
    outputs.require_free({"--output": (page, outputs.PAGE)}, read, overwrite=overwrite)


def _before(folder: Path, kind: str, key: str) -> list[str] | None:
    written = recalled(Written, folder / f"{kind}.json")
    if written is None or written.key != key:
        return None
    return written.found if all((folder / f"{kind}_{name}.svg").is_file() for name in written.plots) else None


def _page(subject: AnalysisSubject, title: str, of: list[JsonValue], left_out: dict[str, str]) -> None:
    """All sections in the folder that are of these weights and images, in the order of `ANALYSES`."""
    shown = []
    for kind in ANALYSES:
        path = subject.folder / f"{kind}.json"
        written = recalled(Written, path)
        if written is not None and written.of == of:
            names = [f"{kind}_{name}" for name in written.plots]
            plots = [Markup(read_text(subject.folder / f"{name}.svg", "plot of an analysis")) for name in names]
            shown.append({**dict(written), "svgs": list(zip(names, plots, strict=True)), "file": path.name})
    page = render(
        "analysis.html.jinja",
        {},
        title=title,
        sections=shown,
        left_out=left_out,
        provenance=subject.provenance,
    )
    write_atomic(subject.folder / "report.html", page)
