"""Tasks whose network answers each picture with a row of numbers: how it is made, and how it is asked."""

from typing import TYPE_CHECKING, Any

from deepres.base.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepres.arch.detector import Description
    from deepres.data.images import Batch
    from deepres.nn.build import ResidualNetwork
    from deepres.tasks.task import FirstValues


class OneRow:
    """outputs (N, K) = network(images (N, C, H, W))."""

    def network(
        self,
        description: "Description | str",
        names: tuple[str, ...],
        first: "FirstValues",
    ) -> "ResidualNetwork":
        """The network of that description, or of that name as far as the weights tell; errors as `create_model`."""
        from deepres.arch.detector import Detector
        from deepres.nn.create import create_model

        if isinstance(description, Detector):
            raise InputError(f"{description.name}: finds boxes, and these images have none; take another --model")
        return create_model(
            description, weights=first.weights, variant=first.variant, new_head=first.new_head, seed=first.seed
        )

    def outputs(self, network: "nn.Module", batch: "Batch") -> "Tensor":
        """(N, K)."""
        found: Tensor = network(batch.images)
        return found

    def one(self, outputs: Any, row: int) -> "Tensor":
        """Those of one image of a batch, (K,)."""
        found: Tensor = outputs[row]
        return found
