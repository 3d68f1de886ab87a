"""The ablations of "Identity Mappings" (He et al. 2016) as edits of a network's style: Table 1, Table 2."""

from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.units import Mixing, Order

SHORTCUTS: dict[str, Mixing] = {
    "original": Mixing(),
    "scaling 0": Mixing(shortcut_scale=0),
    "scaling 0.5, 1": Mixing(shortcut_scale=0.5),
    "scaling 0.5, 0.5": Mixing(shortcut_scale=0.5, branch_scale=0.5),
    "exclusive gating, bias 0": Mixing(gate="exclusive", gate_bias=0),
    "exclusive gating, bias -6": Mixing(gate="exclusive", gate_bias=-6),
    "exclusive gating, bias -7": Mixing(gate="exclusive", gate_bias=-7),
    "shortcut-only gating, bias 0": Mixing(gate="shortcut", gate_bias=0),
    "shortcut-only gating, bias -6": Mixing(gate="shortcut", gate_bias=-6),
    "dropout 0.5": Mixing(shortcut_dropout=0.5),
}
"""Table 1 by row, but for the 1x1 convolution, which is `shortcut="C"`."""

ORDERS: dict[str, Order] = {
    "original": "original",
    "BN after addition": "bn_after_add",
    "ReLU before addition": "relu_before_add",
    "ReLU-only pre-activation": "relu_pre",
    "full pre-activation": "pre",
}
"""Table 2 by row."""


def with_mixing(config: ResNetConfig, mixing: Mixing) -> ResNetConfig:
    """The same network with another way of bringing shortcut and branch together."""
    return config.replace(style=config.style.replace(mixing=mixing))


def with_order(config: ResNetConfig, order: Order) -> ResNetConfig:
    """The same network with another order of activation; the stem's own activation stays before the first unit."""
    style = config.style.replace(order=order)
    return config.replace(style=style, stem_norm=config.stem_norm if style.pre_activated else True)
