"""Pictures that stand in two parts: what the error is without them."""

from dataclasses import replace
from pathlib import PurePath

import numpy as np
import torch

from deepres.base.wording import counted
from deepres.data.doubles import Doubles
from deepres.data.images import Images
from deepres.tasks.result import Evaluation


def told_of_doubles(evaluation: Evaluation, images: Images, doubles: Doubles | None) -> Evaluation:
    """With a note of what the error is without them; as it is where there are none, or `images` are others by now."""
    split, result = evaluation.result.split, evaluation.result
    ours = [pair.other for pair in doubles.pairs if pair.other.split == split] if doubles is not None else []
    same = (
        each.index < len(images) and PurePath(images.name(each.index)).name == PurePath(each.name).name for each in ours
    )
    if doubles is None or not ours or not all(same):
        return evaluation
    return replace(
        evaluation, result=result.replace(notes=(*result.notes, without_doubles(evaluation, images, doubles)))
    )


def without_doubles(evaluation: Evaluation, images: Images, doubles: Doubles) -> str:
    """`12 of 576 images stand in train too …: without them the error is 5.14 %`; "" where none does."""
    answers, result = evaluation.predictions, evaluation.result
    indices = answers.indices.numpy()
    kept = ~np.isin(indices, doubles.places(result.split))
    left, out = int(kept.sum()), int((~kept).sum())
    if not out:
        return ""
    where = " and ".join(sorted({pair.one.split for pair in doubles.pairs if pair.other.split == result.split}))
    told = f"{out:,} of {counted(len(indices), 'image')} {'stands' if out == 1 else 'stand'} in {where} too"
    told += " (the same picture, or nearly)"
    name = result.headline.name
    if not left:
        return f"{told}: the {name} says nothing of other images"
    facts = {field: getattr(result, field) for field in ("split", "protocol", "skipped", "seconds", "provenance")}
    task = evaluation.task.unsettled()  # the figure needs nothing that held-out images settled, nor the scores for it
    rest = task.concluded(answers.at(torch.from_numpy(kept.nonzero()[0])), images, facts).result.headline
    them, detail = "it" if out == 1 else "them", f", {rest.detail}" if rest.detail else ""
    return f"{told}: without {them} the {name} is {rest.text}{detail}"
