"""Answers batch by batch -> columns in the order of the images; nothing is summed before they are in that order."""

import torch
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.base.wording import counted


class Collected:
    """Columns (N, …) by name, one of them `indices`; `merge` makes one of two, as if one had seen all batches."""

    def __init__(self) -> None:
        self._batches: list[dict[str, Tensor]] = []

    def add(self, **columns: Tensor) -> None:
        """Add a batch; what is not on the CPU is brought there."""
        self._batches.append({name: column.detach().cpu() for name, column in columns.items()})

    def merge(self, other: "Collected") -> None:
        """Add all that `other` has seen."""
        self._batches.extend(other._batches)

    def columns(self) -> dict[str, Tensor]:
        """All so far, in order of the images' indices.

        Raises:
            InputError: there are none, or an image came more than once (a padded batch would count it twice).
        """
        if not sum(len(batch["indices"]) for batch in self._batches):
            raise InputError("evaluation: no images were given; wanted at least one")
        whole = {name: torch.cat([batch[name] for batch in self._batches]) for name in self._batches[0]}
        order = whole["indices"].argsort()
        ordered = {name: column[order] for name, column in whole.items()}
        earlier, later = ordered["indices"][:-1], ordered["indices"][1:]
        if bool((earlier == later).any()):
            twice = int(later[earlier == later][0])
            raise InputError(f"evaluation: image {twice} was given more than once; wanted each once, no padded batches")
        return ordered


def require_finite(outputs: Tensor, indices: Tensor, what: str = "outputs") -> None:
    """Refuse outputs (N, K) that are no numbers.

    Raises:
        RunError: some are not finite; images are named by their places.
    """
    finite = outputs.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        named = ", ".join(str(int(i)) for i in indices[~finite][:3])
        raise RunError(
            f"evaluation: the {what} of {int((~finite).sum())} of {counted(len(outputs), 'image')} "
            f"are not finite (image {named}); "
            "the weights are damaged, or training diverged: lower the learning rate"
        )
