"""Tasks whose network answers each picture with a row of numbers: how it is made, and how it is asked."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from deepres.base.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepres.arch.detector import Description
    from deepres.data.images import Batch
    from deepres.data.transforms.config import Preparation
    from deepres.data.transforms.statistics import Statistics
    from deepres.nn.build import ResidualNetwork
    from deepres.nn.inference import InferencePrecision
    from deepres.nn.weights.formats import Checkpoint
    from deepres.tasks.task import AskedHow, FirstValues


class OneRow:
    """outputs (N, K) = network(images (N, C, H, W))."""

    settles: ClassVar[bool] = True

    def suits(self, description: "Description | None") -> bool:
        """Whether it is asked of networks of that description; None: of weights that do not say it."""
        from deepres.arch.detector import Detector
        from deepres.arch.localiser import anchors_of

        return not isinstance(description, Detector) and anchors_of(description) is None

    def recognised(self, stored: "Checkpoint") -> "Checkpoint":
        """The same: the catalogue's names and guards are `create_model`'s."""
        return stored

    def network(
        self,
        description: "Description",
        names: tuple[str, ...],
        first: "FirstValues",
    ) -> "tuple[ResidualNetwork, str]":
        """The network of that description, and what its weights were adapted to; errors as `create_model`."""
        from deepres.arch.detector import Detector
        from deepres.arch.localiser import anchors_of
        from deepres.nn.create import adaptation, create_model
        from deepres.nn.weights.channels import RGB
        from deepres.nn.weights.hub import find_weights

        if isinstance(description, Detector) or anchors_of(description) is not None:
            raise InputError(
                f"{description.name}: finds boxes, and these images have none; wanted a network that names classes"
            )
        weights = first.weights
        network = create_model(
            description, weights=weights, variant=first.variant, new_head=first.new_head, seed=first.seed
        )
        if weights is None or description.input[0] == RGB:
            return network, ""
        stored = find_weights(weights, description.name) if isinstance(weights, str) else weights
        return network, adaptation(stored, description)

    def returned(self, network: Any, library: str) -> "tuple[dict[str, Tensor], tuple[str, ...]]":
        """`nn/weights/convert.py`."""
        from deepres.nn.weights.convert import to_foreign

        return to_foreign(network.state_dict(), network.description, library), ()

    def taken_apart(self, network: Any) -> "ResidualNetwork":
        """All of it."""
        found: ResidualNetwork = network
        return found

    def protocol(self, text: str, preparation: "Preparation") -> "AskedHow":
        """`protocols.py`."""
        from deepres.tasks.protocols import protocol_named

        return protocol_named(text, preparation)

    def outputs(self, network: "nn.Module", batch: "Batch") -> "Tensor":
        """(N, K)."""
        found: Tensor = network(batch.images)
        return found

    def asked(self, pixels: "Tensor", preparation: "Preparation", statistics: "Statistics") -> "Batch":
        """A picture (C, H, W), uint8, as a batch on the device of the statistics."""
        import torch

        from deepres.data.images import Batch
        from deepres.data.loading.loader import prepare_one

        x = prepare_one(pixels.to(statistics.mean.device), preparation, statistics)[None]
        return Batch(x, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))

    def one(self, outputs: Any, row: int) -> "Tensor":
        """Those of one image of a batch, (K,)."""
        found: Tensor = outputs[row]
        return found

    def made_fast(self, network: Any, device: Any, precision: "InferencePrecision") -> None:
        return None

    def left_out(self, answers: "Sequence[Any]") -> str:
        return ""

    def saved(self, answers: Any) -> "dict[str, Tensor]":
        """The columns as they are."""
        from torch import Tensor

        found = {field.name: getattr(answers, field.name) for field in fields(answers)}
        return {name: column for name, column in found.items() if isinstance(column, Tensor)}

    def rejecting(self, rule: str) -> NoReturn:
        raise AssertionError("`require` refuses --reject")

    def beside_unknown(self, evaluation: Any, answers: Any, source: str) -> NoReturn:
        raise AssertionError("`require` refuses --unknown")
