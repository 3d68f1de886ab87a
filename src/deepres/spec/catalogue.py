"""Name -> every published configuration: the papers' networks and the field's, looked up by name or pattern."""

import re
from fnmatch import fnmatchcase

from deepres.base.errors import InputError, unknown
from deepres.spec import entries_others, entries_resnet
from deepres.spec.entry import Entry
from deepres.spec.network import Network, with_classes, with_input

CATALOGUE: dict[str, Entry] = {entry.config.name: entry for entry in (*entries_resnet.ENTRIES, *entries_others.ENTRIES)}


def entry(name: str) -> Entry:
    """The catalogue's entry.

    Raises:
        InputError: no such name; the nearest are offered.
    """
    if name not in CATALOGUE:
        depth = re.fullmatch(r"(plain|resnet|preresnet)(\d+)_cifar", name)
        if depth is not None:
            raise _no_such_depth(name, depth[1], int(depth[2]))
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


def _no_such_depth(name: str, kind: str, depth: int) -> InputError:
    units, rest = divmod(depth - 2, 6)
    if rest or units < 1:
        return InputError(f"model '{name}': {depth} layers are not 6n + 2 with n of 1 or more; wanted 20, 32, 44, 56 …")
    base = f"{kind}{110 if kind == 'preresnet' else 20}_cifar"
    return InputError(
        f"model '{name}': not in the catalogue; take {base} with --set model.depths={units},{units},{units}"
    )
