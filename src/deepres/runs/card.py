"""What the model card of a run says (nn/weights/card.py): what repeats alone, so that resuming gives the same bytes."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from deepres.arch.architecture import Architecture
from deepres.arch.readings.cost import cost
from deepres.base.wording import counted
from deepres.nn.weights.card import CardFacts, Measured, card
from deepres.nn.weights.convert import known_as
from deepres.runs.context import RunContext
from deepres.tasks.result import Result


def card_of(context: RunContext, result: Result | None, facts: Mapping[str, JsonValue]) -> str:
    """The card; `facts` are those of `summary.json`."""
    run, source, origin = context.run, context.source, context.source.origin
    description = run.model.architecture()
    found: dict[str, tuple[int, str]] = {
        split: (record.images, record.how) for split in source.splits() if (record := getattr(origin, split))
    }
    return card(
        CardFacts(
            network=run.model.name,
            form=run.task.form,
            names=tuple(source.classes),
            timm=opens(description, run.task.form, run.preparation.normalise),
            license=run.license,
            dataset=source.name,
            splits=found,
            input=run.model.input,
            parameters=cost(description).parameters,
            measured=None if result is None else _measured(result),
            training=_training(context, facts),
        )
    )


def _measured(result: Result) -> Measured:
    head = result.headline
    return Measured(
        name=head.name,
        value=head.value,
        low=head.low,
        high=head.high,
        text=head.text,
        interval=head.interval,
        detail=head.detail,
        images=result.num_images,
        split=result.split,
        protocol=result.shown or result.protocol,
        precision=result.precision,
        figures=result.figures(),
        notes=result.notes,
    )


def opens(description: object, form: str, normalise: str) -> bool:
    """Whether timm makes the same network of the folder, and its images mean the same."""
    known = isinstance(description, Architecture) and known_as(description) is not None
    return known and form in ("class", "classes") and normalise != "per_pixel"


def _training(context: RunContext, facts: Mapping[str, JsonValue]) -> dict[str, str]:
    run, train = context.run, context.run.train
    told = {
        "recipe": run.recipe,
        "length": f"{counted(int(str(facts['steps'])), 'step')}, {counted(int(str(facts['epochs'])), 'epoch')}",
        "images in a step": f"{train.batch_size:,}",
        "learning rate": f"{train.schedule.kind}, {train.schedule.lr:g} at most",
        "weights kept": str(facts.get("choice") or facts["selected_by"]),
        "began with": "nothing" if run.weights is None else Path(run.weights).name,
        "computed in": str(context.precision.dtype).removeprefix("torch."),
        "seed": str(run.seed),
        "deepres": str(dict(facts["versions"])["deepres"] if isinstance(facts["versions"], dict) else ""),
        "all of it": "run.json; deepres train SOURCE --recipe run.json",
    }
    if run.teacher is not None:
        told["teacher"] = ", ".join(Path(each).name for each in run.teacher.weights)
    return told
