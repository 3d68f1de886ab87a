"""--above and --show of `deepres predict`: which boxes are told, and drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from deepres.base.files import write_atomic
from deepres.cli import outputs

if TYPE_CHECKING:
    from deepres.predict.pictures import Picture
    from deepres.predict.predictor import Predictor

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class BoxFlags:
    """What was said about boxes; `told` are the answers so far."""

    above: float | None = None
    show: Path | None = None
    told: list[Any] = field(default_factory=list)

    def asked(self, predictor: "Predictor", run: str) -> "Predictor":
        """The predictor that tells boxes from `above` on; InputError where its task has none."""
        from deepres.tasks.task import require

        for flag, value in (("--above", self.above), ("--show", self.show)):
            if value is not None:
                require(predictor.task, flag, run)
        outputs.require_free_folder("--show", self.show, ())
        return predictor if self.above is None else replace(predictor, task=predictor.task.replace(above=self.above))

    def drawn(self, predictor: "Predictor", picture: "Picture", answer: Any, *, overwrite: bool) -> str | None:
        """The file of the picture with its boxes, where that is wanted."""
        if "--above" not in predictor.task.tools:
            return None
        self.told.append(answer)
        if self.show is None or answer.problem is not None:
            return None
        from deepres.data.box_drawing import drawn
        from deepres.data.boxes import Boxes
        from deepres.predict.maps import file_name, png

        number = {name: place for place, name in enumerate(predictor.classes)}
        boxes = Boxes.of([one.corners for one in answer.boxes], [number[one.name] for one in answer.boxes])
        path = self.show / file_name(picture, "boxes")
        outputs.require_free({"--show": (path, outputs.PICTURE)}, [picture.name], overwrite=overwrite)
        pixels = picture.pixels(predictor.preparation.channels, predictor.preparation.levels)
        scores = [one.score for one in answer.boxes]
        write_atomic(path, png(drawn(pixels, boxes, predictor.classes, scores, enlarge=False)))
        return str(path)

    def left_out(self, predictor: "Predictor") -> str:
        """What was not told, in a sentence; "" where all was."""
        return predictor.task.left_out(self.told)


def box_flags(command: Command) -> Command:
    """--above and --show; the command gets `boxes`."""

    @wraps(command)
    def with_boxes(*arguments: Any, above: float | None, show: Path | None, **named: Any) -> Any:
        return command(*arguments, boxes=BoxFlags(above, show), **named)

    shown = click.option(
        "--show",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Boxes: write each image with its boxes drawn on it into DIR.",
    )(with_boxes)
    told = click.option(
        "--above",
        type=click.FloatRange(0, 1),
        metavar="SCORE",
        help="Boxes: tell those of this score or more (0.5); changes no measure.",
    )(shown)
    return cast(Command, told)
