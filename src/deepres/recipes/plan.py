"""From words to a run: a recipe, a network and edits, fitted to images of which no more than facts are known.

This is the only way: `deepres train`, `data show`, `bench`, the studies and the library all come through here, so that
the same words make the same run. Loads no torch; who opens the images is `runs/plan.py`.
"""

from dataclasses import dataclass

from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.data.facts import DatasetFacts
from deepres.recipes import by_name
from deepres.recipes.adjusted import require_rate, resized, scaled
from deepres.recipes.questioned import questioned
from deepres.recipes.run import OFF, Run, require_known, smoke
from deepres.recipes.stages import require_used_by
from deepres.tasks.kinds import task_for, task_named
from deepres.tasks.task import require
from deepres.train.config import TeacherConfig


@dataclass(frozen=True)
class Words:
    """What is asked of a run: all but the images and the weights that it begins with.

    `recipe` and `model` are names (None: what suits), or `recipe` a file that a run is written in; `edits` are
    `dotted.field=value`, made before the run is fitted to its images. `task` is what is learnt, by its kind (None: as
    the targets are). `source` is how the run calls its images (None: as their facts do). `smoke` cuts it down to 20
    steps. `size` is the input's side in px (None: the recipe's). `scale_lr`: steps of another size than the recipe's
    have another rate (`recipes/adjusted.py`).
    """

    recipe: str | None = None
    model: str | None = None
    edits: tuple[str, ...] = ()
    epochs: int | None = None
    teacher: TeacherConfig | None = None
    source: str | None = None
    smoke: bool = False
    task: str | None = None
    size: int | None = None
    scale_lr: bool = True


def planned(words: Words, facts: DatasetFacts) -> Run:
    """The run alone of `planned_aloud`."""
    return planned_aloud(words, facts)[0]


def planned_aloud(words: Words, facts: DatasetFacts) -> tuple[Run, tuple[str, ...]]:
    """The run, and what is said of its numbers: a line about its rate, one about what is far from the recipe's.

    It is the recipe's, edited, and then fitted, so that an edited size is also the network's.

    Raises:
        InputError: an unknown recipe, network or field; a value that a field cannot take; an input that the images do
            not have; a network that does not fit together.
    """
    run = by_name.recipe(words.recipe, facts, words.model)
    if words.teacher is not None:
        run = run.replace(teacher=words.teacher)
    task = task_for(facts.form, run.task)
    run = run.replace(task=task if words.task in (None, task.kind) else task_named(words.task))
    if words.source is not None:
        run = run.replace(data=run.data.replace(source=words.source))
    if words.epochs is not None:
        run = run.replace(train=run.train.replace(epochs=words.epochs, iterations=None))
    run = run if words.size is None else resized(run, words.size)
    recipe, run = run, edit(run, words.edits)
    require_rate(recipe, run, words.edits)
    run, rate = scaled(recipe, run, words.edits) if words.scale_lr else (run, "")
    far = questioned(recipe, run)
    asked = run.model.input if any(one.startswith("model.input=") for one in words.edits) else None
    if asked is not None:
        run = edit(run, [f"preparation.channels={asked[0]}"])
    run = run.fitted(facts)
    require_known(run)
    require_used_by(run, [*words.edits, *(["train.epochs"] if words.epochs is not None else [])])
    for field in OFF:
        if any(one.startswith(f"train.{field}=") for one in words.edits):
            require(run.task, f"train.{field}", "--set")
    if asked not in (None, run.model.input):
        given, seen = (",".join(map(str, size)) for size in (asked, run.model.input))
        raise InputError(f"--set model.input={given}: this run's images come as {seen}; their size is preparation.crop")
    run.model.architecture()  # what does not fit together is refused before anything is done
    return (smoke(run) if words.smoke else run), tuple(line for line in ("" if words.smoke else rate, far) if line)
