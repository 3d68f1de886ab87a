"""Name (and weights) -> a network ready to use: the door for people who write Python."""

from pathlib import Path

from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.foreign import to_ours
from deepres.nn.guard import require_variant
from deepres.nn.hub import find_weights
from deepres.nn.init import initialise
from deepres.nn.layouts import Stored
from deepres.nn.weights import load_state
from deepres.spec.catalogue import network as catalogue_network
from deepres.spec.network import Network, with_classes


def create_model(
    model: str | Network,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    weights: str | Path | Stored | None = None,
    variant: str | None = None,
    new_head: bool = False,
    seed: int = 0,
) -> ResidualNetwork:
    """The network of that name or description, initialised as He et al. 2015, or with trained weights.

    Args:
        model: a name (`deepres.list_models()`) or a description.
        num_classes: number of logits; 0 gives pooled features; None what the paper has, or the weights.
        in_chans: channels of the images; None what the paper has (3).
        weights: a file, a folder, or a name: timm's (`resnet50.a1_in1k`), torchvision's (`IMAGENET1K_V2`), `hf-hub:…`.
        variant: the network that bare weights were trained as, where their names fit several (`nn/guard.py`).
        new_head: leave the weights of the classifier behind; it is initialised, for classes of your own.
        seed: of the initialisation.

    Raises:
        InputError: an unknown name (the nearest are offered), weights that do not fit or are another variant's.
    """
    description = catalogue_network(model) if isinstance(model, str) else model
    stored = weights if isinstance(weights, Stored) or weights is None else find_weights(weights, description.name)
    if num_classes is None and isinstance(model, str) and stored is not None and not new_head:
        num_classes = _classes_of(stored, description)
    if num_classes is not None:
        description = with_classes(description, num_classes)
    if in_chans is not None:
        description = description.replace(input=(in_chans, *description.input[1:]))
    network = build(description)
    initialise(network, seed)
    if stored is not None:
        load_weights(network, stored, variant=variant, new_head=new_head or description.num_classes == 0)
    return network


def load_weights(
    network: ResidualNetwork, stored: Stored, *, variant: str | None = None, new_head: bool = False
) -> None:
    """Put weights of any known origin into the network, all or none, after the guard has passed them.

    Raises:
        InputError: another variant's weights, names of no known library, tensors that do not fit.
    """
    tensors, convention = to_ours(stored.tensors, network.description, stored.where)
    require_variant(network.description, stored, convention, variant)
    if new_head:
        kept = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("head.fc.")}
        tensors = {**{name: t for name, t in tensors.items() if not name.startswith("head.fc.")}, **kept}
    load_state(network, tensors, stored.where)


def load(weights: str | Path) -> ResidualNetwork:
    """The trained network of a run folder, or of weights by name, in evaluation mode.

    Raises:
        InputError: weights that do not say which network they are of.
    """
    stored = find_weights(weights)
    if stored.description is None:
        raise InputError(f"{stored.where}: does not say which network it is of; use create_model(NAME, weights=…)")
    return create_model(stored.description, weights=stored).eval()


def _classes_of(stored: Stored, description: Network) -> int:
    if stored.description is not None:
        return stored.description.num_classes
    head = to_ours(stored.tensors, description, stored.where).tensors.get("head.fc.bias")
    return len(head) if head is not None and head.dim() == 1 else description.num_classes
