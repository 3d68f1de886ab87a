"""What a file of weights is, as far as it shows: format, names, layers, which networks fit, values that are none."""

import zipfile
from collections import Counter
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

import torch
from torch import Tensor

from deepres.arch.catalogue import lookup
from deepres.arch.detector import naming
from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.records import Record
from deepres.base.wording import reason_alone
from deepres.base.wording import shown as safe
from deepres.nn.weights.checkpoints import exists
from deepres.nn.weights.convert import to_ours
from deepres.nn.weights.fitting import as_given, fitting, nearest
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights
from deepres.nn.weights.keras import is_keras
from deepres.nn.weights.pickles import ModuleTensors
from deepres.nn.weights.structure import ROWS, Match, match
from deepres.nn.weights.trainings import Training, trained_by
from deepres.nn.weights.unnamed import TRACKED, Layer, classes_in, layers_in, stem_of
from deepres.nn.weights.variants import namesakes


class TensorSummary(Record):
    """Faults in the tensors: how many have each."""

    not_finite: int
    negative_variances: int
    integers: int

    def __str__(self) -> str:
        """`3 tensors with NaN or infinity`, or that there is nothing of the kind."""
        told = [
            *([f"{self.not_finite} tensors with NaN or infinity"] if self.not_finite else []),
            *([f"{self.negative_variances} negative variances"] if self.negative_variances else []),
            *([f"{self.integers} integer tensors for weights"] if self.integers else []),
        ]
        return ", ".join(told) or "finite, variances positive"


class Inspected(Record):
    """What was found, with `table` of layer, layer in the file, shape.

    `networks` are all of the catalogue that fit, `elsewhere` libraries' that do, `problem` is why none does. `training`
    is how published weights were trained.
    """

    where: str
    form: str
    says: str | None
    module: str | None
    prefix: str
    tensors: int
    parameters: int
    dtypes: dict[str, int]
    classes: int | None
    channels: int | None
    stem: str
    stages: tuple[str, ...]
    networks: tuple[str, ...]
    elsewhere: tuple[str, ...]
    problem: str
    table: tuple[tuple[str, str, str], ...]
    values: TensorSummary
    training: Training | None = None

    def lines(self, most: int | None = ROWS) -> list[str]:
        """The whole for a person, the table's first `most` layers."""
        fits = ", ".join([*self.networks, *self.elsewhere]) or (
            f"none of the catalogue: {self.problem}; leave out what is none of a network's with --ignore NAME"
        )
        facts = {
            "file": f"{self.where}, {self.form}",
            "says": self.says or "nothing of its network",
            "pickled module": f"{self.module}, not run" if self.module else "",
            "tensors": f"{self.tensors}, {self.parameters:,} numbers, "
            + ", ".join(f"{count} {name}" for name, count in self.dtypes.items()),
            "prefix": self.prefix or "none",
            "classes": str(self.classes or "no classifier"),
            "input": f"{self.channels} channels" if self.channels else "",
            "stem": self.stem,
            "channels": "; ".join(self.stages),
            "values": str(self.values),
            "fits": fits,
        }
        lines = [f"{name:<15} {text}" for name, text in facts.items() if text]
        lines += [] if self.training is None else ["", *self.training.lines()]
        shown = [("ours", "in the file", "shape"), *self.table][: None if most is None else most + 1]
        if self.table:
            wide = [max(len(row[column]) for row in shown) for column in (0, 1)]
            more = len(self.table) + 1 - len(shown)
            lines += ["", *(f"  {a:<{wide[0]}}  {b:<{wide[1]}}  {shape}" for a, b, shape in shown)]
            lines += [f"  … and {more} more layers; all of them with --all"] if more else []
        return list(map(safe, lines))


def inspect(weights: str | Path) -> Inspected:
    """Look at weights by path or name; nothing in them is run.

    Raises:
        InputError: nothing there that can be read as weights.
    """
    stored = find_weights(weights)
    tensors = stored.tensors
    networks, found, problem, layers = _networks(stored)
    stem = stem_of(layers)
    kinds = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    return Inspected(
        where=stored.where,
        form=_form(Path(stored.where)),
        says=None if stored.description is None else stored.description.name,
        module=tensors.module if isinstance(tensors, ModuleTensors) else None,
        prefix=_prefix([name for name in tensors if not name.endswith(TRACKED)]),
        tensors=len(tensors),
        parameters=sum(t.numel() for t in tensors.values()),
        dtypes=dict(sorted(kinds.items())),
        classes=classes_in(tensors),
        channels=None if stem is None else stem.shape[1],
        stem="" if stem is None else f"{stem.name}: {stem.shape[2]}x{stem.shape[3]}, {stem.shape[0]} channels",
        stages=_stages(layers),
        networks=tuple(networks),
        elsewhere=_elsewhere(stored, networks),
        problem=problem,
        table=() if found is None else tuple((r.ours, r.theirs, "x".join(map(str, r.shape))) for r in found.rows),
        values=_values(tensors),
        training=_training(weights, stored),
    )


def _training(weights: str | Path, stored: Checkpoint) -> Training | None:
    """Of weights that are named, and of Keras's files of the authors' networks, their head included."""
    if stored.description is not None and is_keras(Path(stored.where)) and classes_in(stored.tensors) == 1000:
        return trained_by(stored.description.name)
    return None if exists(str(weights)) else trained_by(str(weights))


def _elsewhere(stored: Checkpoint, networks: list[str]) -> tuple[str, ...]:
    """The libraries' networks that have these tensors and are not described here."""
    if not networks or stored.description is not None:
        return ()
    architecture = as_given(lookup.architecture(networks[0]), stored.tensors)
    try:
        return namesakes(architecture, to_ours(stored.tensors, architecture).convention)
    except InputError:  # names of no library
        return ()


def _networks(stored: Checkpoint) -> tuple[list[str], Match | None, str, list[Layer]]:
    """The names that fit, the match with the first of them, else why the nearest does not; the file's layers."""
    try:
        layers, _ = layers_in(stored.tensors, stored.where)
    except InputError as cause:
        return [], None, reason_alone(stored.where, cause.message), []
    said = None if stored.description is None else naming(stored.description, stored.where)
    names = sorted(fitting(stored.tensors), key=lambda name: said is None or name != said.name)
    try:
        if names or said is not None:
            architecture = lookup.architecture(names[0]) if names and said is None else said
            assert architecture is not None
            return names, match(stored.tensors, as_given(architecture, stored.tensors)), "", layers
        match(stored.tensors, as_given(nearest(stored.tensors), stored.tensors))
    except InputError as cause:
        return names, None, cause.message.removeprefix("weights: "), layers
    return names, None, "", layers


def _prefix(names: list[str]) -> str:
    """The first parts that all names share."""
    columns = zip(*(name.split(".") for name in names), strict=False)
    return ".".join(part[0] for part in takewhile(lambda part: len(set(part)) == 1, columns)) if len(names) > 1 else ""


def _form(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if not path.is_file():
        return "by name"
    with open_regular(path) as file:
        begin = file.read(16)
    if begin.startswith(b"\x89HDF"):
        return "HDF5"
    if begin[8:9] == b"{":
        return "safetensors"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = archive.namelist()
        if "model.weights.h5" in inside:
            return "a Keras archive"
        if any(name.endswith("data.pkl") for name in inside):
            scripted = any("/code/" in name for name in inside)
            return "a TorchScript archive" if scripted else "a torch checkpoint"
        return "a zip archive"
    return "a torch checkpoint as before version 1.6" if b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in begin else "a pickle"


def _stages(layers: list[Layer]) -> tuple[str, ...]:
    """`16: 7 of 3x3` for every number of channels that convolutions give, in the order in which they appear."""
    kinds: dict[int, Counter[str]] = {}
    for layer in layers:
        if layer.kind == "weighted" and len(layer.shape) == 4:
            kinds.setdefault(layer.shape[0], Counter())[f"{layer.shape[2]}x{layer.shape[3]}"] += 1
    return tuple(
        f"{width}: " + ", ".join(f"{count} of {kernel}" for kernel, count in found.items())
        for width, found in kinds.items()
    )


def _values(tensors: Mapping[str, Tensor]) -> TensorSummary:
    plain = {name: t for name, t in tensors.items() if not name.endswith(TRACKED)}
    return TensorSummary(
        not_finite=sum(t.is_floating_point() and not bool(torch.isfinite(t).all()) for t in plain.values()),
        negative_variances=sum("var" in name.rpartition(".")[2] and bool((t < 0).any()) for name, t in plain.items()),
        integers=sum(not t.is_floating_point() for t in plain.values()),
    )
