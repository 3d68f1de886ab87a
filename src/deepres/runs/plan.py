"""From words to a run and its images: these are listed once, looked at, and kept for whoever carries the run out."""

from dataclasses import dataclass, replace

from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.data.facts import facts_of
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, divided, find, open_source
from deepres.nn.weights.spec import WeightsSpec
from deepres.recipes.by_name import BEGINNING
from deepres.recipes.papers_localisation import OF_BOXES
from deepres.recipes.plan import Words, planned_aloud
from deepres.recipes.run import Run
from deepres.recipes.written import is_written, written
from deepres.runs.starting_weights import beginning, first_network
from deepres.runs.teacher import find_teachers
from deepres.tasks.kinds import task_named

LISTED_BY = ("source", "root", "download", "channels", "depth", "splits", "columns", "trainval")
DIVIDED_BY = ("val_fraction", "test_fraction", "split_seed", "folds", "fold")
"""Fields that say which files there are, and which of them are for what; the others say how they are read."""


@dataclass(frozen=True)
class Planned:
    """A run, fitted to its images and ready to be carried out, and these images.

    Not `trains`: its weights stay what it begins with. `spares_test`: it is one of several, of which held-out images
    choose; the test images are for the one that is chosen, when it is resumed. `said` are lines about numbers that
    are not the recipe's (`planned_aloud`).
    """

    run: Run
    source: Source
    trains: bool = True
    spares_test: bool = False
    said: tuple[str, ...] = ()

    def begun(self) -> str:
        """What is done to the weights that it begins with, for a person to read; "" where it begins from nothing.

        Raises:
            InputError: they are not this network's, as training would say.
        """
        weights = self.run.weights
        return "" if weights is None else first_network(self.run, self.source.classes, weights)[1]


def plan_run(source: str, words: Words | None = None, weights: WeightsSpec | None = None) -> Planned:
    """The run that these words make of the images at `source`, beginning with `weights` or from nothing.

    Raises:
        InputError: anything that images, weights, teachers or words refuse.
    """
    words = replace(words or Words(), source=source)
    if weights is not None:
        begun = [f"weights={weights.name}", *([] if weights.variant is None else [f"variant={weights.variant}"])]
        words = replace(words, edits=(*begun, *words.edits))
    about_images = [one.removeprefix("data.") for one in words.edits if one.startswith("data.")]
    if words.task is not None and not any(one.startswith("targets=") for one in about_images):
        about_images.append(f"targets={task_named(words.task).form}")
    if words.recipe in OF_BOXES and not any(one.startswith("targets=") for one in about_images):
        about_images.append("targets=boxes")
    base = written(words.recipe) if words.recipe is not None and is_written(words.recipe) else None
    read = DataConfig(source=source)
    if base is not None:
        other = base.data.source != source  # how its targets and levels are to be read, the images say
        read = base.data.replace(source=source, levels=None, targets="auto") if other else base.data
        if weights is None and base.weights is not None and words.model is None:
            weights = WeightsSpec(base.weights, None, base.variant, base.weights_mean, base.weights_std)
    config = edit(read, about_images, "data.")
    found = find(config)
    opened = divided(found, config)
    facts = facts_of(opened)
    if weights is not None:
        if words.recipe in BEGINNING or base is not None:
            facts = replace(facts, beginning=beginning(weights))
        elif weights.mean is not None:
            raise InputError(
                f"--mean and --std with --recipe {words.recipe}: it measures mean and std on its own images; "
                "leave them out"
            )
    run, said = planned_aloud(words, facts)
    teachers = find_teachers(run, facts.classes)
    run = run if teachers is None else run.replace(teacher=teachers.config)
    if not _alike(config, run.data, LISTED_BY):
        return Planned(run, open_source(run.data), said=said)
    return Planned(run, opened if _alike(config, run.data, DIVIDED_BY) else divided(found, run.data), said=said)


def _alike(one: DataConfig, other: DataConfig, fields: tuple[str, ...]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in fields)
