"""Numbers of a recipe that follow from another that was changed: the rate from the batch size, sides from one size."""

from collections.abc import Sequence

from deepres.base.errors import InputError
from deepres.recipes.run import Run


def scaled(recipe: Run, run: Run, edits: Sequence[str]) -> tuple[Run, str]:
    """lr' = lr B' / B: the rates of a run whose steps are of B' images where the recipe's are of B, and what is said.

    The rule of Goyal et al. 2017 (arXiv 1706.02677, section 2.1), also for the rate that is held and for that of the
    end. Where a rate is given, none changes.
    """
    was, now = recipe.train.batch_size, run.train.batch_size
    given = any(edit.strip().startswith("train.schedule.lr") for edit in edits)
    if was == now or given or recipe.train.schedule.lr != run.train.schedule.lr:
        return run, ""
    old = run.train.schedule
    lr, end = _times(old.lr, now / was), _times(old.end, now / was)
    warmup_lr = None if old.warmup_lr is None else _times(old.warmup_lr, now / was)
    schedule = old.replace(lr=lr, end=end, warmup_lr=warmup_lr)
    said = (
        f"rate {lr:g} for steps of {now} images, in proportion to the recipe's {old.lr:g} for {was} "
        "(--no-scale-lr keeps that, --lr sets another)"
    )
    return run.replace(train=run.train.replace(schedule=schedule)), said


def require_rate(recipe: Run, run: Run, edits: Sequence[str]) -> None:
    """A recipe's rate is for its optimiser: of another one it says nothing.

    Raises:
        InputError: another optimiser, and no rate for it.
    """
    was, now = recipe.train.optimizer.kind, run.train.optimizer.kind
    if was != now and not any(edit.strip().startswith("train.schedule.lr") for edit in edits):
        rate = f"recipe {run.recipe} has a rate for {was}, {recipe.train.schedule.lr:g}, which says nothing of {now}'s"
        usual = f"{USUAL_RATE[now]:g} is what others begin with, a tenth of it from trained weights"
        raise InputError(f"train.optimizer={now}: {rate}; give one with --lr ({usual})")


USUAL_RATE = {"sgd": 0.1, "adamw": 0.001, "lamb": 0.005}
"""What others begin with, from nothing."""


def _times(rate: float, factor: float) -> float:
    return float(f"{rate * factor:.6g}")


def resized(run: Run, side: int) -> Run:
    """The run with a square input of `side` px, or pictures of that short side; the other sides keep their ratio.

    Images that the recipe takes as they are, all of one size, are brought to it whole ("squash").
    """
    before = run.preparation
    if before.fit == "sides":
        assert before.resize is not None
        assert before.longest is not None
        factor = side / before.resize
        preparation = before.replace(resize=side, longest=round(before.longest * factor))
    elif before.fit is None:
        return run.replace(preparation=before.replace(fit="squash", crop=side))
    else:
        assert before.crop is not None
        factor = side / before.crop
        resize = None if before.resize is None else max(side, round(before.resize * factor))
        preparation = before.replace(crop=side, resize=resize)
    augmentation = run.augmentation
    if augmentation.crop in ("short_side", "whole"):
        short, long = (max(1, round(edge * factor)) for edge in augmentation.scale)
        augmentation = augmentation.replace(scale=(short, long))
    return run.replace(preparation=preparation, augmentation=augmentation)
