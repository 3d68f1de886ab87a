"""What is taken apart, what a section of the page is; the sections on units, paths and the reuse of features."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure
from pydantic import JsonValue

from deepres.analyze import lesion, paths, reuse
from deepres.analyze.ablation import ByTask, Scoring, scores_of
from deepres.analyze.attribution import Weighing
from deepres.arch.catalogue.entry import Config
from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.files import write_atomic
from deepres.base.records import Record, recalled
from deepres.base.wording import counted, percent
from deepres.data.images import Batch, Images
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.sources.config import DataConfig
from deepres.nn.build import ResidualNetwork
from deepres.predict.predictor import Predictor
from deepres.report import analysis
from deepres.runs.together import batch_size, largest_side

R = TypeVar("R", bound=Record)

SWAPS = (1, 2, 5, 10, 20)


class AnalysisConfig(Record):
    """How much is looked at: images of the test set, draws of what is random, batches of gradients, and the seed.

    `label`: the class whose maps are shown, by name or number; None: the one that each image is answered with. `layer`:
    the part whose maps Grad-CAM weighs; None: the last ones. `weighing`: how, in place of class activation maps.
    `points` along a direction of the loss surface; None: 11.
    """

    images: int = 500
    draws: int = 5
    gradient_batches: int = 2
    batch_size: int = 125
    seed: int = 0
    label: str | None = None
    layer: str | None = None
    weighing: Weighing | None = None
    points: int | None = None


class KeptAnalysis(Record):
    """What `Subject.once` writes: the numbers of a part, and what they are of."""

    key: str
    numbers: dict[str, JsonValue]


@dataclass(frozen=True)
class AnalysisSubject:
    """What is taken apart, and on which images; `config` is its row of a paper's table, where it is known.

    `data` says where the images are from.

    What takes long is kept in `folder` under `key` as soon as it is there (`once`).
    """

    predictor: Predictor
    images: Images
    settings: AnalysisConfig
    provenance: dict[str, JsonValue]
    folder: Path
    key: str
    config: Config | None = None
    data: DataConfig | None = None

    @property
    def network(self) -> ResidualNetwork:
        """What is taken apart: the network; of a detector its backbone, of which it is made (`Task.taken_apart`)."""
        return self.predictor.task.taken_apart(self.predictor.network)

    @property
    def is_part(self) -> bool:
        """Whether that is a part of a network, which answers by more."""
        return self.network is not self.predictor.network

    @property
    def scoring(self) -> Scoring:
        """How its answers are counted."""
        if not self.is_part:
            return scores_of
        return ByTask(self.predictor.network, self.images, self.predictor.task)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: those of the weights, where they have none those of the images."""
        own, theirs = self.predictor.classes, self.images.classes
        return theirs if self.predictor.unnamed and len(theirs) == len(own) else own

    def batches(self, count: int | None = None, size: int | None = None) -> "SubjectBatches":
        """The images, or the first `count` batches of them, as the network wants them.

        Of pictures that keep their shape as few make a batch as when they are measured.
        """
        size, preparation = size or self.settings.batch_size, self.predictor.preparation
        if preparation.fit == "sides":
            most = batch_size(largest_side(self.images, preparation, None), self.predictor.device)
            size = min(size, most)
        return SubjectBatches(self, count, size)

    def once(self, name: str, kind: type[R], make: Callable[[], R]) -> R:
        """What `make` gives, or has given before it was interrupted, of the same weights, images and settings."""
        path = self.part(name)
        before = recalled(KeptAnalysis, path)
        if before is not None and before.key == self.key:
            with suppress(InputError):  # of an older version
                return records.build(kind, before.numbers, str(path))
        made = make()
        write_atomic(path, json.dumps({"key": self.key, "numbers": made.model_dump(mode="json")}) + "\n")
        return made

    def part(self, name: str) -> Path:
        """Where `once` keeps what it is told."""
        return self.folder / f".{name}.part.json"


@dataclass(frozen=True)
class SubjectBatches:
    """Batches that can be gone through more than once, and counted."""

    subject: AnalysisSubject
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
            LoaderConfig(batch_size=self.size, device=predictor.device),
        )
        for number, batch in enumerate(batches):  # pictures that keep their shape make more batches than are planned
            if number == self.count:
                batches.close()
                return
            yield batch


@dataclass
class Section:
    """One analysis as it is shown: what it is, what was found in sentences, numbers by name, plots by name.

    Of `files` each becomes a file of its own, which `base.records.load` reads.
    """

    name: str
    title: str
    about: str
    found: list[str] = field(default_factory=list)
    numbers: dict[str, Record] = field(default_factory=dict)
    plots: dict[str, Figure] = field(default_factory=dict)
    files: dict[str, Record] = field(default_factory=dict)


def units_left_out(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """Each unit, random ones, and units that change places (Veit et al. 2016, Figs. 3 and 5)."""
    network, settings, how = subject.network, subject.settings, subject.scoring
    each = subject.once(
        "lesion_each",
        lesion.Lesions,
        lambda: lesion.delete_each(network, subject.batches(), on_progress=on_progress, scoring=how),
    )
    order = lesion.ranking(each, "error" if each.intact.cross_entropy is None else "cross_entropy")
    section = Section(
        "lesion",
        "Units left out",
        "Each unit loses its branch, its shortcut stays, nothing is trained again. A plain network is destroyed by the "
        "loss of any layer; a residual one hardly notices most of them, those that change the shape (triangles) and "
        "the first ones apart. Left out in greater number or exchanged, they cost more little by little (Veit et al. "
        "2016, Figs. 3 and 5).",
        numbers={"each": each, "ranking": order},
        plots={"each": analysis.deletions(each)},
        files={"ranking": order},
    )
    worst = max(each.deletions, key=lambda one: one.error)
    middle = sorted(one.error for one in each.deletions)[len(each.deletions) // 2]
    figure = "" if each.figure == "error" else f"{each.figure} of the "
    section.found = [
        f"{figure}whole network {percent(each.intact.error)}; without one of its units {percent(middle)} (median), "
        f"at worst {percent(worst.error)} ({worst.units[0]})",
        f"cheapest to leave out: {', '.join(order.units[:3])}; the whole ranking is in lesion_ranking.json",
    ]
    if each.units_run < each.units_alone:
        section.found.append(
            f"computed with {each.units_run:,} passes of a unit per image, not {each.units_alone:,}: lesions share "
            "what comes before them"
        )
    total = len(each.units)
    counts = sorted({round(1 + (min(20, total) - 1) * part / 5) for part in range(6)})
    if total > 1:
        random = subject.once(
            "lesion_random",
            lesion.Lesions,
            lambda: lesion.delete_random(
                network,
                subject.batches(),
                counts,
                draws=settings.draws,
                seed=settings.seed,
                on_progress=on_progress,
                scoring=how,
            ),
        )
        section.numbers["random"] = random
        section.plots["random"] = analysis.random_deletions(random)
    try:
        moved = subject.once(
            "lesion_permutations",
            lesion.Lesions,
            lambda: lesion.permute(
                network,
                subject.batches(),
                SWAPS,
                draws=settings.draws,
                seed=settings.seed,
                on_progress=on_progress,
                scoring=how,
            ),
        )
    except InputError as cause:  # no two units of one stage and shape
        section.found.append(f"no units are exchanged: {cause.message}")
        return section
    section.numbers["permutations"] = moved
    section.plots["permutations"] = analysis.permutations(moved)
    return section


def paths_by_length(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """How many, what gradient one carries, and all together (Veit et al. 2016, Fig. 6)."""
    settings = subject.settings
    batches = subject.batches(settings.gradient_batches, 32)
    found = paths.path_gradients(
        subject.network, batches, draws=4 * settings.draws, seed=settings.seed, on_progress=on_progress
    )
    effective = paths.effective_range(found)
    rate = paths.decay(found)
    return Section(
        "paths",
        "Paths by length",
        "A residual network is a sum over all subsets of its units. Paths through half of them are the most by far "
        "(a). In the paper's network, 54 pre-activated units, a path's gradient shrinks with each unit on it, in a "
        "straight line on this axis (b), so that most of the whole gradient comes along paths of 5 to 17 units (c): "
        "short ones train it (Veit et al. 2016, Fig. 6). How it is in this one:",
        [
            f"{counted(found.num_units, 'unit')}, 2^{found.num_units} paths; "
            f"each unit on a path makes its gradient {rate:.2f} "
            f"times as large, fitted over all lengths",
            f"95 % of the gradient comes along paths of {effective.shortest} to {effective.longest} units, "
            f"which are {100 * effective.paths_share:.3g} % of all paths",
        ],
        {"gradients": found, "effective": effective},
        {"lengths": analysis.gradient_by_length(found, effective)},
    )


def features_used_again(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """The heat maps of dense blocks (Huang et al. 2017, Fig. 5)."""
    found = reuse.feature_reuse(subject.network)
    on_progress(1, 1)
    layer = "first 1x1" if found.bottleneck else "3x3"
    return Section(
        "reuse",
        "Features used again",
        "The mean absolute weight that each layer of a dense block (columns) gives to the features of each before it "
        "(rows; the last column is the transition or the classifier): Huang et al. 2017, Fig. 5.",
        [f"read from each layer's {layer} convolution; {len(found.blocks)} blocks"],
        {"reuse": found},
        {
            "maps": analysis.heat_maps(
                {block.name: block.rows() for block in found.blocks}, x="layer that reads", y="source", label="mean |w|"
            )
        },
    )
