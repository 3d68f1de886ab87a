"""The factor of a loss whose gradients are float16's, and the steps that are left out because these overflowed.

Micikevicius et al. 2018, section 3.2: small gradients would be zeros in float16, so the loss is multiplied by a power
of two before the backward pass, and the gradients are divided by it; where one is not finite, the step is left out.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from deepres.base.errors import RunError, shared
from deepres.base.records import Record


class LossScale(Record):
    """`scale` halves after a step that overflows and doubles after `CLEAN` that do not; as torch's GradScaler.

    `clean` counts the steps since it changed, `left_out` those that overflowed in the whole run.
    """

    CLEAN: ClassVar[int] = 2000

    scale: float = 2.0**16
    clean: int = 0
    left_out: int = 0

    def after(self, sound: bool) -> "LossScale":
        """What the next step is scaled by.

        Raises:
            RunError: it is below 1, and gradients overflow all the same.
        """
        if not sound:
            if self.scale < 1:
                raise shared(
                    RunError(
                        "train.precision=float16: the gradients overflow float16 whatever the loss is scaled by; "
                        "train anew in float32 or bfloat16, or at a lower rate"
                    )
                )
            return LossScale(scale=self.scale / 2, left_out=self.left_out + 1)
        if self.clean + 1 == self.CLEAN:
            return LossScale(scale=self.scale * 2, left_out=self.left_out)
        return LossScale(scale=self.scale, clean=self.clean + 1, left_out=self.left_out)


@torch.no_grad()
def unscaled(grads: Sequence[Tensor], scale: float) -> bool:
    """Divide gradients by the scale, in place; whether all are finite."""
    torch._foreach_mul_(list(grads), 1 / scale)
    lengths = torch.stack(torch._foreach_norm(list(grads), torch.inf))
    return bool(lengths.isfinite().all())
