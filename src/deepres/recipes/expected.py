"""What is expected of a run: the figure that a paper prints for it, and whether it was met."""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from deepres.arch.catalogue.lookup import entry
from deepres.base.records import Record, edit, flat, parse
from deepres.base.wording import counted, some
from deepres.data.facts import DatasetFacts
from deepres.recipes.by_name import recipe
from deepres.recipes.printed import NUM_TEST, PaperFigure, apart, spread_of, verdict_of
from deepres.recipes.run import Run

FILE = "expected.json"
"""The figures that studies have of whole runs, written by `evidence/expected_figures.py`."""

TRAINED_ON = {"cifar10": (10, 50_000), "cifar100": (100, 50_000), "imagenet": (1000, 1_281_167)}
"""Set -> its classes and its training images, of which a run may hold out a fifth."""

NO_MATTER = {
    *("format", "recipe", "seed", "license", "model.name", "data.source", "data.root", "data.download"),
    *("data.workers", "data.prefetch_factor", "data.on_bad_image", "data.columns", "data.splits", "data.depth"),
    *("train.memory", "train.compile", "train.save_every_seconds", "train.log"),
}
"""Fields that decide no weights, or only where the images lie."""

_CALLED = {"error": "test error", "top5_error": "top-5 error"}
_NAMED = 3


class Expected(PaperFigure):
    """A figure of the whole run of a recipe on a set, %: `measure`, by `protocol`; `edits` as `--set` takes them.

    `place` is where it is printed, `row` its line there; a difference up to `tolerance` counts as reproduced.
    """

    recipe: str
    network: str
    edits: tuple[str, ...] = ()
    dataset: str
    measure: Literal["error", "top5_error"]
    protocol: str = "center"
    tolerance: Annotated[float, Field(ge=0)]
    place: str
    row: str

    @property
    def text(self) -> str:
        """`test error 6.43 % (best of 5 runs, mean 6.61 ± 0.16)`."""
        sign = {"above": "above ", "below": "below ", None: ""}[self.bound]
        beside = [] if self.quoted == "single" else [f"{self.quoted} of {counted(self.runs, 'run')}"]
        if self.mean is not None:
            beside.append(f"mean {self.mean:.2f}" + ("" if self.std is None else f" ± {self.std:.2f}"))
        elif self.std is not None:
            beside.append(f"± {self.std:.2f}")
        by = "" if self.protocol == "center" else f" by {self.protocol}"
        told = f"{_CALLED[self.measure]} {sign}{self.value:.2f} %{by}"
        return f"{told} ({', '.join(beside)})" if beside else told

    def judged(self, error: float) -> str:
        """What a run's figure is beside this one, %: the verdict, and the rule that it is by."""
        spread = spread_of((error,), self, self.dataset)
        verdict = verdict_of((error,), self, self.tolerance, spread)
        told = f"{self.place} prints {self.text}; here {error:.2f} %: {verdict}"
        if self.bound is not None:
            return told
        limit, sampled = f"{self.tolerance:g} points", f"two standard deviations of the difference ({2 * spread:.2f})"
        rule = {
            "reproduced": f"at most {limit} apart",
            "within the spread": f"{apart((error,), self):.2f} apart, more than {limit}, but within {sampled}",
            "not reproduced": f"{apart((error,), self):.2f} apart, more than {limit} and than {sampled}",
        }
        return f"{told}, {rule[verdict]}"


class ExpectedFigures(Record):
    """All that is expected of anything."""

    figures: tuple[Expected, ...]


@cache
def figures() -> tuple[Expected, ...]:
    """The figures of the papers."""
    return parse(ExpectedFigures, (files("deepres.recipes") / FILE).read_text(encoding="utf-8"), FILE).figures


class Expectation(Record):
    """What is expected of one run, of one row of a table; `deviations` are why it is not comparable, "field=value"."""

    expected: tuple[Expected, ...]
    deviations: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What is said before the run begins."""
        if self.deviations:
            return [f"not comparable with what is printed, {some(self.deviations, _NAMED)}: {self._printed}"]
        return [f"expected: {self._printed}, for this network and recipe on {self.expected[0].dataset}"]

    @property
    def _printed(self) -> str:
        """Place by place, the figures of the center protocol first."""
        places: dict[str, list[str]] = {}
        for one in sorted(self.expected, key=lambda one: one.protocol != "center"):
            places.setdefault(one.place, []).append(one.text)
        return "; ".join(f"{place} prints {', '.join(texts)}" for place, texts in places.items())

    def ended(self, errors: dict[str, float | None], num_images: int, steps: int, total: int) -> list[str]:
        """What is said of a run that ended after `steps` of `total`: by the center protocol, % by measure."""
        wanted = NUM_TEST[self.expected[0].dataset]
        more = [f"it ended after {steps:,} of {counted(total, 'step')}"] if steps < total else []
        if num_images != wanted:
            more.append(f"measured on {counted(num_images, 'image')}, the paper on {wanted:,}")
        whole = self.replace(deviations=(*self.deviations, *more))
        if whole.deviations:
            return whole.lines()
        return [*_judged(self.expected, errors)]


def _judged(expected: Sequence[Expected], errors: dict[str, float | None]) -> Iterator[str]:
    for one in expected:
        if one.protocol != "center":
            yield f"{one.place} prints {one.text} for this run; deepres eval --protocol {one.protocol} measures that"
        elif (error := errors.get(one.measure)) is not None:
            yield one.judged(error)


def expectation(run: Run, facts: DatasetFacts) -> Expectation | None:
    """What a paper prints for this run of these images, None where nothing is known.

    That is of the row of a table with the run's recipe and network from which it deviates least.
    """
    dataset = _dataset(facts)
    rows: dict[tuple[str, tuple[str, ...]], list[Expected]] = {}
    for one in figures():
        if (one.recipe, one.dataset) == (run.recipe, dataset) and entry(one.network).config.name == run.model.name:
            rows.setdefault((one.network, one.edits), []).append(one)
    found = [
        Expectation(expected=tuple(own), deviations=tuple(_deviations(run, own[0], facts))) for own in rows.values()
    ]
    return min(found, key=lambda one: (len(one.deviations), bool(one.expected[0].edits)), default=None)


def _dataset(facts: DatasetFacts) -> str | None:
    for name, (classes, images) in TRAINED_ON.items():
        named = name == "imagenet" or (facts.source in (name, f"{name}_train") and facts.side == 32)
        if named and facts.num_classes == classes and 0.8 * images <= facts.num_images <= images:
            return name
    return None


def _deviations(run: Run, expected: Expected, facts: DatasetFacts) -> Iterator[str]:
    """The fields in which the run is another than the row's."""
    theirs = _fields(edit(recipe(expected.recipe, facts, expected.network), expected.edits).fitted(facts))
    for field, value in _fields(run).items():
        as_then = field == "train.precision" and value == "float32"  # what the papers' machines computed in
        if field not in NO_MATTER and not as_then and value != theirs.get(field):
            yield f"{field}={_text(value)} (the recipe: {_text(theirs.get(field))})"


def _fields(run: Run) -> dict[str, JsonValue]:
    return dict(flat(run.model_dump(mode="json")))


def _text(value: JsonValue) -> str:
    return "none" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
