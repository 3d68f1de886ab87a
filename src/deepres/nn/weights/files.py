"""Weights in and out: safetensors beside a `config.json` in timm's hub layout; nothing is ever unpickled."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from deepres.arch.architecture import Architecture
from deepres.arch.detector import Description, Detector
from deepres.base import npz
from deepres.base.errors import InputError
from deepres.base.files import open_regular, write_atomic
from deepres.base.manifest import require_own, require_vouched
from deepres.base.reading import reading
from deepres.base.records import fields_of
from deepres.base.version import VERSION
from deepres.nn.build import ResidualNetwork
from deepres.nn.init import initialise
from deepres.nn.model import told_by
from deepres.nn.weights.card import NAMING
from deepres.nn.weights.checkpoints import ALL, TensorChoice, chosen
from deepres.nn.weights.convert import known_as, names_in, to_foreign
from deepres.nn.weights.folders import FILES, said_by, tensors_beside, undescribed
from deepres.nn.weights.formats import CONFIG, Checkpoint, Preprocessing, built, preprocessing_config
from deepres.nn.weights.keras import TOPOLOGY, is_keras, read_keras
from deepres.nn.weights.pickles import read_pickled
from deepres.nn.weights.sound import require_sound

WEIGHTS = FILES[0]
_PARAMETRIZED = ("parametrized", "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')")
_NO_WEIGHTS = {
    b"": "an empty file; copy it again",
    b"\x1f\x8b": "compressed by gzip; unpack it and give what is inside",
    b"BZh": "compressed by bzip2; unpack it and give what is inside",
    b"\xfd7zXZ": "compressed by xz; unpack it and give what is inside",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
    b"<": "a page of the web, not weights; download the file itself",
    b"{": "a text (JSON), not weights; is it the answer of a server? download the file itself",
    b"\x89HDF": "HDF5; Keras's are read if they are called .h5",
}
"""How files begin that are no weights as they are, and what to do."""
_PARTS = {
    "weight_mask": ("pruned", "torch.nn.utils.prune.remove(layer, 'weight')"),
    "parametrizations.weight.original": _PARAMETRIZED,
    "parametrizations.weight.original0": _PARAMETRIZED,
    "weight_g": ("weight-normalised", "torch.nn.utils.remove_weight_norm(layer)"),
    "weight_u": ("spectrally normalised", "torch.nn.utils.remove_spectral_norm(layer)"),
}
"""How torch calls a part of a weight -> what makes it so, and what puts the parts together."""
ROWS = 12  # of the table of tensors that do not fit


def save_network(
    folder: Path,
    network: nn.Module,
    classes: tuple[str, ...],
    preparation: Mapping[str, Any],
    preprocessing: Preprocessing | None = None,
    task: Mapping[str, Any] | None = None,
    license: str | None = None,
) -> None:
    """Write `model.safetensors` and `config.json`: all that building, naming and preparing an image needs.

    A network that timm has (`foreign.TIMM`) is written under timm's names, so that
    `timm.create_model("local-dir:FOLDER", pretrained=True)` is this network; any other under ours. The description
    stands in both files. `preparation` is kept as it is under the key `deepres`, which timm leaves alone;
    `preprocessing` is what timm is told of it, `task` what the outputs mean (`tasks/kinds.py`), `license` what hubs
    are told of the weights.
    """
    told, tensors = told_by(network), dict(network.state_dict())
    description = told.description
    theirs = None if isinstance(description, Detector) else known_as(description)
    named = tensors
    if theirs is not None and isinstance(description, Architecture):
        named = to_foreign(tensors, description, "timm")
    write_atomic(folder / WEIGHTS, _in_order(save(_plain(named), metadata=_metadata(description))))
    pooled: dict[str, Any] = {}
    if isinstance(network, ResidualNetwork):
        pooled = {"num_features": network.num_features, "global_pool": "avg"}
    cfg = None
    if isinstance(description, Architecture) and (theirs is not None or preprocessing is not None):
        cfg = _timm_cfg(preprocessing, description, classes)
    config = {
        "architecture": theirs or description.name,
        "num_classes": told.num_classes,
        **pooled,
        "label_names": list(classes),
        **(_numbered(classes) if (task or {}).get("kind", "classification") in NAMING else {}),
        **({} if license is None else {"license": license}),
        **({} if description.input[0] == 3 else {"model_args": {"in_chans": description.input[0]}}),
        **({} if cfg is None else {"pretrained_cfg": cfg}),
        "deepres": {
            "version": VERSION,
            "tensor_names": "deepres" if theirs is None else "timm",
            "network": description.model_dump(mode="json"),
            "preparation": dict(preparation),
            **({} if task is None else {"task": dict(task)}),
        },
    }
    write_atomic(folder / CONFIG, json.dumps(config, indent=1) + "\n")


def _numbered(classes: tuple[str, ...]) -> dict[str, Any]:
    """Names by number and numbers by name, as transformers has them."""
    numbered = {str(number): name for number, name in enumerate(classes)}
    return (
        {"id2label": numbered, "label2id": {name: int(number) for number, name in numbered.items()}} if classes else {}
    )


def read_stored(path: Path, choice: TensorChoice = ALL) -> Checkpoint:
    """The weights in a file, or in a folder with what its `config.json` (or Keras's `model.json`) says.

    `choice` says which of several sets a file's are, and what in it is left out.

    Raises:
        InputError: nothing there, or nothing that can be read as weights.
    """
    keras = next((file for file in (path, path / TOPOLOGY) if is_keras(file)), None)
    if choice != ALL and (keras or path.is_dir()):
        raise InputError(f"{path}: its tensors are known, none of them is chosen or left out; wanted {path} alone")
    if keras:
        return read_keras(keras)
    if path.is_dir():
        if not (path / CONFIG).is_file():
            require_own(path, CONFIG)
            raise undescribed(path)
        require_own(path, CONFIG, WEIGHTS)
        return replace(said_by(path), tensors=tensors_beside(path, read_tensors))
    require_vouched(path)
    return Checkpoint(str(path), read_tensors(path, choice), _description_in(path))


def read_tensors(path: Path, choice: TensorChoice = ALL) -> dict[str, Tensor]:
    """Named tensors of a safetensors file, a torch checkpoint or an .npz, by what it holds, whatever it is called.

    Nothing in a checkpoint is run (`pickles.read_pickled`). Of several sets of weights in it `choice` says which.

    Raises:
        InputError: the file is absent, truncated, no weight file, or has several sets of weights.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a model.safetensors, a torch checkpoint or a run folder")
    if path.suffix in (".onnx", ".pt2", ".xml"):
        raise InputError(f"{path}: an exported file, which eval, predict and compare take; here name the run it is of")
    try:
        with open_regular(path) as file:
            begin = file.read(64)
    except OSError as cause:
        raise InputError(
            f"{path}: cannot be read ({cause.strerror}); mend its permissions, or copy it again"
        ) from cause
    if (other := _no_weights(begin)) is not None:
        raise InputError(f"{path}: {other}")
    with reading(path, "a whole file of weights", "copy or save it again"):
        if path.suffix == ".safetensors" or begin[8:9] == b"{":
            return chosen(_safetensors(path), choice, str(path))
        if _is_npz(path):
            return chosen(_npz(path), choice, str(path))
        return chosen(read_pickled(path), choice, str(path))


def _no_weights(begin: bytes) -> str | None:
    """What a file that begins so is, where it is no weights; blanks before a text, and its mark, count for nothing."""
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, told in _NO_WEIGHTS.items():
        if (text if magic in (b"<", b"{") else begin).startswith(magic) and (magic or not begin):
            return told
    words = text.split(b"\n")[0].strip()
    if len(words) > 3 and all(32 <= letter < 127 for letter in words) and b" " in words:
        return f'a text ("{words[:40].decode()}"), not weights; is it the answer of a server? download the file itself'
    return None


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except Exception:  # no zip, or a broken one: told by whoever reads it as what it is
        return False


def _safetensors(path: Path) -> dict[str, Tensor]:
    with reading(path, "a whole safetensors file", "copy or save it again"):
        return load_file(path, backend="pread")  # of its other way, two numbers of each tensor stay for ever


def _npz(path: Path) -> dict[str, Tensor]:
    with npz.opened(path, path, "a whole .npz of arrays", "save it again") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.names if arrays.kind(name) in "fiub"}


def load_state(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put `tensors`, under our names, into the network, all or none.

    Raises:
        InputError: the numbers of classes differ; or tensors are missing, unexpected or of another shape: a line, and a
            table of the first of them; or values that no trained network has (`sound.require_sound`).
    """
    wanted = network.state_dict()
    given = {name: tensor for name, tensor in tensors.items() if name in wanted or not name.endswith("batches_tracked")}
    names = [*wanted, *(name for name in given if name not in wanted)]
    shapes = {name: (_shape(wanted.get(name)), _shape(given.get(name))) for name in names}
    faults = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    if faults and all(
        name.startswith("head.") and "-" not in pair and given[name].dim() for name, pair in faults.items()
    ):
        have, want = (len(t[next(iter(faults))]) for t in (given, wanted))
        raise InputError(
            f"{where}: these weights know {have} classes, the network has {want}; build it with num_classes={have}, "
            "or with new_head=True for classes of your own"
        )
    if faults:
        _require_whole(faults, where)
        raise _misfit(where, faults)
    require_sound(given, wanted, where)
    if any(tensor.is_meta for tensor in wanted.values()):
        initialise(network, seed=0)
    network.load_state_dict(given)


def _require_whole(faults: Mapping[str, tuple[str, str]], where: str) -> None:
    """Refuse weights that are computed from parts of them, by what torch calls the parts."""
    for part in faults:
        for ending, (kind, remedy) in _PARTS.items():
            if part.endswith(ending):
                raise InputError(
                    f"{where}: {part} is a part of a weight, not the weight: the layers are {kind}; "
                    f"make them whole before saving, with {remedy} of each layer"
                )


def _misfit(where: str, faults: Mapping[str, tuple[str, str]]) -> InputError:
    kinds = {"missing": 0, "unexpected": 0, "of another shape": 0}
    for want, have in faults.values():
        kinds["missing" if have == "-" else "unexpected" if want == "-" else "of another shape"] += 1
    told = ", ".join(f"{count} {what}" for what, count in kinds.items() if count)
    rows = [("tensor", "wanted", "given"), *((name, *pair) for name, pair in list(faults.items())[:ROWS])]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {name:<{wide[0]}}  {want:<{wide[1]}}  {have}" for name, want, have in rows]
    rest = [f"  … and {len(faults) - ROWS} more"] if len(faults) > ROWS else []
    return InputError(
        f"{where}: the weights do not fit the network, nothing was loaded: {told}; "
        "choose the network they were saved from",
        table=[*lines, *rest],
    )


def _shape(tensor: Tensor | None) -> str:
    return "-" if tensor is None else "x".join(map(str, tensor.shape)) or "number"


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _metadata(description: Description) -> dict[str, str]:
    return {"format": "pt", "deepres": description.model_dump_json()}


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata sorted: safetensors writes them in any order, and the digest changes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def _timm_cfg(
    preprocessing: Preprocessing | None, description: Architecture, classes: tuple[str, ...]
) -> dict[str, Any]:
    names = names_in("timm" if known_as(description) else "deepres", description)
    layers = [names[name].removesuffix(".weight") for name in names if name.endswith(".weight")]
    sees: dict[str, Any] = {"input_size": list(description.input), "num_classes": description.num_classes}
    return {
        **(sees if preprocessing is None else preprocessing_config(preprocessing, description, classes)),
        "first_conv": layers[0],
        "classifier": layers[-1] if description.num_classes else None,
    }


def _description_in(path: Path) -> Description | None:
    with open_regular(path) as opened:
        if path.suffix != ".safetensors" and opened.read(9)[8:] != b"{":
            return None
    with (
        reading(path, "a whole safetensors file", "copy or save it again"),
        safetensors.safe_open(path, framework="pt") as file,
    ):
        text = (file.metadata() or {}).get("deepres")
    return None if text is None else built(fields_of(text, str(path)), str(path))
