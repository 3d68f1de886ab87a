"""Name (and weights) -> a network ready to use: the door for people who write Python."""

from pathlib import Path

from deepres.nn.build import ResidualNetwork, build
from deepres.nn.init import initialise
from deepres.nn.weights import load_network, load_state, read_tensors
from deepres.spec.catalogue import network as catalogue_network
from deepres.spec.network import Network, with_classes


def create_model(
    model: str | Network,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
) -> ResidualNetwork:
    """The network of that name or description, initialised as He et al. 2015, or with the weights of a file.

    Args:
        model: a name (`deepres.list_models()`) or a description.
        num_classes: number of logits; 0 gives pooled features; None what the paper has.
        in_chans: channels of the images; None what the paper has (3).
        weights: a `.safetensors` file, a torch checkpoint, or a folder with `model.safetensors`.
        seed: of the initialisation.

    Raises:
        InputError: an unknown name (the nearest are offered), weights that do not fit.
    """
    description = catalogue_network(model) if isinstance(model, str) else model
    if num_classes is not None:
        description = with_classes(description, num_classes)
    if in_chans is not None:
        description = description.replace(input=(in_chans, *description.input[1:]))
    network = build(description)
    initialise(network, seed)
    if weights is not None:
        path = Path(weights)
        load_state(network, read_tensors(path / "model.safetensors" if path.is_dir() else path), str(path))
    return network


def load(folder: str | Path) -> ResidualNetwork:
    """The trained network of a run folder, in evaluation mode."""
    return load_network(Path(folder))[0]
