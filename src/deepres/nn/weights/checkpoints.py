"""Which tensors of a checkpoint are the weights: of several sets the one that was asked for, without prefixes, alone.

Tools wrap what they save: in a dictionary (`state_dict`, `model_state_dict`), in a module (`module.`, `_orig_mod.`),
beside an average of itself (`state_dict_ema`, `model_ema.`), a teacher, a criterion. No wrapper's name is known here.
A prefix is what stands before the names of a whole network; two of them are two networks, and the user says which.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.normalisation import shown
from deepres.base.wording import listed, some
from deepres.nn.weights.inert import Thing
from deepres.nn.weights.pickles import ModuleTensors, module_tensors

SEPARATOR = "::"
"""`last.pth::state_dict_ema` is that set of the file; `last.pth::-criterion.*` the file without those tensors."""
_DEPTH = 6  # dictionaries within dictionaries
_PLACES = 8  # of a list
_TRAINING = ("optim", "opt", "scheduler", "lr_scheduler", "scaler", "amp_scaler", "amp")
SHOWN = 4


@dataclass(frozen=True)
class TensorChoice:
    """What the user says of a file: which of its sets of weights, and which tensors are none."""

    key: str = ""
    ignore: tuple[str, ...] = ()


ALL = TensorChoice()


def asked_of(weights: str) -> tuple[str, TensorChoice]:
    """`FILE::KEY::-PATTERN` -> the file, and the choice in it; a path that exists is a file's whole name.

    Raises:
        InputError: two keys.
    """
    name, *asked = [weights] if exists(weights) else weights.split(SEPARATOR)
    ignore = tuple(part[1:] for part in asked if part.startswith("-"))
    keys = [part for part in asked if part and not part.startswith("-")]
    if len(keys) > 1:
        raise InputError(f"weights {weights}: two keys, {keys[0]} and {keys[1]}; wanted FILE{SEPARATOR}KEY")
    return name, TensorChoice(keys[0] if keys else "", ignore)


def exists(path: str) -> bool:
    """Whether there is something at that path; what cannot be a path is not there."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # longer than a name can be
        return False


def ignoring(weights: str, patterns: Iterable[str]) -> str:
    """The same weights without the tensors of these names or patterns."""
    return "".join([weights, *(f"{SEPARATOR}-{pattern}" for pattern in patterns)])


def chosen(found: object, choice: TensorChoice, where: str) -> dict[str, Tensor]:
    """The tensors of the set that is asked for, or of the only one, by the names that the file has.

    Raises:
        InputError: no weights in it; several sets, and none is asked for; no such set; a pattern that nothing has.
    """
    sets = sets_in(found)
    if not sets:
        raise InputError(f"{where}: no dictionary of tensors in it; save the network's state_dict")
    key, rest = _named(sets, choice.key, where)
    whole = tensors = sets[key]
    if rest:
        tensors = {name.removeprefix(f"{rest}."): t for name, t in tensors.items() if name.startswith(f"{rest}.")}
        if not tensors:
            raise InputError(f"{where}: no {choice.key} in it; it has {_told(sets)}; wanted FILE{SEPARATOR}KEY")
    for pattern in choice.ignore:
        kept = {name: tensor for name, tensor in tensors.items() if not fnmatchcase(name, pattern)}
        if len(kept) == len(tensors):
            raise InputError(f"{where}: no tensor is called {pattern}; it has {_few(tensors)}")
        tensors = kept
    if isinstance(whole, ModuleTensors):
        module, tensors = whole.module, ModuleTensors(tensors)
        tensors.module = module
    return tensors


def sets_in(found: object) -> dict[str, dict[str, Tensor]]:
    """Every set of weights in what was read, by the keys that lead to it; the key of the whole is empty.

    A set is a dictionary or a pickled module with tensors of dotted names. Where some sets have convolutions, those
    without are no networks; what optimisers keep is none.
    """
    every = dict(_sets(found, "", 0))
    networks = {key: tensors for key, tensors in every.items() if any(t.dim() == 4 for t in tensors.values())}
    return networks or every


class UnknownNamesError(InputError):
    """Not one name of the network is in the file."""


class Fit(NamedTuple):
    """Where the names of a network stand in a file: whose names, behind which prefix, and how many matched."""

    convention: str
    prefix: str
    matched: int


def by_names(names: Iterable[str], tables: Mapping[str, Iterable[str]], where: str) -> Fit:
    """The library and the prefix that most of a network's names in `tables` are found with.

    Raises:
        InputError: another prefix has the names of a whole network, too.
    """
    given = list(names)
    fits = [fit for convention, wanted in tables.items() for fit in _prefixes(given, convention, set(wanted))]
    best = max(fits, key=lambda fit: fit.matched, default=Fit(next(iter(tables)), "", 0))
    wanted = set(tables[best.convention])
    if 2 * best.matched >= len(wanted):
        beside = {fit.prefix: fit for fit in fits if fit.convention == best.convention and fit.prefix != best.prefix}
        whole = [best, *(fit for fit in beside.values() if 2 * fit.matched >= best.matched)]
        if len(whole) > 1:
            raise InputError(
                f"{where}: {len(whole)} sets of weights, {listed(fit.prefix + '…' for fit in whole)}; say which is "
                f"meant, such as {where}{SEPARATOR}{best.prefix.rstrip('.') or whole[1].prefix.rstrip('.')}"
            )
    return best


def stripped(tensors: Mapping[str, Tensor], prefix: str, where: str) -> dict[str, Tensor]:
    """The tensors without the prefix; those that do not have it keep their names.

    Raises:
        InputError: two tensors would have one name.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(prefix)
        if bare in found:
            raise InputError(
                f"{where}: {prefix}{bare} and {bare} are two tensors for one; say which set is meant, such as "
                f"{where}{SEPARATOR}{prefix.rstrip('.')}, or leave one out with --ignore {bare}"
            )
        found[bare] = tensor
    return found


def require_no_others(others: Mapping[str, Tensor], own: Iterable[str], where: str) -> None:
    """Refuse tensors that are none of the network's, by name: what they do to an answer is not known here.

    `own` are the names in the same file that are the network's.

    Raises:
        InputError: there are some; mean and std of a wrapper that normalises are told as what they are.
    """
    if not others:
        return
    values = [f"{name} {shown(t.flatten().tolist())}" for name, t in others.items() if _is_normalising(name, t)]
    remedy = "leave them out with " + " ".join(f"--ignore '{pattern}'" for pattern in _patterns(others, set(own)))
    if values:
        remedy = f"{'; '.join(values)}: what images are normalised by? say so with --mean and --std, and {remedy}"
    else:
        remedy += " if the answers do not hang on them"
    raise InputError(f"{where}: tensors that the network does not have: {_few(others)}; {remedy}")


def require_classifier(
    tensors: Mapping[str, Tensor], others: Mapping[str, Tensor], own: Iterable[str], where: str
) -> None:
    """Refuse weights of features alone, or with another head than one linear layer: no network here answers as they do.

    Raises:
        InputError: no classifier's weight under our name; the remedy leaves `others` out.
    """
    if "head.fc.weight" in tensors:
        return
    ignored = " ".join(f"--ignore '{pattern}'" for pattern in _patterns(others, set(own)))
    leaving = f", and leave them out with {ignored}" if others else ""
    raise InputError(
        f"{where}: no classifier of the network's (one linear layer) in it"
        f"{f', but {_few(others)}, which is not described here' if others else ''}; train a new one on these features "
        f"(deepres train, or new_head=True in Python), or take the features (num_classes=0 in Python){leaving}"
    )


def _sets(value: Any, key: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    module = module_tensors(value)
    if module is not None:
        yield key, module
        return
    entries = _entries(value)
    tensors = {name: item for name, item in entries.items() if isinstance(item, Tensor)}
    if any("." in name for name in tensors):
        yield key, tensors
    if depth < _DEPTH:
        for name, item in entries.items():
            if not isinstance(item, Tensor) and not _is_of_training(name):
                yield from _sets(item, f"{key}.{name}" if key else name, depth + 1)


def _entries(value: Any) -> dict[str, Any]:
    """What lies in a dictionary, a list or an object of an unknown class, under a text as its key, or its place."""
    if isinstance(value, list | tuple):
        return {str(place): item for place, item in enumerate(value[:_PLACES])}
    if isinstance(value, Thing):
        pairs = [pair for pair in value.items if isinstance(pair, tuple) and len(pair) == 2]
        kept = value.state if isinstance(value.state, Mapping) else {}
        return {key: item for key, item in [*pairs, *kept.items()] if isinstance(key, str)}
    return {key: item for key, item in value.items() if isinstance(key, str)} if isinstance(value, Mapping) else {}


def _is_of_training(name: str) -> bool:
    return name in _TRAINING or name.startswith("optim") or name.endswith(("_optimizer", "_scheduler", "_schedulers"))


def _named(sets: Mapping[str, Mapping[str, Tensor]], key: str, where: str) -> tuple[str, str]:
    """The key of the set, and what of `key` goes on within the names of its tensors."""
    for known in sorted(sets, key=len, reverse=True):
        if known and (key == known or key.startswith(f"{known}.")):
            return known, key[len(known) + 1 :]
    if "" in sets and key:
        return "", key
    if len(sets) == 1 or _are_equal(list(sets.values())):
        return next(iter(sets)), key
    if key:
        raise InputError(f"{where}: no {key} in it; it has {_told(sets)}; wanted FILE{SEPARATOR}KEY")
    raise InputError(
        f"{where}: {len(sets)} sets of weights, {_told(sets)}; say which is meant, such as "
        f"{where}{SEPARATOR}{max(sets, key=lambda name: (len(sets[name]), bool(name)))}"
    )


def _are_equal(sets: list[Mapping[str, Tensor]]) -> bool:
    first = sets[0]
    return all(
        other.keys() == first.keys()
        and all(t.shape == first[name].shape and torch.equal(t, first[name]) for name, t in other.items())
        for other in sets[1:]
    )


def _prefixes(given: list[str], convention: str, wanted: set[str]) -> list[Fit]:
    counts: dict[str, int] = {}
    for name in given:
        start = 0
        while start >= 0:
            if name[start:] in wanted:
                counts[name[:start]] = counts.get(name[:start], 0) + 1
            start = name.find(".", start) + 1 or -1
    return [Fit(convention, prefix, count) for prefix, count in sorted(counts.items(), key=lambda item: len(item[0]))]


def _is_normalising(name: str, tensor: Tensor) -> bool:
    return tensor.numel() in (1, 3) and any(word in _last(name) for word in ("mean", "std"))


def _patterns(others: Iterable[str], own: set[str]) -> list[str]:
    """Patterns that have all of these names and none of the network's: of few the names, of many what they share."""
    left, found = list(others), list[str]()
    if len(left) <= SHOWN:
        return left
    dots = ((name, place) for name in left for place, sign in enumerate(name) if sign == ".")
    wide = {pattern for name, dot in dots for pattern in (f"{name[:dot]}.*", f"*.{_last(name)}")}
    kept = [pattern for pattern in sorted(wide) if not any(fnmatchcase(name, pattern) for name in own)]
    while left:
        pattern = max([*kept, left[0]], key=lambda pattern: sum(fnmatchcase(name, pattern) for name in left))
        found.append(pattern)
        left = [name for name in left if not fnmatchcase(name, pattern)]
    return found[:SHOWN]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _told(sets: Mapping[str, Mapping[str, Tensor]]) -> str:
    return listed(f"{key or 'the file itself'} ({len(tensors)} tensors)" for key, tensors in sets.items())


def _few(tensors: Mapping[str, Tensor]) -> str:
    names = [f"{name} ({'x'.join(map(str, t.shape)) or 'a number'})" for name, t in tensors.items()]
    return some(names, SHOWN)
