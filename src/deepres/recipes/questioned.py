"""Numbers that were given and lie far from what the recipe has: asked about before the run begins, not refused."""

from collections.abc import Iterator, Mapping

from deepres.base.records import Record, flat
from deepres.recipes.adjusted import USUAL_RATE
from deepres.recipes.run import Run

FAR = 10
"""So many times as much or as little is asked about: a digit too many, another exponent."""

NO_MATTER = ("train.save_every_seconds",)
"""Of these any value is as good."""


def questioned(recipe: Run, run: Run) -> str:
    """One line about the numbers of training and augmentation that are 10 times the recipe's or more, or a tenth.

    `recipe` is the run before its edits. Of shares above a half, such as momentum, what is missing to 1 is compared
    too. The rate is compared image by image (Goyal et al. 2017, section 2.1), so that one which does not go with the
    batch size is found although the recipe has the same. What is turned off, or what the recipe leaves off, is no slip
    of a digit, and whole numbers (epochs, sizes) are anybody's own. Of another optimiser than the recipe's what is
    usual stands in its place.
    """
    told = [*_rate(recipe, run), *_others(recipe, run)]
    return f"far from recipe {run.recipe}: {'; '.join(told)} (if so meant, nothing is to be done)" if told else ""


def _rate(recipe: Run, run: Run) -> Iterator[str]:
    lr, kind = run.train.schedule.lr, run.train.optimizer.kind
    was, now = recipe.train.batch_size, run.train.batch_size
    if kind != recipe.train.optimizer.kind:
        expected, whose = USUAL_RATE[kind], f"{kind}'s usual"
    else:
        expected, whose = recipe.train.schedule.lr * now / was, "the recipe's"
        if now != was:
            whose = f"the recipe's {recipe.train.schedule.lr:g} for {was} in proportion to steps of {now},"
    if said := _far(expected, lr):
        yield f"train.schedule.lr={lr:g} is {said} {whose} {expected:.3g}"


def _others(recipe: Run, run: Run) -> Iterator[str]:
    optimizer, kind, whose = recipe.train.optimizer, run.train.optimizer.kind, "the recipe's"
    if kind != optimizer.kind:
        optimizer, whose = type(run.train.optimizer)(), f"{kind}'s usual"
    before = {**_numbers("train.", recipe.train), **_numbers("augmentation.", recipe.augmentation)}
    before |= _numbers("train.optimizer.", optimizer)
    after = {**_numbers("train.", run.train), **_numbers("augmentation.", run.augmentation)}
    for field, value in after.items():
        if field.startswith("train.schedule.") and field.endswith(("lr", "end")):
            continue  # rates: they go with the batch size
        if field in before and field not in NO_MATTER and (said := _far(before[field], value)):
            of = whose if field.startswith("train.optimizer.") else "the recipe's"
            yield f"{field}={value:g} is {said} {of} {before[field]:g}"


def _numbers(within: str, record: Record) -> Mapping[str, float]:
    """Its numbers that are not whole, by dotted name; those of a tuple by place."""
    found = {}
    for name, value in flat(record.model_dump(mode="json"), within):
        for place, one in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(one, float):
                found[f"{name}[{place}]" if isinstance(value, list) else name] = one
    return found


def _far(usual: float, given: float) -> str:
    """`100 times`, `1/10 of`, or nothing where one is 0 or they are near each other."""
    if usual <= 0 or given <= 0:
        return ""
    factor = _rounded(given / usual)
    if not 1 / FAR < factor < FAR:
        return f"{factor:.3g} times" if factor > 1 else f"1/{_rounded(1 / factor):.3g} of"
    if 0.5 < usual < 1 and 0.5 < given < 1:  # shares: how much is left
        left = _rounded((1 - given) / (1 - usual))
        if not 1 / FAR < left < FAR:
            return "far closer to 1 than" if left < 1 else "far further from 1 than"
    return ""


def _rounded(factor: float) -> float:
    """Without what 0.1 * 3 is more than 0.3."""
    return float(f"{factor:.9g}")
