"""A run that is written down in a file, its own `run.json` or the same in YAML, taken as the recipe of another."""

from pathlib import Path
from typing import Any

from deepres.arch.catalogue.lookup import entry
from deepres.base.errors import InputError
from deepres.base.manifest import RUN
from deepres.base.reading import read_json, read_yaml
from deepres.base.records import build
from deepres.data.facts import DatasetFacts
from deepres.recipes.run import Run, require_format
from deepres.tasks.task import read_in

_SUFFIXES = (".json", ".yaml", ".yml")
_WHAT = "description of a run"


def is_written(recipe: str | None) -> bool:
    """Whether a recipe is named by its file or the folder of a run; a folder of images may be called like a recipe."""
    return recipe is not None and (recipe.lower().endswith(_SUFFIXES) or (Path(recipe) / RUN).is_file())


def read_written(recipe: str) -> dict[str, Any]:
    """What the file says, or `run.json` in the folder: a mapping.

    Raises:
        InputError: it cannot be read, or is none.
    """
    path = Path(recipe) / RUN if Path(recipe).is_dir() else Path(recipe)
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path}: wanted a {_WHAT}, a .json or .yaml file or the folder of a run")
    found = read_json(path, _WHAT) if path.suffix.lower() == ".json" else read_yaml(path, _WHAT)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InputError(f"{path}: wanted fields with names, such as train.epochs: 3; given {type(found).__name__}")
    return found


def is_whole(fields: dict[str, Any]) -> bool:
    """Whether these are all fields of a run, not some to be set."""
    return {"recipe", "data", "model", "preparation", "train"} <= set(fields) and isinstance(fields["train"], dict)


def written(recipe: str) -> Run:
    """The run that the file describes.

    Raises:
        InputError: it describes none, is of another format, or a field cannot be.
    """
    fields = read_written(recipe)
    if not is_whole(fields):
        raise InputError(f"{recipe}: does not describe a whole run, as run.json does; give what it sets with --config")
    require_format(fields, Path(recipe))
    run, path = build(Run, fields, recipe), Path(recipe)
    return run.replace(task=read_in(run.task, path if path.is_dir() else path.parent))


def again(run: Run, facts: DatasetFacts, model: str | None) -> Run:
    """The written run on these images: what hangs on images or weights is found anew, all else stays.

    Args:
        run: the run as it is written down.
        facts: of the images; `beginning` of the weights that it begins with.
        model: another network by name, which begins from nothing.
    """
    run = run.replace(preparation=run.preparation.replace(channels=facts.channels))
    if run.teacher is not None:
        run = run.replace(teacher=run.teacher.replace(digests=()))
    if model is not None and facts.beginning is None:
        run = run.replace(model=entry(model).config)
    if (begin := facts.beginning) is not None:
        new_head = begin.classes != facts.classes
        fit_head = run.train.fit_head and new_head
        run = run.replace(
            new_head=new_head,
            weights=begin.weights,
            variant=begin.variant,
            weights_mean=begin.mean,
            weights_std=begin.std,
            model=begin.model if begin.weights != run.weights else run.model,
            train=run.train.replace(fit_head=fit_head),
        )
    return run


def source_of(recipe: str | None, given: str | None) -> str:
    """The images: those that are given, else the written run's own, else the digits."""
    if given is not None:
        return given
    return written(recipe).data.source if recipe is not None and is_written(recipe) else "digits"
