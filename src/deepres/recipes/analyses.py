"""The analyses of a trained network as they are shown: each a section of the page, its numbers and its plots."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from matplotlib.figure import Figure
from pydantic import JsonValue

from deepres.analyze import (
    attribution,
    equivariance,
    faithfulness,
    figures,
    lesion,
    paths,
    propagation,
    responses,
    reuse,
)
from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.data.loader import evaluation_batches
from deepres.data.sample import Batch, Images
from deepres.data.samplewise import fit
from deepres.evaluate.run import percent
from deepres.nn.build import ResidualNetwork
from deepres.serve.predictor import Predictor


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
        "A residual network is a sum over all subsets of its units. Paths through half of them are the most by far, "
        "but a path's gradient shrinks with each unit on it: short ones train the network (Veit et al. 2016, Fig. 6).",
        [
            f"{found.num_units} units, 2^{found.num_units} paths; each unit on one makes its gradient {rate:.2f} of it",
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
    too_small = []
    try:
        stages = equivariance.equivariance_errors(network, subject.batches(1), on_progress=told)
    except InputError as cause:  # small images leave no map to compare; the answers can still be
        stages, too_small = (), [f"maps are not compared: {cause.message}"]
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
        "An image moved by some pixels is the same image. How often the answer stays, and how far each stage's maps "
        "move along (Zhang 2019); and how much the way of resizing matters.",
        [
            f"two shifts of an image by up to {shifts.max_shift_px} px have the same first class in "
            f"{100 * shifts.consistency:.1f} % of {shifts.num_pairs} pairs",
            *(
                f"resized by {name} instead of {sizes.reference}: {100 * share:.1f} % of the answers change"
                for name, share in zip(sizes.settings, sizes.share_changed, strict=True)
                if share
            ),
            *too_small,
        ],
        {"shifts": shifts, "resizing": sizes, **{f"stage_{n}": one for n, one in enumerate(stages)}},
        {
            "stages": figures.lines(
                by_shift, title="maps that do not move along", x="shift, in the order measured", y="relative error"
            )
        }
        if by_shift
        else {},
    )


def _responses(subject: Subject, told: Callable[[int, int], None]) -> Section:
    found = responses.responses(subject.network, subject.batches(), on_progress=told)
    stds = {found.network: [layer.std for layer in found.layers]}
    section = Section(
        "responses",
        "Responses",
        "How strongly each layer answers, behind its norm and before the nonlinearity or the addition. Layers of "
        "residual networks answer weakly, deeper ones more so: each unit changes little (He et al. 2015, Fig. 7).",
        [f"{found.num_dead} channels never answer above zero on these {found.num_images:,} images"],
        {"responses": found},
        {
            "in_order": figures.lines(stds, title="in the order of the layers", x="layer", y="std of the response"),
            "sorted": figures.lines(
                {found.network: found.descending},
                title="sorted",
                x="layer, the strongest first",
                y="std of the response",
            ),
        },
    )
    ratios = [unit.ratio for unit in found.units if unit.ratio is not None]
    if ratios:
        middle = sorted(ratios)[len(ratios) // 2]
        section.found.append(
            f"a unit's branch is {middle:.2f} times as large as its shortcut, in the middle of all units"
        )
        section.plots["ratio"] = figures.lines(
            {found.network: ratios}, title="branch against shortcut", x="unit", y="root mean square, branch / shortcut"
        )
    return section


def _propagation(subject: Subject, told: Callable[[int, int], None]) -> Section:
    batch = next(iter(subject.batches(1, 32)))
    told(0, 1)
    found = propagation.propagation(subject.network, batch, seed=subject.settings.seed)
    told(1, 1)
    name = subject.network.description.name
    first, last = found.rows[0], found.rows[-1]
    return Section(
        "propagation",
        "Signal and gradient",
        "What every unit gives, forwards, and the gradient that arrives at its input, backwards. With identities both "
        "add up and none fades; scaled or gated shortcuts multiply (He et al. 2016, equations 4 to 8).",
        [
            f"signal, mean square {first.mean_square:.3g} behind the first unit, at the end {last.mean_square:.3g}",
            f"gradient {first.gradient:.3g} at the first unit's input, {last.gradient:.3g} at the last one's",
        ],
        {"propagation": found},
        {
            "signal": figures.lines(
                {name: [row.mean_square for row in found.rows]}, title="signal", x="unit", y="mean square", log=True
            ),
            "gradient": figures.lines(
                {name: [row.gradient for row in found.rows]},
                title="gradient",
                x="unit",
                y="norm at its input",
                log=True,
            ),
        },
    )


def _reuse(subject: Subject, told: Callable[[int, int], None]) -> Section:
    found = reuse.feature_reuse(subject.network)
    told(1, 1)
    layer = "first 1x1" if found.bottleneck else "3x3"
    return Section(
        "reuse",
        "Features used again",
        "The mean absolute weight that each layer of a dense block (columns) gives to the features of each before it "
        "(rows; the last column is the transition or the classifier): Huang et al. 2017, Fig. 5.",
        [f"read from each layer's {layer} convolution; {len(found.blocks)} blocks"],
        {"reuse": found},
        {
            "maps": figures.heat_maps(
                {block.name: block.rows() for block in found.blocks}, x="layer that reads", y="source", label="mean |w|"
            )
        },
    )


def _cam(subject: Subject, told: Callable[[int, int], None]) -> Section:
    network, predictor = subject.network, subject.predictor
    shown = min(8, len(subject.images))
    batch = next(iter(subject.batches(1, shown)))
    classes = attribution.top_classes(network, batch.images)
    method = attribution.method_for(network.description)
    height, width = batch.images.shape[-2:]
    maps = attribution.upsampled(attribution.attribution_maps(network, batch.images, classes), (height, width))
    pictures = {}
    for place in range(shown):
        index = int(batch.indices[place])
        image = fit(subject.images.image(index), predictor.preparation)
        said = predictor.classes[int(classes[place, 0])]
        pictures[f"{place + 1}: {said}"] = (image, attribution.overlay(image, maps[place, 0].cpu()))
    measured = faithfulness.faithfulness(network, subject.batches(2, 32), on_progress=told)
    return Section(
        "cam",
        "Where it looks",
        "The share of each place of the last map in the class that was answered: its mean plus the bias is the logit "
        "(Zhou et al. 2016). Below each image its map, bright where it speaks for the class.",
        [
            f"{'class activation maps' if method == 'cam' else 'Grad-CAM'} of the class answered, {shown} test images",
            f"taking pixels away in the map's order leaves {measured.deletion.area:.2f} of the probability on average, "
            f"bringing them in that order {measured.insertion.area:.2f} (area under the curve, 0 to 1)",
        ],
        {"faithfulness": measured},
        {"maps": figures.pictures(pictures)},
    )


ANALYSES: dict[str, Callable[[Subject, Callable[[int, int], None]], Section]] = {
    "lesion": _lesion,
    "paths": _paths,
    "responses": _responses,
    "propagation": _propagation,
    "reuse": _reuse,
    "cam": _cam,
    "equivariance": _equivariance,
}
