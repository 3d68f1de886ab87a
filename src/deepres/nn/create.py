"""Name (and weights) -> a network ready to use: the door for people who write Python."""

from pathlib import Path
from typing import NamedTuple

from deepres.arch.architecture import Architecture, with_classes
from deepres.arch.catalogue.lookup import EDIT, architecture
from deepres.base.arguments import flag, whole, word, words
from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.init import initialise
from deepres.nn.weights import channels
from deepres.nn.weights.checkpoints import UnknownNamesError, ignoring, require_classifier, require_no_others
from deepres.nn.weights.convert import Translated, UnknownOrderError, to_ours
from deepres.nn.weights.files import load_state
from deepres.nn.weights.fitting import as_given, fitting
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights
from deepres.nn.weights.keras_small import KerasTensors, require_as_said
from deepres.nn.weights.part import for_part
from deepres.nn.weights.pickles import ModuleTensors
from deepres.nn.weights.structure import match
from deepres.nn.weights.unnamed import classes_in
from deepres.nn.weights.variants import described, require_variant

_MODEL = "a name (deepres.list_models() has them) or a description"
_VARIANT = "the name of a network"
_WEIGHTS = "a file, a folder, or a name such as resnet50.a1_in1k"
_CHANNELS = 2**16


def create_model(
    model: str | Architecture,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    weights: str | Path | Checkpoint | None = None,
    variant: str | None = None,
    new_head: bool = False,
    ignore: tuple[str, ...] = (),
    seed: int = 0,
) -> ResidualNetwork:
    """The catalogue's network of that name or description; as `deepres.create_model`, which knows detectors too.

    Raises:
        InputError: an unknown name (the nearest are offered), weights that do not fit or are another variant's.
    """
    description = model if isinstance(model, Architecture) else architecture(word(model, "model", _MODEL))
    in_chans = None if in_chans is None else whole(in_chans, "in_chans", 1, _CHANNELS)
    num_classes = None if num_classes is None else whole(num_classes, "num_classes", 0)
    seed, new_head = whole(seed, "seed", 0, 2**64 - 1), flag(new_head, "new_head")
    ignore = words(ignore, "ignore", "a list of names or patterns of tensors")
    if variant is not None:
        described(word(variant, "variant", _VARIANT), f"variant {variant}")
    if not isinstance(weights, Path | Checkpoint | None):
        weights = word(weights, "weights", _WEIGHTS)
    named = weights if isinstance(weights, Checkpoint) or weights is None else ignoring(str(weights), ignore)
    stored = find_weights(named, description.name) if isinstance(named, str) else named
    if num_classes is None and isinstance(model, str) and stored is not None and not new_head:
        num_classes = classes_of(stored, description)
    if num_classes is not None:
        description = with_classes(description, num_classes)
    if in_chans is None and isinstance(model, str) and stored is not None and f"{EDIT}input=" not in model:
        in_chans = channels_of(stored, description)
    if in_chans is not None:
        description = description.replace(input=(in_chans, *description.input[1:]))
    network = build(description)
    initialise(network, seed)
    if stored is not None:
        new_head = new_head or description.num_classes == 0
        called = model if isinstance(model, str) else None
        load_weights(network, stored, variant=variant, new_head=new_head, called=called)
        wanted = stored.preprocessing
        network.preprocessing = wanted if wanted and len(wanted.mean) == description.input[0] else None
    return network


def load_weights(
    network: ResidualNetwork,
    stored: Checkpoint,
    *,
    variant: str | None = None,
    new_head: bool = False,
    called: str | None = None,
) -> None:
    """Put weights of any origin into the network, all or none, after the guard has passed them.

    Those of units that the network lacks are left behind (`nn/weights/part.py`). Names of no known library are matched
    by structure (`nn/weights/structure.py`), which `variant` confirms; `called` is the network's name as the user has
    it, edits included.

    Raises:
        InputError: another variant's weights, layers that do not fit or whose match is not confirmed.
    """
    stored = for_part(stored, network.description)
    found = translated(stored, network.description, variant, called, new_head=new_head)
    tensors, convention = found.tensors, found.convention
    if all(name in tensors for name in network.state_dict() if not name.startswith("head.fc.")):
        others = {name: stored.tensors[name] for name in found.others}
        if not new_head and network.description.num_classes:
            require_classifier(tensors, others, set(stored.tensors) - set(others), stored.where)
        require_no_others(others, set(stored.tensors) - set(others), stored.where)
    require_variant(network.description, stored, convention, variant, called)
    if new_head:
        kept = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("head.fc.")}
        tensors = {**{name: t for name, t in tensors.items() if not name.startswith("head.fc.")}, **kept}
    load_state(network, channels.adapted(tensors, network.description, stored.where), stored.where)


def adaptation(stored: Checkpoint, description: Architecture) -> str:
    """What is done to these weights for the description's number of channels, for a person to read; else empty."""
    named = _by_name(stored, description, new_head=True).found
    adapts = named is not None and channels.is_adapted(named.tensors, description)
    return channels.adaptation_text(description.input[0]) if adapts else ""


def translated(
    stored: Checkpoint, description: Architecture, variant: str | None, called: str | None, *, new_head: bool
) -> Translated:
    """The tensors under our names: by a library's names, else by structure once `variant` says that it is right.

    Raises:
        InputError: not confirmed: the first lines of the match, and what to say; or no match, and where it ends.
    """
    found, named, refusal = _by_name(stored, description, new_head=new_head)
    module = stored.tensors.module if isinstance(stored.tensors, ModuleTensors) else ""
    doubt = f"tensors of a pickled {module}, whose code is not run" if module else ""
    if found is not None and named == 1 and (variant is not None or not doubt):
        return found
    if isinstance(refusal, UnknownOrderError):
        raise refusal
    called = called or description.name
    try:
        matched = match(stored.tensors, as_given(description, stored.tensors), stored.where)
    except InputError:
        if found is not None and named > 0.5 and not doubt:
            return found  # the names that are missing say more than shapes
        if refusal is not None:
            raise refusal from None
        raise
    if isinstance(stored.tensors, KerasTensors):
        require_as_said(matched.rows, stored.tensors, description, stored.where)
    if variant is None:
        others = ", ".join(name for name in fitting(stored.tensors) if name != description.name)
        alike = f" (and {others} have the same)" if others else ""
        raise InputError(
            f"{stored.where}: {doubt or 'names of no known library'}; by shapes and order its layers are {called}'s"
            f"{alike}; look through the table and, if it is right, say --variant {called} (in Python variant=)",
            table=matched.table(),
        )
    return Translated(matched.tensors, "structure")


class _Named(NamedTuple):
    """By a library's names: the tensors, the share of ours that are found so, and why they are not taken so."""

    found: Translated | None
    share: float
    refusal: InputError | None = None


def _by_name(stored: Checkpoint, description: Architecture, *, new_head: bool) -> _Named:
    named = description if description.num_classes else with_classes(description, 1)
    try:
        found = to_ours(stored.tensors, named, stored.where)
    except UnknownNamesError:
        return _Named(None, 0.0)
    except InputError as refusal:  # two sets of weights, by names: unless all of them are one network of other names
        return _Named(None, 0.0, refusal)
    wanted = [name for name in build(description).state_dict() if not (new_head and name.startswith("head."))]
    return _Named(found, sum(name in found.tensors for name in wanted) / len(wanted))


def classes_of(stored: Checkpoint, description: Architecture) -> int:
    """How many classes these weights of the described network know; as many as it where they do not show."""
    if stored.description is not None:
        return stored.description.num_classes
    named = _by_name(stored, description, new_head=True).found
    head = None if named is None else named.tensors.get("head.fc.bias")
    if head is None:
        return classes_in(stored.tensors) or description.num_classes
    return len(head) if head is not None and head.dim() == 1 else description.num_classes


def channels_of(stored: Checkpoint, description: Architecture) -> int:
    """Of how many channels the images of these weights are; as many as the description's where they do not show."""
    if stored.description is not None:
        return stored.description.input[0]
    named, share, _ = _by_name(stored, description, new_head=True)
    if named is None or share < 0.5:
        return as_given(description, stored.tensors).input[0]
    return channels.channels_of(named.tensors, description) or description.input[0]
