"""--above, --show, --format of `deepres predict`: which boxes are told, drawn, and written as others read them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from deepres.base.errors import InputError
from deepres.base.files import resolved, write_atomic
from deepres.cli import flags
from deepres.cli.flags import Command
from deepres.runs import outputs

if TYPE_CHECKING:
    from deepres.data.box_writing import BoxFormat, PictureBoxes
    from deepres.data.boxes import Boxes
    from deepres.predict.pictures import Picture
    from deepres.predict.predictor import Predictor


@dataclass(frozen=True)
class BoxFlags:
    """What was said about boxes; `told` are the answers so far."""

    above: float | None = None
    show: Path | None = None
    format: "BoxFormat | None" = None
    output: Path | None = None
    told: list[Any] = field(default_factory=list)
    written: "list[PictureBoxes]" = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)

    def asked(self, predictor: "Predictor", run: str) -> "Predictor":
        """The predictor that tells boxes from `above` on; InputError where its task has none."""
        from deepres.tasks.task import require

        for flag, value in (("--above", self.above), ("--show", self.show), ("--format", self.format)):
            if value is not None:
                require(predictor.task, flag, run)
        if self.output is not None and "--format" not in predictor.task.tools:
            raise InputError(
                f"--output {self.output}: of boxes in a format, and {run} is a {predictor.task.kind}; --csv FILE "
                "writes its answers as a table"
            )
        if (self.format is None) != (self.output is None):
            given, other = ("--format", "--output DIR") if self.output is None else ("--output", "--format coco")
            raise InputError(f"{given} alone: boxes are written in a format, into a new folder; add {other}")
        return predictor if self.above is None else replace(predictor, task=predictor.task.replace(above=self.above))

    def require_free(
        self, predictor: "Predictor", run: str, listed: "Sequence[Picture | Path]", folders: "Sequence[str]" = ()
    ) -> None:
        """Refuse places that must not be written, and pictures whose boxes could not be, before any is answered.

        `folders` are those of which all pictures are answered.
        """
        from deepres.data.box_writing import relative_names, require_writable
        from deepres.predict.pictures import Picture

        outputs.require_free_folder("--show", self.show, folders)
        if self.output is None or self.format is None:
            return
        if os.path.lexists(self.output):
            raise InputError(f"--output {self.output}: exists already; choose another place, or remove it first")
        outputs.require_free_folder("--output", self.output, [run, *folders])
        video = next((one for one in listed if isinstance(one, Path)), None)
        if video is not None:
            raise InputError(
                f"--format {self.format}: {video} is a video, and boxes go by the names of pictures' files"
            )
        files = [one.file for one in listed if isinstance(one, Picture) and one.file is not None]
        require_writable(self.format, relative_names(files), predictor.classes)

    def drawn(self, predictor: "Predictor", picture: "Picture", answer: Any, *, overwrite: bool) -> str | None:
        """The file of the picture with its boxes, where that is wanted."""
        if "--above" not in predictor.task.tools:
            return None
        self.told.append(answer)
        if answer.problem is not None or (self.show is None and self.format is None):
            return None
        from deepres.data.box_drawing import drawn
        from deepres.data.boxes import Boxes
        from deepres.data.masks import Masks
        from deepres.data.run_lengths import read
        from deepres.predict.maps import file_name, png

        number = {name: place for place, name in enumerate(predictor.classes)}
        drawn_masks = [read(one.segmentation.model_dump()) for one in answer.boxes if one.segmentation is not None]
        boxes = Boxes.of(
            [one.corners for one in answer.boxes],
            [number[one.name] for one in answer.boxes],
            masks=Masks.of(drawn_masks) if drawn_masks else None,
        )
        scores = [one.score for one in answer.boxes]
        pixels = picture.pixels(predictor.preparation.channels, predictor.preparation.levels)
        if self.format is not None:
            self._keep(picture, (pixels.shape[-1], pixels.shape[-2]), boxes, tuple(scores))
        if self.show is None:
            return None
        path = self.show / file_name(picture, "boxes")
        outputs.require_one("--show", path, outputs.PICTURE, [picture.name], overwrite=overwrite)
        write_atomic(path, png(drawn(pixels, boxes, predictor.classes, scores, enlarge=False)))
        return str(path)

    def _keep(self, picture: "Picture", size: tuple[int, int], boxes: "Boxes", scores: tuple[float, ...]) -> None:
        from deepres.data.box_writing import PictureBoxes

        content = picture.content
        if not isinstance(content, Path):
            raise InputError(f"--format {self.format}: {picture.name} is no file, whose name the boxes would go by")
        self.paths.append(content)
        self.written.append(PictureBoxes(picture.name, size, boxes, scores))

    def write(self, predictor: "Predictor", run: str) -> None:
        """Write the boxes of all pictures, where that is wanted; of COCO by the numbers of the run's own source."""
        if self.format is None or self.output is None:
            return
        from deepres.data.box_writing import relative_names, write_boxes

        ids, class_ids = _numbers_of(run, predictor.classes) if self.format == "coco" else ({}, ())
        named = zip(self.written, relative_names(self.paths), self.paths, strict=True)
        known = all(resolved(path) in ids for path in self.paths)
        pictures = [replace(one, name=name, id=ids[resolved(path)] if known else None) for one, name, path in named]
        write_boxes(self.output, self.format, pictures, predictor.classes, class_ids)
        click.echo(f"boxes: {self.output}", err=True)

    def left_out(self, predictor: "Predictor") -> str:
        """What was not told, in a sentence; "" where all was."""
        return predictor.task.left_out(self.told)


def box_flags(command: Command) -> Command:
    """--above, --show, --format and --output; the command gets `boxes`."""

    @wraps(command)
    def with_boxes(
        *arguments: Any, above: float | None, show: Path | None, format: str | None, output: Path | None, **named: Any
    ) -> Any:
        return command(*arguments, boxes=BoxFlags(above, show, cast("BoxFormat", format), output), **named)

    into = click.option(
        "--output", type=click.Path(path_type=Path), metavar="DIR", help="With --format: the new folder."
    )(with_boxes)
    written = click.option(
        "--format",
        type=click.Choice(["coco", "voc", "yolo"]),
        help="Boxes: write those of all images as COCO's JSON, VOC's XML or YOLO's text files into --output.",
    )(into)
    shown = click.option(
        "--show",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Boxes: write each image with its boxes, and masks, drawn on it into DIR.",
    )(written)
    told = click.option(
        "--above",
        type=flags.Finite(0, 1),
        metavar="SCORE",
        help="Boxes: leave out those of a lower score (0.5).",
    )(shown)
    return cast(Command, told)


def _numbers_of(run: str, classes: tuple[str, ...]) -> tuple[dict[Path, int], tuple[int, ...]]:
    """What the COCO source of a run calls its pictures, by their places, and its classes; nothing of another run."""
    from deepres.data.boxes import BoxTargets
    from deepres.data.sources.open import open_source
    from deepres.recipes.run import load_run
    from deepres.runs.seen import own_data, run_of

    folder = run_of(run)
    if folder is None:
        return {}, ()
    try:
        source = open_source(own_data(folder, load_run(folder)))
    except InputError:  # it lies elsewhere by now
        return {}, ()
    ids: dict[Path, int] = {}
    numbers: dict[str, int] = {}
    for images in source.splits().values():
        if isinstance(images.targets, BoxTargets) and images.targets.class_ids:
            numbers = dict(zip(images.classes, images.targets.class_ids, strict=False))
            ids |= zip((resolved(path) for path in images.paths), images.targets.ids.tolist(), strict=True)
    return ids, tuple(numbers[name] for name in classes) if set(classes) <= set(numbers) else ()
