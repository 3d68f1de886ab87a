"""The first lines of a run, for the person who started it: what is trained on what, for how long, what was assumed."""

from deepres.arch.detector import DetectorConfig
from deepres.arch.readings.cost import cost
from deepres.base.events import Detail
from deepres.base.wording import counted
from deepres.data.loading.balance import class_weights, effective, unequal
from deepres.data.sources.open import Source
from deepres.data.targets import form_of
from deepres.runs.context import RunContext
from deepres.runs.expected import expected_lines
from deepres.runs.seen import doubles_in

NAMED = 4
"""As many classes are named."""

_FOR = {"train": "to train on", "val": "to choose the epoch", "test": "for the test"}


def opening(context: RunContext, step: int, total: int) -> list[str | Detail]:
    """Images and classes, network and length, what was assumed, where the report will be; then details."""
    run, source, train = context.run, context.source, context.run.train
    prepared = run.preparation
    size = " x ".join(map(str, run.model.input[1:]))
    if prepared.fit == "sides":
        size = f"short sides of {prepared.resize} and long ones of up to {prepared.longest}"
    parameters = counted(cost(run.model.architecture()).parameters, "parameter")
    length = counted(train.epochs, "epoch") + f", {counted(total, 'step')}" if train.epochs else counted(total, "step")
    each = f" on {context.processes.size} processes" if context.processes.size > 1 else ""
    often = f" ({train.batch_size // train.repeats}, each {train.repeats} times)" if train.repeats > 1 else ""
    begin = f", from {run.weights}" if run.weights else ""
    lines = [
        _images(source),
        f"{run.model.name}: {parameters}, sees {size} px{begin}",
        f"{length} of {train.batch_size} images{often}{each}, by recipe {run.recipe}",
        *context.about_numbers,
        *expected_lines(run, source),
        *([context.begun] if context.begun else []),
        *(["every unit begins as its shortcut: gamma 0 in its last norm"] if train.zero_gamma and not step else []),
        *(_head(train.head_pace) if train.fit_head and not step else []),
        *(context.teachers.lines() if context.teachers is not None else []),
        *_balance(context),
        *_masks(context),
        *_assumed(context),
        *_moved(context),
        *_doubled(context),
    ]
    if step:
        lines.append(f"goes on after step {step:,} of {total:,}")
    lines.append(f"report, when it is done: {context.folder / 'report.html'}")
    return [*lines, Detail(str(context.precision))]


def _head(pace: float | None) -> list[str]:
    """How a new head began."""
    learns = f"; from there it learns {pace:g} times as fast as the rest" if pace not in (None, 1) else ""
    return [f"the new head begins fitted to the features of the training images{learns}"]


def _masks(context: RunContext) -> list[str]:
    """Masks that are there and not learnt."""
    model = context.run.model
    learnt = not isinstance(model, DetectorConfig) or model.masks is not None
    if learnt or getattr(context.source.train.targets, "masks", None) is None:
        return []
    return [f"the pictures have masks, and {model.name} learns boxes alone; --recipe masks learns both"]


def _doubled(context: RunContext) -> list[str]:
    """Pictures that are trained on and measured; such as stand under two classes."""
    found = doubles_in(context.folder)
    said = (
        ""
        if found is None
        else found.sentence({split: len(images) for split, images in context.source.splits().items()})
    )
    wrong = "" if found is None else found.contradiction()
    return [f"note: {said}; the report shows them"] * bool(said) + [f"note: {wrong}"] * bool(wrong)


def _images(source: Source) -> str:
    """`pets: 1,800 images to train on, 200 to choose the epoch, 200 for the test; 10 classes: cat, dog, …`."""
    counts = [f"{len(images):,} {_FOR[split]}" for split, images in source.splits().items()]
    counts[0] = counts[0].replace(" to", " image to" if len(source.train) == 1 else " images to", 1)
    more = ", …" if len(source.classes) > NAMED else ""
    named = ", ".join(source.classes[:NAMED]) + more
    names = counted(len(source.classes), form_of(source.train.targets).called)
    return f"{source.name}: {', '.join(counts)}; {names}: {named}"


def _balance(context: RunContext) -> list[str]:
    """How unequal the classes are, and what is done about it."""
    source, balance = context.source, context.run.train.balance
    counts = form_of(source.train.targets).counts(source.train.targets, source.classes)
    said = unequal(counts)
    if balance == "none":
        known = [balance for balance in ("loss", "sampler") if f"train.balance={balance}" in context.run.task.tools]
        return [f"{said}: --balance {' or '.join(known)} weighs them alike"] if said and known else []
    weights = class_weights(counts)
    how = {
        "loss": f"weights of {float(weights.min()):.3g} to {float(weights.max()):.3g} in the loss (train.balance=loss)",
        "sampler": "images of each class drawn equally often (train.balance=sampler)",
    }
    chosen = ""
    if source.val is not None and "train.balance=sampler" in context.run.task.tools:
        images = effective(form_of(source.val.targets).counts(source.val.targets, source.classes))
        chosen = f"; the held-out error is the mean over classes, as sure as of {counted(images, 'image')}"
    return [f"{said or 'classes of like size'}: {how[balance]}{chosen}"]


def _moved(context: RunContext) -> list[str]:
    """That targets stay as they are where pixels move, of those for which that may be wrong."""
    augmentation, form = context.run.augmentation, form_of(context.source.train.targets)
    if form.moves or not form.may_point or not (augmentation.flip or augmentation.crop != "none"):
        return []
    moved = [*(["mirrored"] if augmentation.flip else []), *(["cut or shifted"] if augmentation.crop != "none" else [])]
    return [
        f"pictures are {' and '.join(moved)} in training and their numbers stay as they are; where these say left or "
        "right, or where: --set augmentation.flip=0 --set augmentation.crop=none"
    ]


def _assumed(context: RunContext) -> list[str]:
    """How splits came to be that the source does not have, and what of it is not used."""
    origin = context.source.origin
    shares = {"val": origin.val_fraction, "test": origin.test_fraction}
    given = [f"{100 * share:.3g} % for {split}" for split, share in shares.items() if share]
    assumed, noted = [], list(origin.notes)
    if given:
        assumed.append(f"of the training images {' and '.join(given)} put aside (data.split_seed {origin.split_seed})")
    if origin.test is not None and origin.test.how.startswith("given as val"):
        assumed.append("val, the only split beside train, is the test and chooses no epoch")
    if origin.ignored:
        noted.append(f"{counted(origin.ignored, 'file')} left aside, no image")
    said = {"assumed": assumed, "images": noted}
    return [f"{kind}: {'; '.join(lines)}" for kind, lines in said.items() if lines]
