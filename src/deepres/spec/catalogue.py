"""Name -> every published configuration, with its paper, its table and the figures printed there."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from deepres.base.errors import unknown
from deepres.spec.network import Network, with_classes, with_input
from deepres.spec.resnet import ResNetConfig

Config = ResNetConfig


@dataclass(frozen=True)
class Entry:
    """A published network: `published` is the figure that its paper prints, `note` what a reader must know."""

    config: Config
    paper: str
    table: str
    published: str = ""
    note: str = ""


RESNET_2015 = "He et al. 2015, arXiv 1512.03385"


def _imagenet(name: str, depth: int, shortcut: str, stride_on: str = "3x3") -> ResNetConfig:
    unit, depths = _DEPTHS[depth]
    return ResNetConfig.model_validate(
        {"name": name, "unit": unit, "depths": depths, "shortcut": shortcut, "style": {"stride_on": stride_on}}
    )


def _cifar(name: str, depth: int, shortcut: str) -> ResNetConfig:
    """6n + 2 layers: a 3x3 of 16, then n units at each of 16, 32 and 64 channels, and the classifier."""
    n = (depth - 2) // 6
    return ResNetConfig.model_validate(
        {
            "name": name,
            "input": (3, 32, 32),
            "num_classes": 10,
            "stem": "cifar",
            "stem_width": 16,
            "depths": (n, n, n),
            "widths": (16, 32, 64),
            "shortcut": shortcut,
        }
    )


_DEPTHS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}

_V15 = "stride in the 3x3 (v1.5), as torchvision and timm have it; the paper's own is resnet{}_v1"


_FLOPS = {18: "1.8e9 FLOPs", 34: "3.6e9 FLOPs", 50: "3.8e9 FLOPs", 101: "7.6e9 FLOPs", 152: "11.3e9 FLOPs"}
_MILLIONS = {20: "0.27M", 32: "0.46M", 44: "0.66M", 56: "0.85M", 110: "1.7M", 1202: "19.4M"}


def _published(config: ResNetConfig, table: str, printed: str = "", note: str = "") -> tuple[str, Entry]:
    return config.name, Entry(config, RESNET_2015, table, printed, note)


CATALOGUE: dict[str, Entry] = dict(
    [
        _published(_imagenet("plain18", 18, "none"), "Tables 1, 2", _FLOPS[18]),
        _published(_imagenet("plain34", 34, "none"), "Tables 1, 2, 3, Fig. 3", _FLOPS[34]),
        _published(_imagenet("resnet18", 18, "B"), "Table 1", _FLOPS[18], "option B, as torchvision and timm have it"),
        _published(
            _imagenet("resnet34", 34, "B"), "Tables 1, 3", _FLOPS[34], "option B, as torchvision and timm have it"
        ),
        _published(_imagenet("resnet34_a", 34, "A"), "Tables 2, 3", _FLOPS[34]),
        _published(_imagenet("resnet34_b", 34, "B"), "Tables 3, 4", _FLOPS[34]),
        _published(_imagenet("resnet34_c", 34, "C"), "Tables 3, 4", _FLOPS[34]),
        *(
            _published(_imagenet(f"resnet{depth}", depth, "B"), "Table 1", note=_V15.format(depth))
            for depth in (50, 101, 152)
        ),
        *(
            _published(_imagenet(f"resnet{depth}_v1", depth, "B", "1x1"), "Tables 1, 3, 4", _FLOPS[depth])
            for depth in (50, 101, 152)
        ),
        *(
            _published(_cifar(f"plain{depth}_cifar", depth, "none"), "section 4.2, Fig. 6")
            for depth in (20, 32, 44, 56, 110)
        ),
        *(
            _published(_cifar(f"resnet{depth}_cifar", depth, "A"), "section 4.2, Table 6", f"{printed} parameters")
            for depth, printed in _MILLIONS.items()
        ),
    ]
)


def entry(name: str) -> Entry:
    """The catalogue's entry.

    Raises:
        InputError: no such name; the nearest are offered.
    """
    if name not in CATALOGUE:
        raise unknown("model", name, CATALOGUE)
    return CATALOGUE[name]


def names(pattern: str = "*") -> list[str]:
    """The names that match a shell pattern (`resnet*`), in the catalogue's order.

    Raises:
        InputError: none matches; the nearest names are offered.
    """
    found = [name for name in CATALOGUE if fnmatchcase(name, pattern)]
    if not found:
        raise unknown("model", pattern, CATALOGUE)
    return found


def network(name: str, num_classes: int | None = None, input: tuple[int, int, int] | None = None) -> Network:
    """The network of that name, if wanted for another number of classes or another input (C, H, W)."""
    found = entry(name).config.network()
    found = found if num_classes is None else with_classes(found, num_classes)
    return found if input is None else with_input(found, input)
