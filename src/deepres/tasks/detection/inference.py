"""A detector made ready to answer: norms folded, channels side by side, bfloat16 where the hardware multiplies it.

What decides stays in float32: the scores and offsets of regions, and all that is done with boxes.
"""

import torch
from torch import Tensor, nn

from deepres.nn.hardware import multiplies_bfloat16, require_float32
from deepres.nn.inference import InferencePrecision, folded
from deepres.tasks.detection.detector import DetectorNetwork, as_backbone
from deepres.tasks.detection.regions import Found


class FastDetector(nn.Module):
    """Pictures (N, C, H, W) float32, padded, and their own sizes (N, 2) -> what is found on each, without gradients."""

    def __init__(self, network: DetectorNetwork, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.device, self.dtype = network, device, dtype
        self.description, self.num_classes = network.description, network.num_classes
        self.head_names = network.head_names

    @torch.inference_mode()
    def forward(self, images: Tensor, sizes: Tensor | None = None) -> list[Found]:
        return self.network(self.ready(images), sizes)  # type: ignore[no-any-return]

    def ready(self, images: Tensor) -> Tensor:
        """The pictures as the network in it takes them."""
        return images.to(self.device, self.dtype, memory_format=torch.channels_last)

    @property
    def exact(self) -> bool:
        """Whether float32 would be more exact."""
        return self.dtype is not torch.float32

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')}, channels last, norms folded, on {self.device}"


@torch.no_grad()
def for_inference(
    network: DetectorNetwork, device: torch.device | str, precision: InferencePrecision = "auto"
) -> FastDetector:
    """The detector as fast as the device answers with it; `network` itself stays as it is.

    "auto" is bfloat16 where the hardware multiplies it, else float32; corners and scores are float32 always.
    """
    device = torch.device(device)
    wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(precision)
    dtype = wanted or (torch.bfloat16 if multiplies_bfloat16(device) else torch.float32)
    if dtype is torch.float32:
        require_float32(device)
    body = folded(as_backbone(network))
    ready = DetectorNetwork(network.description.replace(body=body.description.body))
    heads = {name: part for name, part in network.state_dict().items() if name.startswith(network.head_names)}
    kept = {name: tensor.detach().clone() for name, tensor in {**body.state_dict(), **heads}.items()}
    ready.load_state_dict(kept, assign=True)
    _take_regions_by_rows(ready)
    ready = ready.to(device, dtype).to(memory_format=torch.channels_last).eval()
    for name in ("classes", "boxes"):
        ready.regions.get_submodule(name).float()
    return FastDetector(ready, device, dtype)


class _Rows(nn.Module):
    """(R, C, h, w) -> (R, h w C): as they lie, which needs no copy."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def _take_regions_by_rows(network: DetectorNetwork) -> None:
    """The first linear layer reads regions as the pool lays them down: its columns are put in that order."""
    head = dict(network.regions.get_submodule("head").named_children())
    first, config = head.get("fc1"), network.description
    if "flatten" not in head or not isinstance(first, nn.Linear):
        return
    channels, pool = config.levels[0][0], config.regions.pool
    columns = first.weight.view(-1, channels, pool, pool).permute(0, 2, 3, 1).flatten(1)
    first.weight = nn.Parameter(columns.contiguous())
    network.regions.get_submodule("head").add_module("flatten", _Rows())
