"""The branch of a detector that draws masks: regions pooled anew, a map for each class (He et al. 2017, section 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepres.arch.detector import Detector
from deepres.arch.regions import MaskHead
from deepres.nn.build import modules
from deepres.tasks.detection.proposals import exact
from deepres.tasks.detection.regions import pooled


class MaskBranch(nn.Module):
    """Regions of the levels' maps, pooled to one size; what is drawn of the features that become of them."""

    def __init__(self, description: Detector, config: MaskHead) -> None:
        super().__init__()
        self.config, self.strides = config, description.strides
        places = {place.name.removeprefix("masks."): place for place in description.places}
        for name, node in description.mask_parts.items():
            self.add_module(name, modules(node, places[name].given[0]))

    def pooled(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """The regions of all pictures: (R, C, pool, pool)."""
        return pooled(levels, boxes, self.strides, self.config)

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        """(R, C, h, w) and the class of each region (R,) -> (R, S, S) before the sigmoid, float32 at least."""
        drawn = self.get_submodule("classes")(self.get_submodule("head")(features))
        own: Tensor = drawn[torch.arange(len(classes), device=classes.device), classes + 1]
        return exact(own)


def mask_loss(drawn: Tensor, wanted: Tensor, picture: Tensor, pictures: int) -> Tensor:
    """Of each picture the mean of the binary cross-entropy over cells and positive regions, 0 without one: (pictures,).

    `drawn` and `wanted` are (P, S, S), `picture` (P,) says of which each is. Only the map of an object's own class is
    learnt (He et al. 2017, section 3).
    """
    each = F.binary_cross_entropy_with_logits(drawn, wanted.to(drawn.dtype), reduction="none").mean((1, 2))
    sums, number = each.new_zeros(pictures), each.new_zeros(pictures)
    number = number.index_add(0, picture, torch.ones_like(each))
    return sums.index_add(0, picture, each) / number.clamp(min=1)
