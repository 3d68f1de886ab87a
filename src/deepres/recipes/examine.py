"""Taking a trained network apart: analyses of a run, or of weights made elsewhere, into one folder and one page.

Each analysis writes its numbers (JSON), its plots (PNG and SVG) and its part of the page as soon as it is done; one
that stands there already, of the same weights, images and settings, is not done again.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from markupsafe import Markup
from matplotlib.figure import Figure
from pydantic import JsonValue

from deepres.analyze import equivariance, figures, lesion, paths
from deepres.base.errors import InputError, unknown
from deepres.base.files import make_folder, write_atomic
from deepres.base.records import Record
from deepres.data.draws import generator
from deepres.data.loader import evaluation_batches
from deepres.data.sample import Batch, Images
from deepres.data.sources import DataConfig
from deepres.evaluate.page import render
from deepres.evaluate.run import percent
from deepres.nn.build import ResidualNetwork
from deepres.recipes.measure import asked_for
from deepres.serve.predictor import Predictor

Tell = Callable[[str, int, int], None]
"""tell(what, done, total)."""


class Settings(Record):
    """How much is looked at: images of the test set, draws of what is random, batches of gradients, and the seed."""

    images: int = 500
    draws: int = 5
    gradient_batches: int = 2
    batch_size: int = 125
    seed: int = 0


@dataclass(frozen=True)
class Subject:
    """What is taken apart, and on which images."""

    predictor: Predictor
    images: Images
    settings: Settings
    provenance: dict[str, JsonValue]

    @property
    def network(self) -> ResidualNetwork:
        """The network."""
        return self.predictor.network

    def batches(self, count: int | None = None, batch_size: int | None = None) -> "Batches":
        """The images, or the first `count` batches of them, as the network wants them."""
        return Batches(self, count, batch_size or self.settings.batch_size)


@dataclass(frozen=True)
class Batches:
    """Batches that can be gone through more than once, and counted."""

    subject: Subject
    count: int | None
    size: int

    def __len__(self) -> int:
        whole = -(-len(self.subject.images) // self.size)
        return whole if self.count is None else min(self.count, whole)

    def __iter__(self) -> Iterator[Batch]:
        predictor = self.subject.predictor
        batches = evaluation_batches(
            self.subject.images,
            predictor.preparation,
            predictor.statistics,
            batch_size=self.size,
            device=predictor.device,
        )
        for number, batch in enumerate(batches):
            if number == len(self):
                batches.close()
                return
            yield batch


@dataclass
class Section:
    """One analysis as it is shown: what it is, what was found in sentences, numbers by name, plots by name."""

    name: str
    title: str
    about: str
    found: list[str] = field(default_factory=list)
    numbers: dict[str, Record] = field(default_factory=dict)
    plots: dict[str, Figure] = field(default_factory=dict)


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
        except InputError:
            if kinds:
                raise
            continue  # of all analyses those that the network has no parts for are left out
        _write(folder, section, key, asked.provenance)
        sections[kind] = section.found
    if not sections:
        raise InputError(f"{weights}: no analysis fits this network; name one to learn why: {', '.join(ANALYSES)}")
    _page(folder, f"{subject.network.description.name} taken apart", asked.provenance, len(images))
    return folder, sections


def _some(images: Images, settings: Settings) -> Images:
    order = torch.randperm(len(images), generator=generator(settings.seed, "examined"))
    return images.select(order[: settings.images].tolist())


def _lesion(subject: Subject, told: Callable[[int, int], None]) -> Section:
    network, settings = subject.network, subject.settings
    each = lesion.delete_each(network, subject.batches(), on_progress=told)
    order = lesion.ranking(each)
    section = Section(
        "lesion",
        "Units left out",
        "Each unit loses its branch, its shortcut stays, nothing is trained again. A plain network is destroyed by the "
        "loss of any layer; a residual one hardly notices most of them (Veit et al. 2016, Figs. 3 and 5).",
        numbers={"each": each, "ranking": order},
        plots={"each": figures.deletions(each)},
    )
    worst = max(each.deletions, key=lambda one: one.error)
    middle = sorted(one.error for one in each.deletions)[len(each.deletions) // 2]
    section.found = [
        f"whole network {percent(each.intact.error)}; without one unit {percent(middle)} in the middle, "
        f"{percent(worst.error)} at worst ({worst.units[0]})",
        f"cheapest to leave out: {', '.join(order.units[:3])}",
        f"{each.units_run:,} unit evaluations an image in place of {each.units_alone:,}: what lies before is shared",
    ]
    total = len(each.units)
    counts = sorted({round(1 + (min(20, total) - 1) * part / 5) for part in range(6)})
    if total > 1:
        random = lesion.delete_random(
            network, subject.batches(), counts, draws=settings.draws, seed=settings.seed, on_progress=told
        )
        section.numbers["random"] = random
        section.plots["random"] = figures.random_deletions(random)
    try:
        moved = lesion.permute(
            network, subject.batches(), (1, 2, 5, 10, 20), draws=settings.draws, seed=settings.seed, on_progress=told
        )
    except InputError:
        return section
    section.numbers["permutations"] = moved
    section.plots["permutations"] = figures.permutations(moved)
    return section


def _paths(subject: Subject, told: Callable[[int, int], None]) -> Section:
    settings = subject.settings
    batches = subject.batches(settings.gradient_batches, 32)
    found = paths.path_gradients(
        subject.network, batches, draws=4 * settings.draws, seed=settings.seed, on_progress=told
    )
    effective = paths.effective_range(found)
    rate = paths.decay(found)
    return Section(
        "paths",
        "Paths by length",
        "A residual network is a sum over all subsets of its units. Paths through half of them are by far the most, but "
        "a path's gradient shrinks with each unit on it: the short ones train the network (Veit et al. 2016, Fig. 6).",
        [
            f"{found.num_units} units, 2^{found.num_units} paths; the gradient of one shrinks to {rate:.2f} with each unit",
            f"95 % of the gradient comes along paths of {effective.shortest} to {effective.longest} units, "
            f"which are {100 * effective.paths_share:.3g} % of all paths",
        ],
        {"gradients": found, "effective": effective},
        {"lengths": figures.gradient_by_length(found, effective)},
    )


def _equivariance(subject: Subject, told: Callable[[int, int], None]) -> Section:
    network, seed = subject.network, subject.settings.seed
    side = network.description.input[1]
    shifts = equivariance.shift_consistency(
        network, subject.batches(), max_shift=max(1, side // 8), seed=seed, on_progress=told
    )
    stages = equivariance.equivariance_errors(network, subject.batches(1), on_progress=told)
    sizes = equivariance.resize_consistency(
        network, subject.images, subject.predictor.preparation, subject.predictor.statistics, on_progress=told
    )
    by_shift: dict[str, list[float]] = {}
    for one in stages:
        if one.relative_error is not None:
            by_shift.setdefault(one.part, []).append(one.relative_error)
    return Section(
        "equivariance",
        "Shifts",
        "An image moved by some pixels is the same image. How often the answer stays, and how far each stage's maps move "
        "along (Zhang 2019); and how much the way of resizing matters.",
        [
            f"two shifts of an image by up to {shifts.max_shift_px} px have the same first class in "
            f"{100 * shifts.consistency:.1f} % of {shifts.num_pairs} pairs",
            *(
                f"resized by {name} instead of {sizes.reference}: {100 * share:.1f} % of the answers change"
                for name, share in zip(sizes.settings, sizes.share_changed, strict=True)
                if share
            ),
        ],
        {"shifts": shifts, "resizing": sizes, **{f"stage_{n}": one for n, one in enumerate(stages)}},
        {
            "stages": figures.lines(
                by_shift, title="maps that do not move along", x="shift, in the order measured", y="relative error"
            )
        },
    )


ANALYSES: dict[str, Callable[[Subject, Callable[[int, int], None]], Section]] = {
    "lesion": _lesion,
    "paths": _paths,
    "equivariance": _equivariance,
}


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
