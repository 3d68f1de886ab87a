"""FractalNets: deep and shallow columns that meet in means, no shortcut anywhere."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from deepres.arch.algebra import Node, Parallel, Sequence
from deepres.arch.architecture import Architecture, Size
from deepres.arch.atoms import Activation, ColumnMean, Dropout, GlobalAveragePool, Linear, MaxPool, Norm
from deepres.arch.bounds import Classes, Count
from deepres.arch.units import conv3x3
from deepres.base.records import Record, build


class FractalConfig(Record):
    """f_1 = layer, f_{C+1}(z) = mean(layer(z), f_C(f_C(z))): Larsson et al. 2017, arXiv 1605.07648.

    A block is f_C with C = `columns`: column 1 has one layer, column C has 2^(C-1). Means are flat: where n columns
    meet each weighs 1/n. `widths` has one entry a block; a 2x2 max pool ends each block, on every column before they
    meet (the authors' code); that the last block has one too is our choice, 32 px become 1. A layer is 3x3
    convolution with bias, dropout, norm without gamma and beta, ReLU.

    `dropout` is the rate in each block. `local_drop`, `global_share`: drop-path as in `ColumnMean`; that half of all
    batches keep one column was not verified. The initialisation is our table's (He); the authors' code has Xavier's.
    """

    family: Literal["fractal"] = "fractal"
    name: str
    input: Size = (3, 32, 32)
    num_classes: Classes = 10
    columns: Annotated[int, Field(ge=1, le=8)] = 3
    widths: tuple[Count, ...] = (64, 128, 256, 512, 512)
    dropout: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    local_drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    global_share: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _fits_together(self) -> "FractalConfig":
        if len(self.dropout) != len(self.widths):
            raise ValueError(f"dropout {self.dropout} and widths {self.widths}: wanted one of each for every block")
        return self

    def architecture(self) -> Architecture:
        """The description: stage1, …, head."""
        body: dict[str, Node] = {}
        for number, (width, rate) in enumerate(zip(self.widths, self.dropout, strict=True), start=1):
            block: dict[str, Node] = {"fractal": self._fractal(1, _layer(width, rate))}
            block["pool"] = MaxPool(kernel=2, stride=2)
            body[f"stage{number}"] = Sequence(parts={**block, **self._join(self.columns)})
        head: dict[str, Node] = {"pool": GlobalAveragePool()}
        if self.num_classes:
            head["fc"] = Linear(features=self.num_classes)
        parts = {"name": self.name, "input": self.input, "body": tuple(body.items()), "head": Sequence(parts=head)}
        return build(Architecture, parts, self.name)

    def _fractal(self, first: int, layer: Sequence) -> Node:
        """Columns `first` to the last, one behind the other, before they meet."""
        if first == self.columns:
            return layer
        deeper = self._fractal(first + 1, layer)
        twice = Sequence(parts={"first": deeper, **self._join(self.columns - first), "second": deeper})
        rest = f"column{first + 1}" if first + 1 == self.columns else "deeper"
        return Parallel(parts={f"column{first}": layer, rest: twice}, join="concat")

    def _join(self, columns: int) -> dict[str, Node]:
        if columns == 1:
            return {}
        return {"join": ColumnMean(columns=columns, local_drop=self.local_drop, global_share=self.global_share)}


def _layer(width: int, dropout: float) -> Sequence:
    parts: dict[str, Node] = {"conv": conv3x3(width).replace(bias=True)}
    if dropout:
        parts["dropout"] = Dropout(rate=dropout)
    return Sequence(parts={**parts, "norm": Norm(affine=False), "act": Activation()})
