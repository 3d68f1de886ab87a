"""What `create_model` and its networks do beside ours because timm's do it: words in, edits of the description out."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict

import torch

from deepres.arch.algebra import Sequence, children
from deepres.arch.architecture import Architecture, with_classes
from deepres.arch.atoms import GlobalAveragePool, Identity
from deepres.arch.catalogue.lookup import EDIT, entry
from deepres.arch.catalogue.tags import published
from deepres.arch.detector import Description
from deepres.arch.dilated import with_output_stride
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.checkpointing import make_plan
from deepres.base.arguments import flag, path_text, whole
from deepres.base.errors import InputError, unknown
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.features import FeatureNetwork
from deepres.nn.init import begin_at_shortcuts, initialise
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights

PLACES = ("local-dir:", "hf-hub:", "hf_hub:")
"""How the place of a network begins, which says of which network its weights are."""
_BATCH = 32
"""Images of a step for which is planned what is computed twice."""


class LikeTimm(TypedDict, total=False):
    """Keywords of `timm.create_model` that ours takes too, beside its own.

    pretrained       begin with the weights that are published under the name
    checkpoint_path  the same as `weights`: a file of them
    features_only    a `FeatureNetwork`: the maps of stem and stages as a list
    out_indices      which of them; None: all
    output_stride    maps are at least input / 8, 16 or 32 (`arch/dilated.py`)
    drop_path_rate   stochastic depth: the rate of the last unit, from 0 at the first on a line, drawn for each image
    drop_rate        dropout before the classifier
    global_pool      "avg", or "" with `num_classes=0`: the map as it is
    zero_init_last   each unit begins as its shortcut (`nn/init.py`); False by default, as in the papers
    """

    pretrained: bool
    checkpoint_path: str | Path
    features_only: bool
    out_indices: tuple[int, ...] | None
    output_stride: int
    drop_path_rate: float
    drop_rate: float
    global_pool: str
    zero_init_last: bool


def require_known(options: Mapping[str, Any]) -> None:
    """Refuse a keyword that there is not.

    Raises:
        InputError: there is; the nearest are offered.
    """
    for name in options:
        if name not in LikeTimm.__annotations__:
            ours = ("num_classes", "in_chans", "weights", "variant", "new_head", "ignore", "seed")
            raise unknown("create_model argument", name, (*LikeTimm.__annotations__, *ours))


def named(model: str, options: Mapping[str, Any]) -> str:
    """The catalogue's spelling of the network with what is asked of its description."""
    edits = []
    if (rate := _share(options, "drop_path_rate")) is not None:
        edits += [f"drop_path={rate}", "drop_path_per=sample"]
    if (rate := _share(options, "drop_rate")) is not None:
        edits.append(f"head_dropout={rate}")
    if edits and not isinstance(entry(model).config, ResNetConfig):
        raise InputError(f"drop_path_rate, drop_rate: {model} has no such field; leave it out")
    return EDIT.join([model, *edits])


def placed(model: str, weights: Any, options: LikeTimm) -> tuple[Description, Checkpoint | None, LikeTimm]:
    """The network that lies at a place, its weights (None: `pretrained=False` wants none), the other options.

    Raises:
        InputError: other weights are given too; nothing is there, or it does not say of which network it is.
    """
    if weights is not None or options.get("checkpoint_path"):
        raise InputError(f"model {model}: a place, which says its weights; leave weights and checkpoint_path out")
    wanted = flag(options.get("pretrained", True), "pretrained")
    stored = find_weights(model)
    if stored.description is None:
        raise InputError(f"model {model}: does not say of which network it is; name that, with weights={model!r}")
    rest: LikeTimm = {**options}
    rest.pop("pretrained", None)
    return stored.description, stored if wanted else None, rest


def weights_of(model: str, weights: Any, options: Mapping[str, Any]) -> tuple[str, Any]:
    """The network's name without a tag, and the weights that `pretrained` or `checkpoint_path` or a tag mean.

    Raises:
        InputError: two of them; none published.
    """
    path = options.get("checkpoint_path") or None
    if path is not None:
        path = path_text(path, "checkpoint_path", "a file of weights")
    wanted = flag(options.get("pretrained", False), "pretrained")
    if sum((path is not None, wanted, weights is not None)) > 1:
        raise InputError("pretrained, checkpoint_path and weights: each says what it begins with; give one")
    if path is not None:
        return model, path
    plain, *edits = model.split(EDIT)
    name, dot, tag = plain.partition(".")
    if not wanted:
        return EDIT.join([name, *edits]) if dot else model, weights
    return EDIT.join([name, *edits]), plain if tag else published(entry(name).config.name)


def shaped(network: ResidualNetwork, options: Mapping[str, Any]) -> ResidualNetwork | FeatureNetwork:
    """The network with its weights, as it is asked to be read.

    Raises:
        InputError: a stride or a pool that it cannot have; maps that it has not; a unit without a last norm.
    """
    if flag(options.get("zero_init_last", False), "zero_init_last"):
        begin_at_shortcuts(network)
    stride = options.get("output_stride")
    if stride is not None and whole(stride, "output_stride", 1) != 32:
        network = _rebuilt(network, with_output_stride(network.description, stride))
    if options.get("global_pool") is not None:
        _pooled(network, options["global_pool"])
    if flag(options.get("features_only", False), "features_only"):
        return FeatureNetwork(network, network.feature_info.at(options.get("out_indices")))
    if options.get("out_indices") is not None:
        raise InputError("out_indices: of the list that features_only=True gives; add it, or leave out_indices out")
    return network


def with_new_head(network: ResidualNetwork, num_classes: int, global_pool: str | None) -> None:
    """Another head in its place, on the device and in the precision of the network."""
    if global_pool not in (None, "avg", ""):
        raise InputError(f"global_pool: given {global_pool!r}; wanted 'avg', or '' with num_classes=0")
    description = network.description
    if not _pools(description):
        description = description.replace(head=Sequence(parts=(("pool", GlobalAveragePool()),)))
    description = with_classes(description, num_classes)
    new = build(description)
    initialise(new, torch.initial_seed() % 2**63)
    first = next(iter(network.parameters()))
    network.head = new.head.to(first.device, first.dtype).train(network.training)
    network.description = description
    if global_pool == "":
        _pooled(network, "")


def checkpointed(network: ResidualNetwork, enable: bool) -> None:
    """Turn the second computation on or off."""
    from deepres.nn.memory import apply

    held: ExitStack | None = network.__dict__.pop("_checkpointing", None)
    if held is not None:
        held.close()
    if flag(enable, "enable"):
        stack = ExitStack()
        stack.enter_context(apply(network, make_plan(network.description, _BATCH)))
        network.__dict__["_checkpointing"] = stack


def _pooled(network: ResidualNetwork, global_pool: object) -> None:
    if global_pool == "avg":
        return
    if global_pool != "" or network.num_classes:
        raise InputError(f"global_pool: given {global_pool!r}; wanted 'avg', or '' with num_classes=0")
    description = network.description.replace(head=Sequence(parts=(("map", Identity()),)))
    network.description, network.head = description, build(description).head


def _pools(description: Architecture) -> bool:
    return any(isinstance(node, GlobalAveragePool) for _, node in children(description.head))


def _rebuilt(network: ResidualNetwork, description: Architecture) -> ResidualNetwork:
    """The weights in a network of the same names."""
    other = build(description)
    other.load_state_dict(network.state_dict(), assign=True)
    other.preprocessing = network.preprocessing
    return other.train(network.training)


def _share(options: Mapping[str, Any], name: str) -> float | None:
    value = options.get(name)
    if not value:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InputError(f"{name}: given {value!r}; wanted a number from 0 to below 1")
    return float(value)
