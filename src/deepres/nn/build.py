"""A reading: description -> torch modules with the description's dotted names."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from deepres.arch import algebra, atoms, attention_atoms, shapes
from deepres.arch.algebra import Site, fold
from deepres.arch.architecture import Architecture
from deepres.nn import layers
from deepres.nn.feature_info import FeatureInfo
from deepres.nn.weights.formats import Preprocessing, network_cfg


class ResidualNetwork(nn.Module):
    """logits = head(body(x)); the children are the description's parts: stem, stage1, …, head.

    Any height and width that fits works, not only the description's own.
    """

    def __init__(self, description: Architecture, body: "OrderedDict[str, nn.Module]", head: nn.Module) -> None:
        super().__init__()
        self.description = description
        self.body_names = tuple(body)
        for name, part in body.items():
            self.add_module(name, part)
        self.head = head
        self.preprocessing: Preprocessing | None = None  # what its weights want of images, where they say it
        kinds = {name: type(part) for name, part in self.named_modules()}
        self._joins = tuple(name for name, kind in kinds.items() if kind is layers.ColumnMean)
        self._counted = tuple(name for name, kind in kinds.items() if kind is layers.CountDropPath)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, classes), or pooled features (N, F) where there are no classes."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the last map (N, F, h, w)."""
        self.draw(x)
        for name in self.body_names:
            x = self.get_submodule(name)(x)
        self.forget()
        return x

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The last map (N, F, h, w) -> logits (N, classes); with `pre_logits` the pooled features (N, F)."""
        if not pre_logits:
            logits: Tensor = self.head(features)
            return logits
        for name, part in self.head.named_children():
            if name != "fc":
                features = part(features)
        return features

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) -> the map that leaves each part of the body, by name, from the stem on."""
        self.draw(x)
        maps = {}
        for name in self.body_names:
            x = maps[name] = self.get_submodule(name)(x)
        self.forget()
        return maps

    @property
    def feature_info(self) -> FeatureInfo:
        """Where maps can be taken, from the stem on: channels and how many times smaller than the input."""
        return FeatureInfo.of(self.description)

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """What the weights want of images, in timm's words; without weights only what the network itself says.

        `timm.data.resolve_model_data_config` reads it.
        """
        return network_cfg(self.description, self.preprocessing)

    @property
    def default_cfg(self) -> dict[str, Any]:
        """`pretrained_cfg`, as timm calls it too."""
        return self.pretrained_cfg

    def get_classifier(self) -> nn.Module:
        """The linear layer that gives the logits; the identity where there is none."""
        return getattr(self.head, "fc", None) or nn.Identity()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new head for so many classes, of noise; 0 leaves the pooled features, with `global_pool` "" the map.

        Raises:
            InputError: no number of classes, or another pool.
        """
        from deepres.nn.like_timm import with_new_head

        with_new_head(self, num_classes, global_pool)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Training steps compute the units a second time in the backward pass, for less memory; bitwise the same.

        `deepres train --memory save` chooses which.
        """
        from deepres.nn.like_timm import checkpointed

        checkpointed(self, enable)

    def save_pretrained(
        self, folder: str | PathLike[str], classes: Sequence[str] = (), license: str | None = None
    ) -> Path:
        """Write `model.safetensors`, `config.json` and a model card, which `deepres.load`, timm and hubs read.

        Raises:
            InputError: the folder cannot be written; not as many names as classes.
        """
        from deepres.nn.sharing import saved

        return saved(self, Path(folder), classes, license)

    def push_to_hub(
        self,
        repository: str,
        classes: Sequence[str] = (),
        license: str | None = None,
        private: bool | None = None,
        token: str | None = None,
    ) -> str:
        """Send what `save_pretrained` writes to a hub, and give the address; `create_model("hf-hub:…")` fetches it.

        Raises:
            InputError: what `save_pretrained` refuses; no huggingface_hub, no login, no such right.
        """
        from deepres.nn.sharing import pushed

        return pushed(self, repository, classes, license, private, token)

    def draw(self, x: Tensor) -> None:
        """What is drawn once for a batch and the whole network: columns and branches that the pass of `x` leaves out.

        It holds until `forget`.
        """
        layers.draw_columns(self.joins, x)
        layers.draw_branches(self.counted, x)

    def forget(self) -> None:
        """The pass that was drawn for is over."""
        layers.forget_draws(self.joins, self.counted)

    @property
    def joins(self) -> tuple[layers.ColumnMean, ...]:
        """Where columns meet; looked up by name, for a replica's parts are its own."""
        return tuple(cast("layers.ColumnMean", self.get_submodule(name)) for name in self._joins)

    @property
    def counted(self) -> tuple[layers.CountDropPath, ...]:
        """The branches of which each pass has a fixed number."""
        return tuple(cast("layers.CountDropPath", self.get_submodule(name)) for name in self._counted)

    @property
    def head_names(self) -> tuple[str, ...]:
        """The head alone."""
        return ("head",)

    @property
    def num_features(self) -> int:
        """Features that enter the classifier: those of `forward_head(…, pre_logits=True)`."""
        return self.description.num_features

    @property
    def num_classes(self) -> int:
        """Number of logits; 0 where there is no classifier."""
        return self.description.num_classes


def modules(node: algebra.Node, given: shapes.Shape) -> nn.Module:
    """One part that `given` enters, on the `meta` device: shapes without values, in no time."""
    with torch.device("meta"):
        return fold(node, given, _Modules())


def build(description: Architecture) -> ResidualNetwork:
    """The modules on the `meta` device; `init.initialise` gives the values."""
    whole = modules(description.tree, description.input)
    assert isinstance(whole, nn.Sequential)
    *body, head = whole.named_children()
    return ResidualNetwork(description, OrderedDict(body), head[1])


class _Modules:
    def atom(self, site: Site, atom: atoms.Atom) -> nn.Module:
        given = site.given[0]
        match atom:
            case atoms.Conv():
                kind = layers.SameConv2d if atom.padding == "same" else nn.Conv2d
                return kind(
                    given,
                    atom.channels,
                    atom.kernel,
                    stride=atom.stride,
                    padding=0 if atom.padding == "same" else atom.padding,
                    dilation=atom.dilation,
                    groups=atom.groups,
                    bias=atom.bias,
                )
            case atoms.TransposedConv():
                return nn.ConvTranspose2d(given, atom.channels, atom.kernel, atom.stride, bias=atom.bias)
            case attention_atoms.ChannelConv():
                return layers.ChannelConv(atom.kernel)
            case attention_atoms.GroupSum():
                return layers.GroupSum(atom.parts)
            case attention_atoms.GroupSoftmax():
                return layers.GroupSoftmax(atom.parts, atom.groups)
            case atoms.Norm():
                return _norm(atom, given)
            case atoms.Activation():
                return _ACTIVATIONS[atom.function]()
            case atoms.MaxPool():
                return nn.MaxPool2d(atom.kernel, atom.stride, atom.padding, ceil_mode=atom.ceil)
            case atoms.AvgPool():
                return nn.AvgPool2d(atom.kernel, atom.stride, atom.padding, atom.ceil, count_include_pad=atom.padded)
            case atoms.Blur():
                return layers.Blur(given, atom.kernel, atom.stride)
            case atoms.GlobalAveragePool():
                pool = nn.AdaptiveAvgPool2d(1)
                return pool if atom.keep_map else nn.Sequential(pool, nn.Flatten())
            case atoms.AdaptiveAvgPool():
                return nn.AdaptiveAvgPool2d(atom.size)
            case atoms.ColumnMean():
                return layers.ColumnMean(atom.columns, atom.local_drop, atom.global_share)
            case atoms.PadChannels():
                return layers.PadChannels(atom.channels - given, atom.stride, around=atom.zeros == "around")
            case atoms.MaskChannels():
                return layers.MaskChannels(atom.kept)
            case atoms.Scale():
                return layers.Scale(atom.factor)
            case atoms.Dropout():
                return nn.Dropout(atom.rate)
            case atoms.DropPath():
                return _DROP_PATHS[atom.per](atom.rate)
            case atoms.Flatten():
                return nn.Flatten()
            case atoms.Linear():
                return nn.Linear(given, atom.features, bias=atom.bias)
            case atoms.Identity():
                return nn.Identity()

    def sequence(self, site: Site, parts: dict[str, nn.Module]) -> nn.Module:
        return nn.Sequential(OrderedDict(parts))

    def parallel(
        self, site: Site, node: algebra.Parallel, pre: nn.Module, parts: dict[str, nn.Module], act: nn.Module
    ) -> nn.Module:
        return layers.Parallel(pre, OrderedDict(parts), node.join, act, node.feed)


def _norm(atom: atoms.Norm, channels: int) -> nn.Module:
    if atom.method == "group":
        return nn.GroupNorm(atom.groups, channels, eps=atom.eps, affine=atom.affine)
    if atom.method == "frozen":
        return layers.FrozenBatchNorm2d(channels, eps=atom.eps)
    return nn.BatchNorm2d(channels, eps=atom.eps, momentum=atom.momentum, affine=atom.affine)


_DROP_PATHS: dict[str, Callable[[float], nn.Module]] = {
    "batch": layers.BatchDropPath,
    "sample": layers.SampleDropPath,
    "count": layers.CountDropPath,
}
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
}


def names(description: Architecture) -> tuple[str, ...]:
    """The dotted name of every node of the description, as the modules have them."""
    return tuple(name for name in _names(description.tree, "") if name)


def _names(node: algebra.Node, name: str) -> list[str]:
    below = [found for part, child in algebra.children(node) for found in _names(child, algebra.dotted(name, part))]
    return [name, *below]
