"""The bench's networks as people write them: plain torch and torchvision, no import of ours.

`network("resnet50", 10)` is torchvision's; `resnet50_caffe` is what the authors of the 2015 paper released: stride in
the first 1x1 layer, a bias in the first convolution, a pool whose size is rounded up; `resnet44_cifar` has option A.
"""

import re

import torch.nn.functional as F
from torch import Tensor, nn

CIFAR = re.compile(r"resnet(\d+)_cifar")


class PlainUnit(nn.Module):
    """y = relu(x + branch(x)) with option A, as people write it by hand."""

    def __init__(self, given: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride, self.new = stride, channels - given

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels, H / stride, W / stride)."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.new:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return F.relu(x + y)


def plain_resnet(depth: int = 20, classes: int = 10) -> nn.Sequential:
    """A CIFAR ResNet of 6n + 2 layers in plain torch."""
    units, given = (depth - 2) // 6, 16
    parts: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    for channels in (16, 32, 64):
        for number in range(units):
            parts.append(PlainUnit(given, channels, 2 if number == 0 and channels > 16 else 1))
            given = channels
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def network(name: str, classes: int) -> nn.Module:
    """The network of that name in the catalogue, of so many classes, begun as the library begins it.

    Raises:
        ValueError: none that is written here.
    """
    small = CIFAR.fullmatch(name)
    if small:
        return plain_resnet(int(small[1]), classes)
    from torchvision import models

    kind = name.removesuffix("_caffe")
    if kind not in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        raise ValueError(f"{name}: no peer has it; wanted resnet18 … resnet152, resnet50_caffe, resnet20_cifar …")
    net: nn.Module = getattr(models, kind)(num_classes=classes)
    if name != kind:
        net.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=kind == "resnet50")
        net.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        for stage in (net.layer2, net.layer3, net.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return net


def with_new_head(net: nn.Module, classes: int) -> nn.Module:
    """The last layer replaced by a new one for so many classes, as torch begins a linear layer."""
    if isinstance(net, nn.Sequential):
        net[-1] = nn.Linear(net[-1].in_features, classes)
    else:
        net.fc = nn.Linear(net.fc.in_features, classes)
    return net
