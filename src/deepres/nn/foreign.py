"""Weights of others under our names: torchvision's and timm's ResNets, and a well-known repository's for CIFAR."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.spec.algebra import at
from deepres.spec.atoms import PadChannels
from deepres.spec.network import Network, feature_shapes

_RENAMED = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^(?:fc|linear)\.", "head.fc."),
    (r"^layer(\d+)\.(\d+)\.conv(\d+)\.", r"stage\1.unit{\2}.branch.conv\3."),
    (r"^layer(\d+)\.(\d+)\.bn(\d+)\.", r"stage\1.unit{\2}.branch.norm\3."),
    (r"^layer(\d+)\.(\d+)\.downsample\.0\.", r"stage\1.unit{\2}.shortcut.conv."),
    (r"^layer(\d+)\.(\d+)\.downsample\.1\.", r"stage\1.unit{\2}.shortcut.norm."),
)


def to_ours(tensors: Mapping[str, Tensor], description: Network) -> dict[str, Tensor]:
    """The tensors under the description's names; ours are passed on, the number of batches seen is 0 where not given.

    Known: torchvision's and timm's ResNets (`layer1.0.conv1`, `fc`), and pytorch_resnet_cifar10 (`linear`), whose
    option-A shortcut puts the zeros on both sides of the real channels: its channels are permuted, the function stays.
    Names do not tell a stride in the 1x1 from one in the 3x3: give the description that the weights were trained in.

    Raises:
        InputError: a name that none of these has.
    """
    if "stem.conv.weight" in tensors:
        return dict(tensors)
    ours = {_name(name): tensor for name, tensor in tensors.items()}
    for name in [name for name in ours if name.endswith(".running_mean")]:
        ours.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.zeros((), dtype=torch.int64))
    return _zeros_behind(ours, description) if "linear.weight" in tensors else ours


def _name(theirs: str) -> str:
    for pattern, ours in _RENAMED:
        found, count = re.subn(pattern, ours, theirs)
        if count:
            return re.sub(r"\{(\d+)\}", lambda number: str(int(number[1]) + 1), found)
    raise InputError(f"{theirs}: no tensor of a ResNet as torchvision, timm or pytorch_resnet_cifar10 name them")


def _zeros_behind(tensors: dict[str, Tensor], description: Network) -> dict[str, Tensor]:
    """Channels of each stage's maps in our order: the real ones first, then those that were zero."""
    given, order = None, torch.arange(0)
    for stage, shape in feature_shapes(description).items():
        if given is None:
            given, order = shape[0], torch.arange(shape[0])
            continue
        before, new = order, shape[0] - given
        if isinstance(at(description.tree, f"{stage}.unit1.shortcut"), PadChannels):
            left = torch.arange(new // 2)
            right = torch.arange(shape[0] - (new - new // 2), shape[0])
            order = torch.cat([before + new // 2, left, right])
        for name in [name for name in tensors if name.startswith(f"{stage}.")]:
            _, unit, _, layer, _ = name.split(".")
            entering = before if unit == "unit1" else order
            if layer == "conv1":
                tensors[name] = tensors[name][:, entering]
            elif layer in ("conv2", "norm2") and tensors[name].dim():
                tensors[name] = tensors[name][order]
        given = shape[0]
    tensors["head.fc.weight"] = tensors["head.fc.weight"][:, order]
    return tensors
