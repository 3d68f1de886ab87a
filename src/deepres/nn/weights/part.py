"""A network's weights, for the same network without some of its units."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from deepres.arch.architecture import Architecture
from deepres.arch.readings.diff import difference
from deepres.arch.spare import left_out, spare_units, without_units
from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.init import initialise
from deepres.nn.weights.convert import to_ours
from deepres.nn.weights.formats import Checkpoint


def for_part(stored: Checkpoint, wanted: Architecture) -> Checkpoint:
    """The weights without the units that `wanted` does not have; as they are, where the two differ in anything else.

    Of each unit y = x is left without its branch (`arch/spare.py`), so that the answers are those of the whole network
    with the branches left out.
    """
    whole = stored.description
    if not isinstance(whole, Architecture) or not (names := left_out(whole, wanted)):
        return stored
    part = whole
    try:
        for name in names:
            if name not in spare_units(part):
                return stored
            part = without_units(part, (name,))
    except InputError:
        return stored
    if difference(part, wanted) is not None:
        return stored
    ours = to_ours(stored.tensors, whole, stored.where).tensors
    return replace(stored, tensors=_kept(ours, names), description=part)


def part_of(network: ResidualNetwork, names: tuple[str, ...]) -> ResidualNetwork:
    """A copy of the network without these units, in evaluation mode: what is left of each is y = x.

    Raises:
        InputError: there is no such unit, or it cannot be left out (`arch/spare.py`).
    """
    part = build(without_units(network.description, names))
    initialise(part, 0)  # gives buffers that are not stored, such as a blur's filter, their values
    first = next(network.parameters())
    part = part.to(first.device, first.dtype)
    part.load_state_dict(_kept(network.state_dict(), names))
    return part.eval()


def _kept(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """All but those of these units."""
    gone = tuple(f"{name}." for name in names)
    return {name: tensor for name, tensor in tensors.items() if not (gone and name.startswith(gone))}
