"""Highway networks: layers that a learnt gate opens, fully connected or convolutional."""

from typing import Literal

from pydantic import model_validator

from deepres.arch.algebra import Node, Parallel, Sequence
from deepres.arch.architecture import Architecture, Size
from deepres.arch.atoms import Activation, Flatten, GlobalAveragePool, Identity, Linear, MaxPool
from deepres.arch.bounds import Classes, Count, Depths
from deepres.arch.spare import without_units
from deepres.arch.units import conv3x3
from deepres.base.records import Record, build


class HighwayConfig(Record):
    """y = H(x) T(x) + x (1 - T(x)), T(x) = sigmoid(W_T x + b_T) (Srivastava et al. 2015, arXiv 1505.00387).

    `depths` and `widths` have one entry a stage: how many highway layers, of which width. Each stage begins with a
    plain layer that brings its width; in a convolutional network all but the first come after a 2x2 max pool.

    `layer`: "linear" on flattened images, or "conv", 3x3 in H and in T. `gate_bias`: what b_T begins with; below 0 a
    layer begins as a copy, the papers tried -1 to -10. H(x) = activation(W_H x + b_H).
    `without`: layers that are left out, by dotted name, as if their gates were closed (`arch/spare.py`).
    """

    family: Literal["highway"] = "highway"
    name: str
    input: Size = (3, 32, 32)
    num_classes: Classes = 10
    layer: Literal["linear", "conv"] = "conv"
    depths: Depths
    widths: tuple[Count, ...]
    gate_bias: float = -2.0
    activation: Literal["relu", "tanh"] = "relu"
    without: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "HighwayConfig":
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths {self.depths} and widths {self.widths}: wanted one of each for every stage")
        return self

    def architecture(self) -> Architecture:
        """The description: stem, stage1, transition1, stage2, …, head."""
        body: dict[str, Node] = {}
        convolutional = self.layer == "conv"
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), start=1):
            plain = {self._name: self._weights(width), "act": Activation(function=self.activation)}
            if stage == 1:
                body["stem"] = Sequence(parts=plain if convolutional else {"flatten": Flatten(), **plain})
            else:
                before: dict[str, Node] = {"pool": MaxPool(kernel=2, stride=2)} if convolutional else {}
                body[f"transition{stage - 1}"] = Sequence(parts={**before, **plain})
            body[f"stage{stage}"] = Sequence(parts={f"unit{n}": self._unit(width) for n in range(1, depth + 1)})
        head: dict[str, Node] = {"pool": GlobalAveragePool()} if convolutional else {"features": Identity()}
        if self.num_classes:
            head["fc"] = Linear(features=self.num_classes)
        parts = {"name": self.name, "input": self.input, "body": tuple(body.items()), "head": Sequence(parts=head)}
        return without_units(build(Architecture, parts, self.name), self.without)

    @property
    def _name(self) -> str:
        return "conv" if self.layer == "conv" else "fc"

    def _weights(self, width: int, bias: float = 0.0) -> Node:
        if self.layer == "conv":
            return conv3x3(width).replace(bias=True, bias_init=bias)
        return Linear(features=width, bias_init=bias)

    def _unit(self, width: int) -> Parallel:
        branch = {self._name: self._weights(width), "act": Activation(function=self.activation)}
        gate = {self._name: self._weights(width, self.gate_bias), "sigmoid": Activation(function="sigmoid")}
        return Parallel(
            parts={"branch": Sequence(parts=branch), "shortcut": Identity(), "gate": Sequence(parts=gate)},
            join="exclusive_gate",
        )
