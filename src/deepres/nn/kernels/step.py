"""A training step with these kernels in the place of what torch does: which calls they carry out, whether they can."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from deepres.nn.kernels import batch_norm, strided, winograd


class ByKernels(TorchFunctionMode):
    """Within it every convolution that `winograd.fits` or `strided.fits` is carried out by these kernels.

    `norms`: and every batch norm by its own statistics that `batch_norm.fits`, where the compiler joins it to the rest.
    """

    def __init__(self, convolutions: bool = True, norms: bool = False) -> None:
        super().__init__()
        self.convolutions, self.norms = convolutions, norms

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.convolutions and function is torch.conv2d and len(args) > 1:
            for kind in (winograd, strided):
                if kind.fits(*args, **kwargs):
                    return kind.conv2d(*args, **kwargs)
        if self.norms and function is functional.batch_norm and _by_own_statistics(*args, **kwargs):
            return batch_norm.batch_norm(*args, **kwargs)
        return function(*args, **kwargs)


def _by_own_statistics(maps: Tensor, *rest: Any, training: bool = False, **_: Any) -> bool:
    return batch_norm.fits(maps, rest[4] if len(rest) > 4 else training)


def by_kernels(
    forward: Callable[[Tensor], Tensor], *, convolutions: bool = True, norms: bool = False
) -> Callable[[Tensor], Tensor]:
    """The same pass, carried out by the kernels where they fit."""

    def passed(images: Tensor) -> Tensor:
        with ByKernels(convolutions, norms):
            return forward(images)

    return passed


def lacks(network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why no convolution of the network can be by these kernels here, None where one can; builds them."""
    if device.type != "cpu" or dtype != torch.float32:
        return "only in float32 on a CPU"
    if not any(_may_fit(layer) for layer in network.modules() if isinstance(layer, nn.Conv2d)):
        return "no layer that fits"
    return winograd.KERNELS.lacking() or strided.KERNELS.lacking()


def _may_fit(layer: nn.Conv2d) -> bool:
    side = layer.kernel_size[0]
    if layer.stride[0] == 1:
        return side == 3 and not layer.in_channels % winograd.PANEL
    return side >= 3 and side % 2 == 1 and not layer.out_channels % strided.PANEL


def lacks_norms(network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why no batch norm of the network can be by these kernels here, None where one can; builds them."""
    if device.type != "cpu" or dtype != torch.float32:
        return "only in float32 on a CPU"
    if not any(
        isinstance(layer, nn.BatchNorm2d) and not layer.num_features % batch_norm.LANES for layer in network.modules()
    ):
        return "no layer that fits"
    return batch_norm.KERNELS.lacking()


def version(*, convolutions: bool = True, norms: bool = False) -> str:
    """Digests of the kernels that are used."""
    used = [winograd.KERNELS, strided.KERNELS] * convolutions + [batch_norm.KERNELS] * norms
    return ", ".join(kernels.version() for kernels in used)
