"""Masks as a column of boxes that were found or that are there: run lengths, a row a box; in a file as flat arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepres.data.run_lengths import RunLengths, read

NAMES = ("sizes", "ends", "counts")
"""Of the arrays that a column is in a file: (H, W) of each, where its text ends in `counts`, all texts in a row."""


@dataclass(frozen=True, eq=False)
class MaskColumn:
    """The masks of M boxes."""

    runs: tuple[RunLengths, ...] = ()

    @classmethod
    def together(cls, parts: "Sequence[MaskColumn]") -> "MaskColumn":
        """All of them, in their order."""
        return cls(tuple(runs for part in parts for runs in part.runs))

    def __getitem__(self, rows: Tensor) -> "MaskColumn":
        """These, by their places or by True and False."""
        return MaskColumn(tuple(self.runs[place] for place in torch.arange(len(self))[rows].tolist()))

    def __len__(self) -> int:
        return len(self.runs)

    def arrays(self, prefix: str) -> dict[str, Tensor]:
        """As `written` reads them."""
        texts = [runs.counts for runs in self.runs]
        letters = torch.from_numpy(np.frombuffer(b"".join(texts), dtype=np.uint8).copy())
        sizes = torch.tensor([runs.size for runs in self.runs], dtype=torch.int64).reshape(-1, 2)
        return dict(zip((f"{prefix}{name}" for name in NAMES), (sizes, _ends(texts), letters), strict=True))


def written(columns: Mapping[str, Any], prefix: str, rows: int) -> MaskColumn | None:
    """What `MaskColumn.arrays` wrote, of so many rows; None where there is none.

    Raises:
        ValueError: they are no masks.
    """
    if f"{prefix}sizes" not in columns:
        return None
    sizes, ends, letters = (np.asarray(columns[f"{prefix}{name}"]) for name in NAMES)
    if sizes.shape != (rows, 2) or ends.shape != (rows,) or letters.dtype != np.uint8 or letters.ndim != 1:
        raise ValueError(f"{prefix}sizes are {sizes.shape}, {prefix}ends {ends.shape}, wanted masks of {rows} boxes")
    found, start = [], 0
    for size, end in zip(sizes.tolist(), ends.tolist(), strict=True):
        found.append(read({"size": size, "counts": letters[start:end].tobytes()}))
        start = end
    return MaskColumn(tuple(found))


def _ends(texts: Sequence[bytes]) -> Tensor:
    return torch.tensor([len(text) for text in texts], dtype=torch.int64).cumsum(0)
