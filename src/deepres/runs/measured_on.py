"""On which images weights are measured: a run's own, or others, of which it has seen none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepres.base.errors import InputError, unknown
from deepres.data.images import Images
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source, open_splits
from deepres.data.sources.splits import Split
from deepres.data.targets import form_of
from deepres.recipes.run import Run
from deepres.runs.seen import SPLIT, asks_for_own, began_with, overlap, own_now, unchanged

if TYPE_CHECKING:
    from deepres.runs.evaluate import EvaluationConfig

READ_AS_THE_RUN = ("channels", "depth", "splits", "columns", "levels")
"""How other images are read where that is not said: as the run's own were."""


@dataclass(frozen=True)
class MeasuredImages:
    """The images to be measured on, how they are read, what they are called, and what is to be said of them.

    `own`: they are the run's.
    """

    images: Images
    data: DataConfig
    split: str
    notes: tuple[str, ...] = ()
    own: bool = False


def images_of(
    folder: Path | None,
    run: Run | None,
    weights: str,
    data: DataConfig | None,
    asked: "EvaluationConfig",
) -> MeasuredImages:
    """The run's own images, or those of `data`; what the run has seen of them is refused, or said.

    Raises:
        InputError: no images, no such split, images that the run has seen.
    """
    on_bad_image = asked.on_bad_image
    of_run = None if run is None or folder != Path(weights) else own_now(folder, run, data.source if data else None)
    own = of_run is not None and (data is None or asks_for_own(data, of_run))
    config = of_run if own else data
    if config is None:
        raise InputError(f"{weights}: weights without images of their own; name a SOURCE to measure them on")
    if data is not None and run is not None:
        read_as = {name: getattr(run.data, name) for name in READ_AS_THE_RUN if name not in data.model_fields_set}
        config = config.replace(**read_as)
        on_bad_image = on_bad_image or ("skip" if data.on_bad_image == "skip" else None)
    config = config.replace(on_bad_image=on_bad_image or config.on_bad_image)
    source = open_source(config) if own else None
    given = open_splits(config) if source is None else None
    splits = source.splits() if source is not None else given.splits if given is not None else {}
    split = split_of(asked.split, splits)
    notes = [] if given is None else [*given.notes]
    chosen = MeasuredImages(
        splits[split], config, split if own or len(splits) > 1 or split != "train" else "all images", tuple(notes), own
    )
    if run is None or folder is None:
        return chosen
    changed = source is not None and not unchanged(folder, split, chosen.images, source.origin)
    notes += [f"the images of {config.source} are no longer those that the run began with"] if changed else []
    foreign = not own or (changed and asked.split != "train")
    if foreign or began_with(folder):
        found = overlap(folder, run, chosen.images)
        if foreign and not asked.force and (found or (changed and found.unknown)):
            remedy = f"measure {folder} on its own test images"
            if own:
                listed = folder / SPLIT
                remedy = "bring back those that it began with"
                remedy += f", or measure on those that {listed} lists" if listed.is_file() else ""
            raise InputError(
                f"{config.source}: {found}, so the error would come out too low; {remedy}, or insist with --force"
            )
        notes += [f"{config.source}: {found}"] if found or found.unknown else []
    return replace(chosen, notes=tuple(notes))


def split_of(asked: str | None, splits: Mapping[Split, Images]) -> Split:
    """The split that is asked for; None: test, where there is none val, else train. InputError: no such split."""
    tried = (asked,) if asked else ("test", "val", "train")
    found = next((split for name in tried for split in splits if split == name), None)
    if found is None:
        raise unknown("split", asked or "test", splits)
    return found


def relabelled(images: Images, names: tuple[str, ...], source: str) -> Images:
    """The images with their labels in the order of `names`; InputError: of classes that are not among these."""
    twice = sorted({name for name in images.classes if names.count(name) > 1})
    if twice:
        raise InputError(
            f"{source}: the network has several classes called '{twice[0]}', and which is meant cannot be known; "
            "give them names of their own in the weights' config.json"
        )
    if images.classes == names:
        return images
    try:
        targets = form_of(images.targets).matched(images.targets, images.classes, names)
    except ValueError as strangers:
        known = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
        raise InputError(
            f"{source}: the network does not know the classes {strangers} (it knows {known}); "
            "rename the folders, or train on these images"
        ) from strangers
    return images.labelled(targets, names)
