"""The published networks of the other families: dense, plain, gated, fractal, two streams."""

from typing import Any

from deepres.arch.catalogue.entry import Entry
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.fractal import FractalConfig
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.rir import RirConfig
from deepres.arch.families.vgg import VggConfig

DENSE = "Densely Connected Networks, Huang et al. 2017, arXiv 1608.06993"
VGG = "Very Deep Convolutional Networks, Simonyan & Zisserman 2015, arXiv 1409.1556"
ENSEMBLES = "Residual Networks Behave Like Ensembles, Veit et al. 2016, arXiv 1605.06431"
HIGHWAY = "Highway Networks, Srivastava et al. 2015, arXiv 1505.00387 and 1507.06228"
FRACTAL = "FractalNet, Larsson et al. 2017, arXiv 1605.07648"
RIR = "Resnet in Resnet, Targ et al. 2016, arXiv 1603.08029"

_BLOCKS = {
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}
_SMALL: dict[str, Any] = {"input": (3, 32, 32), "num_classes": 10}


def _dense() -> list[Entry]:
    entries = []
    for depth, depths in _BLOCKS.items():
        growth = 48 if depth == 161 else 32
        config = DenseNetConfig(name=f"densenet{depth}", depths=depths, growth=growth, stem_width=2 * growth)
        table = "the authors' repository" if depth == 161 else "Tables 1, 3"
        note = "265 layers by the paper's own way of counting" if depth == 264 else ""
        entries.append(Entry(config, DENSE, table, "", note))
    dropout = "without augmentation the paper has dropout=0.2"
    for depth, growth, printed in ((40, 12, "1.0M"), (100, 12, "7.0M"), (100, 24, "27.2M")):
        plain = {**_SMALL, "stem": "cifar", "stem_width": 16, "bottleneck": 0, "compression": 1}
        config = DenseNetConfig.model_validate(
            {"name": f"densenet{depth}_k{growth}_cifar", "depths": ((depth - 4) // 3,) * 3, "growth": growth, **plain}
        )
        entries.append(Entry(config, DENSE, "Table 2", f"{printed} parameters", dropout))
    for depth, growth, printed in ((100, 12, "0.8M"), (250, 24, "15.3M"), (190, 40, "25.6M")):
        stem = {**_SMALL, "stem": "cifar", "stem_width": 2 * growth}
        config = DenseNetConfig.model_validate(
            {"name": f"densenet_bc{depth}_k{growth}_cifar", "depths": ((depth - 4) // 6,) * 3, "growth": growth, **stem}
        )
        entries.append(Entry(config, DENSE, "Table 2", f"{printed} parameters", dropout))
    return entries


def _plain() -> list[Entry]:
    equal: dict[str, Any] = {"depths": (2, 3, 3, 3, 3), "widths": (128,) * 5, "hidden": (), "bias": False, **_SMALL}
    note = "our reading of 'VGG-type': 14 convolutions of 128 channels with norms, five max pools, one classifier"
    field = "with norms and biases, as torchvision has it"
    return [
        Entry(VggConfig(name="vgg15_cifar", **equal), ENSEMBLES, "section 4.1", "", note),
        Entry(VggConfig(name="vgg16_bn", depths=(2, 2, 3, 3, 3)), VGG, "Table 1, D", "", field),
        Entry(VggConfig(name="vgg19_bn", depths=(2, 2, 4, 4, 4)), VGG, "Table 1, E", "", field),
    ]


def _gated() -> list[Entry]:
    ours = "widths, pools and gate bias are our choice"
    entries = []
    for depth, depths in ((19, (5, 5, 5)), (32, (10, 9, 9))):
        config = HighwayConfig(name=f"highway{depth}_cifar", depths=depths, widths=(32, 64, 128))
        note = f"{sum(depths)} highway layers, 3 plain ones and the classifier; {ours}"
        entries.append(Entry(config, HIGHWAY, "CIFAR", "", note))
    linear: dict[str, Any] = {"layer": "linear", "depths": (49,), "widths": (50,)}
    note = "49 highway layers after a plain one; a width of 50 is our choice"
    entries += [
        Entry(
            HighwayConfig(name="highway_fc50", input=(1, 28, 28), gate_bias=-2, **linear),
            HIGHWAY,
            "MNIST, section 4",
            "",
            note,
        ),
        Entry(
            HighwayConfig(name="highway_fc50_cifar", num_classes=100, gate_bias=-4, **linear),
            HIGHWAY,
            "CIFAR-100, section 4",
            "",
            note,
        ),
    ]
    return entries


def _streams() -> list[Entry]:
    note = "the layout of the authors' code; Table 2 of the DenseNet paper prints 38.6M parameters"
    regular: dict[str, Any] = {"dropout": (0, 0.1, 0.2, 0.3, 0.4), "local_drop": 0.15, "global_share": 0.5}
    rir = "units a stage and widths are our reading of '18-layer + wide'"
    return [
        Entry(FractalConfig(name="fractalnet20_cifar"), FRACTAL, "CIFAR", "", note),
        Entry(
            FractalConfig(name="fractalnet20_drop_cifar", **regular),
            FRACTAL,
            "CIFAR, dropout and drop-path",
            "",
            f"{note}; half of all batches keep one column: not verified",
        ),
        Entry(
            RirConfig(name="rir18_wide_cifar", depths=(2, 3, 3), widths=(96, 192, 384)),
            RIR,
            "18-layer + wide",
            "",
            rir,
        ),
    ]


ENTRIES: tuple[Entry, ...] = (*_dense(), *_plain(), *_gated(), *_streams())
