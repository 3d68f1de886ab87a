"""Name -> every published configuration: the papers' networks and the field's, looked up by name or pattern."""

import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from deepres.arch.architecture import Architecture, with_classes, with_input
from deepres.arch.atoms import Norm
from deepres.arch.catalogue import entries_detectors, entries_field, entries_others, entries_resnet
from deepres.arch.catalogue.aliases import OTHERS, resolved
from deepres.arch.catalogue.entries_detectors import DetectorEntry
from deepres.arch.catalogue.entry import Config, Entry
from deepres.arch.catalogue.tags import TAGS
from deepres.arch.detector import Detector, DetectorConfig, atoms_of, frozen
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.diff import difference
from deepres.arch.spare import left_out
from deepres.base.arguments import flag, word, words
from deepres.base.errors import InputError, unknown
from deepres.base.records import build, edit

CATALOGUE: dict[str, Entry] = {
    entry.config.name: entry for entry in (*entries_resnet.ENTRIES, *entries_others.ENTRIES, *entries_field.ENTRIES)
}
DETECTORS: dict[str, DetectorEntry] = {entry.config.name: entry for entry in entries_detectors.ENTRIES}
EDIT = "+"
"""`resnet20_cifar+shortcut=B` is the entry with a field edited, as `--set model.shortcut=B` does."""


def entry(name: str) -> Entry:
    """The catalogue's entry; with edits behind its name where some are named (`EDIT`).

    Raises:
        InputError: no such name; the nearest are offered. A detector's. An edit that does not fit.
    """
    if name not in CATALOGUE and (ours := resolved(name.partition(EDIT)[0])) != name.partition(EDIT)[0]:
        return entry(ours + name[len(name.partition(EDIT)[0]) :])
    if EDIT in name:
        plain, *edits = name.split(EDIT)
        found = entry(plain)
        return replace(found, config=edit(found.config, edits), published="", note="edited")
    if name in DETECTORS:
        raise InputError(f"model '{name}': finds boxes, and one that names classes is wanted; such as resnet50")
    if name in OTHERS:
        raise InputError(f"model '{name}': another network than any here: {OTHERS[name]}")
    if name not in CATALOGUE:
        depth = re.fullmatch(r"(plain|resnet|preresnet)(\d+)_cifar(_b)?", name)
        if depth is not None:
            raise _no_such_depth(name, depth[1], int(depth[2]), depth[3] or "")
        small = [other for other in (f"{name}_cifar", f"{name}_cifar_b") if other in CATALOGUE]
        raise unknown("model", name, small or _all(), see="deepres models")
    return CATALOGUE[name]


def detector_entry(name: str) -> DetectorEntry | None:
    """The catalogue's detector of that name, edits behind it as in `entry`; None where the name is no detector's."""
    plain, *edits = name.split(EDIT)
    found = DETECTORS.get(resolved(plain))
    if found is None or not edits:
        return found
    return replace(found, config=edit(found.config, edits), note="edited")


def detector_config(description: Detector) -> DetectorConfig | None:
    """The configuration that gives this description, as the catalogue's detector of its name with changed numbers."""
    found = DETECTORS.get(description.name)
    if found is None:
        return None
    kept = ("input", "num_classes", "neck_channels", "anchors", "proposals", "regions", "context", "masks")
    eps = {node.eps for _, part in description.body for node in atoms_of(part) if isinstance(node, Norm)}
    config = found.config.replace(**{name: getattr(description, name) for name in kept})
    config = config.replace(backbone=frozen(config.backbone, eps.pop())) if len(eps) == 1 else config
    return config if config.architecture() == description else None


def config_of(description: Architecture) -> Config | None:
    """The catalogue's configuration of its name that computes this, perhaps without some units; None: there is none.

    Classes and input are the catalogue's.
    """
    found = CATALOGUE.get(description.name)
    if found is None:
        return None
    config = found.config
    if missing := left_out(config.architecture(), description):
        try:
            config = edit(config, [f"without={','.join(missing)}"])
            config.architecture()
        except InputError:  # a family whose units stay, or one that changes the shape
            return None
    return config if difference(config.architecture(), description) is None else None


def residual(name: str) -> ResNetConfig:
    """The catalogue's residual network of that name: what a detector may stand on.

    Raises:
        ValueError: there is none, or it is of another family; the nearest are offered.
    """
    config = CATALOGUE[name].config if name in CATALOGUE else None
    if not isinstance(config, ResNetConfig):
        known = [other for other, entry in CATALOGUE.items() if isinstance(entry.config, ResNetConfig)]
        raise ValueError(str(unknown("residual network", name, known)))
    return config


def eps_of(variant: str, where: str) -> float:
    """The eps of the norms of the catalogue's detector of that name, which may have edits behind it.

    Raises:
        InputError: no detector has that name.
    """
    found = detector_entry(variant)
    if found is None:
        raise InputError(f"{where}: weights of a detector, and {variant} is none; wanted such as {_WITH_EPS}")
    return found.config.backbone.style.eps


_WITH_EPS = "fasterrcnn_resnet50_fpn+backbone.style.eps=0"


def with_eps(detector: Detector, eps: float) -> Detector:
    """The description with norms of another eps."""

    def changed(part: Any) -> Any:
        if isinstance(part, dict):
            inner = {name: changed(value) for name, value in part.items()}
            return {**inner, "eps": eps} if part.get("kind") == "norm" else inner
        return [changed(value) for value in part] if isinstance(part, list) else part

    return build(Detector, changed(detector.model_dump(mode="json")), detector.name)


def names(pattern: str | Sequence[str] = "*", *, pretrained: bool = False, module: str | None = None) -> list[str]:
    """The names that match a shell pattern (`resnet*`) or one of several, in the catalogue's order.

    >>> import deepres
    >>> deepres.list_models("resnet??_cifar")
    ['resnet20_cifar', 'resnet32_cifar', 'resnet44_cifar', 'resnet56_cifar']

    Args:
        pattern: one, or several.
        pretrained: only those of which weights are published under their name (`create_model(…, pretrained=True)`).
        module: only those of a family: resnet, densenet, vgg, highway, fractal, rir, detector.

    Raises:
        InputError: none matches; the nearest names are offered.
    """
    patterns = words([pattern] if isinstance(pattern, str) else pattern, "pattern", _PATTERN)
    if flag(pretrained, "pretrained") or module is not None:
        families = dict.fromkeys(DETECTORS, "detector") | {name: e.config.family for name, e in CATALOGUE.items()}
        if module is not None and word(module, "module", "a family such as resnet") not in families.values():
            raise unknown("module", module, set(families.values()))
        known = [name for name in _all() if name in TAGS or not pretrained]
        known = [name for name in known if module in (None, families[name])]
        return [name for name in known if any(fnmatchcase(name, one) for one in patterns)]
    found = [name for name in _all() if any(fnmatchcase(name, one) for one in patterns)]
    if not found:
        ours = resolved(patterns[0])
        if ours.partition(EDIT)[0] in _all():
            return [ours]
        raise unknown("model", patterns[0], _all(), see="deepres models")
    return found


_PATTERN = "a name or a pattern such as resnet*, or a list of them"


def architecture(name: str, num_classes: int | None = None, input: tuple[int, int, int] | None = None) -> Architecture:
    """The network of that name, if wanted for another number of classes or another input (C, H, W)."""
    found = entry(name).config.architecture()
    found = found if num_classes is None else with_classes(found, num_classes)
    return found if input is None else with_input(found, input)


def _all() -> tuple[str, ...]:
    return (*CATALOGUE, *DETECTORS)


def _no_such_depth(name: str, kind: str, depth: int, suffix: str) -> InputError:
    units, rest = divmod(depth - 2, 6)
    if rest or units < 1:
        wide = f"{kind}{depth}_cifar64"
        other = f"; {wide} is ImageNet's behind a 3x3" if wide in CATALOGUE else ""
        wanted = "wanted 20, 32, 44, 56 …"
        return InputError(f"model '{name}': {depth} layers are not 6n + 2 with n of 1 or more; {wanted}{other}")
    base = f"{kind}{110 if kind == 'preresnet' else 20}_cifar{suffix}"
    return InputError(
        f"model '{name}': not in the catalogue; take {base} with --set model.depths={units},{units},{units}"
    )
