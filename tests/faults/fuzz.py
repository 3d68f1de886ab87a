"""Every reader of what comes from outside, a valid file for each, and ways to damage files: what fuzzing goes over.

Whoever adds a reader adds it to `readers()`. A reader may give what the file says or refuse it in one line
(`DeepresError`); anything else is a fault.
"""

import csv
import gzip
import io
import json
import os
import pickle
import random
import re
import resource
import shutil
import stat
import struct
import tarfile
import threading
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from deepres.arch.families.resnet import ResNetConfig
from deepres.base import records
from deepres.base.errors import DeepresError
from deepres.data.facts import DatasetFacts
from deepres.data.sources.arrays import read_npz
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folders import read_folder
from deepres.data.sources.named import fashion_mnist
from deepres.data.sources.open import find
from deepres.data.sources.packed import HEADER, INDEX, read_packed
from deepres.data.sources.shards import read_shards
from deepres.data.sources.splits import RawDataset, arrange
from deepres.data.sources.tables import read_table
from deepres.data.transforms.statistics import Statistics, imagenet_statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import read_stored, read_tensors, save_network
from deepres.nn.weights.folders import said_by
from deepres.nn.weights.folds import fold_folders
from deepres.nn.weights.hub import find_weights
from deepres.nn.weights.inspection import inspect
from deepres.nn.weights.keras import read_keras
from deepres.predict.predictor import Predictor
from deepres.recipes.everyday import small
from deepres.recipes.run import Run
from deepres.runs.classes_of import class_names
from deepres.runs.logbook import SESSIONS, sessions
from deepres.tasks.classification.predictions import load_answers
from deepres.train.history import HISTORY, read_history

PATIENCE = 5.0
"""Seconds after which who waits at a pipe hangs."""


class Reader(NamedTuple):
    """`write_valid(folder)` writes what is read and gives the file to be damaged, which `read(file)` reads.

    It takes `cost` times as long as most, and is tried so many times less; `slow`: something is trained first.
    """

    name: str
    write_valid: Callable[[Path], Path]
    read: Callable[[Path], object]
    cost: int = 1
    slow: bool = False


class Fault(NamedTuple):
    """A damaged file that was neither read nor refused in one line."""

    reader: str
    seed: int
    told: str


def fuzzed(reader: Reader, folder: Path, count: int, seed: int = 0) -> tuple[int, int, list[Fault]]:
    """How many of `count` damaged files were read and refused, and the faults; `folder` is empty and is written to."""
    count = max(1, count // reader.cost)
    file = reader.write_valid(folder)
    reader.read(file)  # a valid file is read
    whole, was = file.read_bytes(), [0, 0]
    faults = []
    for number in range(seed, seed + count):
        file.write_bytes(damaged(whole, random.Random(number)))
        told = outcome(reader, file)
        if told in ("read", "refused"):
            was[told == "refused"] += 1
        else:
            faults.append(Fault(reader.name, number, told))
    file.write_bytes(whole)
    return was[0], was[1], faults


STAND_INS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda place: None,
    "a folder": lambda place: place.mkdir(),
    "a pipe": lambda place: os.mkfifo(place),
    "a link to itself": lambda place: place.symlink_to(place.name),
    "a link to nothing": lambda place: place.symlink_to("nowhere"),
    "an endless device": lambda place: place.symlink_to("/dev/zero"),
    "4 TiB of nothing": lambda place: _sparse(place, 2**42),
}
"""What else may lie under a file's name."""

LARGE = (
    ".safetensors",
    ".pth",
    ".pkl",
    ".npz",
    ".h5",
    ".keras",
    ".tar",
    ".zip",
    ".gz",
    ".mp4",
    ".avi",
    ".mkv",
    ".webm",
)
"""What may well be large, and is read from one end to the other."""


def _sparse(place: Path, size: int) -> None:
    place.touch()
    os.truncate(place, size)


def replaced(reader: Reader, folder: Path) -> Iterator[tuple[str, str]]:
    """By stand-in what came of it; `folder` is empty and is written to."""
    file = reader.write_valid(folder)
    whole = file.read_bytes()
    for name, put in STAND_INS.items():
        if name == "4 TiB of nothing" and file.suffix in LARGE:
            continue
        file.unlink()
        put(file)
        with bounded(file) as late:
            told = outcome(reader, file)
        yield name, "hangs" if late else told
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
        file.write_bytes(whole)


@contextmanager
def bounded(file: Path) -> Iterator[list[str]]:
    """Who waits at a pipe for longer than some seconds is let go, and told; memory ends 1 GiB further on."""
    late, ended = list[str](), threading.Event()

    def let_go() -> None:
        while not ended.wait(PATIENCE):
            with suppress(OSError):
                if not stat.S_ISFIFO(file.stat().st_mode):
                    continue
                os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
                late.append("waited at a pipe")

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = 1024 * int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]
    thread = threading.Thread(target=let_go, daemon=True)
    thread.start()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    try:
        yield late
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        ended.set()
        thread.join()


def outcome(reader: Reader, file: Path) -> str:
    """`read`, `refused`, or what was wrong: a traceback, or a refusal of several lines."""
    try:
        reader.read(file)
    except DeepresError as refusal:
        return "refused" if refusal.message and "\n" not in refusal.message else f"lines: {refusal.message}"
    except Exception:
        return traceback.format_exc()
    return "read"


# damage

_VALUES: list[Any] = [
    *(None, True, -1, 0, 10**9, 2**63, 10**40, 0.5, 1e308, float("inf"), float("nan"), "", "x" * 300, "\0", "../../x"),
    *([], {}, [[]], {"": None}, [1] * 1000, "\ud800", "/dev/null", "1", "0", [None], {"0": "a", "00": "b"}),
]
_NUMBERS = [b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x00" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f"]


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with one to three faults, often in the middle of what its container holds."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = _inside(content, draw) if draw.random() < 0.6 else _bytes(content, draw)
    return content


def _bytes(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    end = min(len(content), at + draw.choice((1, 2, 8, 64)))
    way = draw.randrange(8)
    if way == 0:
        return content[:at]
    if way == 1:
        return content[:at] + content[end:]
    if way == 2:
        return content[:at] + content[at:end] * draw.choice((2, 50)) + content[end:]
    if way == 3:
        return content[:at] + draw.choice(_NUMBERS) + content[at + 4 :]
    if way == 4:
        return content[:at] + draw.randbytes(end - at) + content[end:]
    if way == 5:
        return content[:at] + draw.choice((b"9" * 5000, b"-1", b"\xff\xfe", b"[" * 3000, b"\r\n\r\n")) + content[at:]
    if way == 6:
        digits = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
        at = draw.choice(digits) if digits else 0
        return content[:at] + draw.choice((b"999999999999", b"-", b"1e999", b"0")) + content[at + 1 :]
    flipped = bytearray(content)
    for place in range(at, end):
        flipped[place] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def _inside(content: bytes, draw: random.Random) -> bytes:
    """Damage that a container's own checks let through: a value of its JSON, a member of its zip, a table's cell."""
    try:
        if content.startswith(b"PK"):
            return _zip(content, draw)
        if content[8:9] == b"{":
            end = 8 + int.from_bytes(content[:8], "little")
            header = _json(content[8:end], draw)
            return len(header).to_bytes(8, "little") + header + content[end:]
        if content.startswith((b"{", b"[")):
            return _json(content, draw)
        if content.startswith(b"\x1f\x8b"):
            return gzip.compress(_bytes(gzip.decompress(content), draw))
    except Exception:  # damaged before
        return _bytes(content, draw)
    return _bytes(content, draw)


def _json(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines() if content.count(b"\n{") else [content]
    at = draw.randrange(len(lines))
    value = _edited(json.loads(lines[at]), draw)
    text = json.dumps(value).replace('"DEEP"', "[" * 20_000).replace('"LONG"', "1" * 5000)
    lines[at] = text.encode()
    return b"\n".join(lines)


def _edited(value: Any, draw: random.Random) -> Any:
    """One place of the tree is another value, is missing, stands twice or has another name."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(list(value))
        way = draw.random()
        if way < 0.1:
            return {key: each for key, each in value.items() if key != name}
        if way < 0.2:
            return {(f"{key}x" if key == name else key): each for key, each in value.items()}
        return {key: (_edited(each, draw) if key == name else each) for key, each in value.items()}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        return [*value[:at], *([_edited(value[at], draw)] if draw.random() < 0.8 else []), *value[at + 1 :]]
    return draw.choice([*_VALUES, "DEEP", "LONG", -value if type(value) in (int, float) else value])


def _zip(content: bytes, draw: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    at = draw.randrange(len(members))
    way = draw.random()
    if way < 0.1:
        del members[at]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for number, (info, inside) in enumerate(members):
            new = damaged(inside, draw) if number == at and way < 0.8 else inside
            name = f"{info.filename}.x" if number == at and way > 0.9 else info.filename
            archive.writestr(name, _npy(inside, draw) if number == at and way > 0.6 and inside[:1] == b"\x93" else new)
    return out.getvalue()


def _npy(content: bytes, draw: random.Random) -> bytes:
    """An array of another type or shape that is whole."""
    values = np.load(io.BytesIO(content), allow_pickle=False)
    other = draw.choice(
        [
            lambda: values.astype("U8"),
            lambda: values[:0],
            lambda: values[..., None],
            lambda: np.concatenate([values.ravel()] * 2),
            lambda: np.full(values.shape, 10**9, dtype=np.int64),
            lambda: np.full(values.shape, -1, dtype=np.int64),
            lambda: np.full(values.shape, np.nan),
            lambda: np.full(values.shape, 2**64 - 1, dtype=np.uint64),
            lambda: np.full(values.shape, "2020-01-01", dtype="datetime64[D]"),
            lambda: np.zeros((), dtype=complex),
        ]
    )()
    out = io.BytesIO()
    np.save(out, other)
    return out.getvalue()


# the readers


def readers() -> list[Reader]:
    """One for each kind of file that deepres reads and did not write a moment ago."""
    from readers_of_answers import readers_of_answers
    from readers_of_boxes import readers_of_boxes
    from readers_of_exports import readers_of_exports
    from readers_of_pictures import readers_of_pictures
    from readers_of_runs import readers_of_runs
    from readers_of_services import readers_of_services
    from readers_of_tasks import readers_of_tasks

    return [
        *readers_of_runs(),
        *readers_of_tasks(),
        *readers_of_pictures(),
        *readers_of_answers(),
        *readers_of_boxes(),
        *readers_of_services(),
        *(readers_of_exports() if find_spec("onnx") and find_spec("openvino") else []),
        Reader("our config.json", _ours("config.json"), _predictor),
        Reader("list of classes", _listed, class_names),
        Reader("our model.safetensors", _ours("model.safetensors"), _predictor),
        Reader("timm config.json", _written("config.json", _TIMM), lambda file: said_by(file.parent)),
        Reader("transformers config.json", _written("config.json", _TRANSFORMERS), lambda file: said_by(file.parent)),
        Reader("transformers preprocessor", _preprocessor, lambda file: said_by(file.parent)),
        Reader("index of tensors", _indexed, lambda file: read_stored(file.parent)),
        Reader("safetensors", _tensors("w.safetensors", save_file), _inspected),
        Reader("torch checkpoint", _tensors("w.pth", torch.save), _inspected),
        Reader("torch checkpoint before 1.6", _tensors("w.pth", _legacy), read_tensors),
        Reader("pickle", _tensors("w.pkl", _pickled), read_tensors),
        Reader("weights in npz", _tensors("w.npz", _as_npz), read_tensors),
        Reader("TensorFlow.js", _tensorflow_js, lambda file: find_weights(file)),
        *(
            [Reader("HDF5", _hdf5, read_keras, 5), Reader("Keras archive", _keras, read_keras, 5)]
            if find_spec("h5py")
            else []
        ),
        Reader("images in npz", _npz, lambda file: _looked_at(read_npz(file))),
        Reader("table", _table("t.csv", ","), lambda file: _looked_at(read_table(file))),
        Reader("list", _table("t.txt", " "), lambda file: _looked_at(read_table(file))),
        Reader("zip of class folders", _zipped, lambda file: _looked_at(find(DataConfig(source=str(file))))),
        Reader("tar of class folders", _tarred, lambda file: _looked_at(find(DataConfig(source=str(file))))),
        Reader("shard", _shard, lambda file: _looked_at(read_shards(str(file)))),
        Reader("pack.json", _pack(HEADER), lambda file: _looked_at(read_packed(file.parent))),
        Reader("index of a pack", _pack(INDEX), _repacked),
        Reader("class index", _class_index, lambda file: _looked_at(read_folder(file.parent))),
        Reader("labels of val/", _solution, lambda file: _looked_at(read_folder(file.parent))),
        Reader("idx of Fashion-MNIST", _idx, lambda file: _looked_at(fashion_mnist(file.parents[1]))),
        Reader("predictions", _predictions, load_answers),
        Reader("statistics", _statistics, Statistics.load),
        Reader("run.json", _run, lambda file: records.load(Run, file, "run description")),
        Reader("history.jsonl", _history, lambda file: read_history(file.parent)),
        Reader("sessions.jsonl", _logbook, lambda file: sessions(file.parent)),
        Reader("folds.json", _folds, lambda file: fold_folders(file.parent)),
    ]


_TIMM = {
    "architecture": "resnet18",
    "num_classes": 3,
    "num_features": 512,
    "label_names": ["a", "b", "c"],
    "pretrained_cfg": {
        "num_classes": 3,
        "input_size": [3, 64, 64],
        "crop_pct": 0.875,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
    },
}
_TRANSFORMERS = {
    "architectures": ["ResNetForImageClassification"],
    "model_type": "resnet",
    "depths": [1, 1],
    "hidden_sizes": [16, 32],
    "embedding_size": 8,
    "layer_type": "basic",
    "id2label": {"0": "a", "1": "b"},
    "num_channels": 3,
}
_CONVNEXT = {
    "image_processor_type": "ConvNextImageProcessor",
    "size": {"shortest_edge": 48},
    "crop_pct": 0.875,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.2, 0.2, 0.2],
    "rescale_factor": 1 / 255,
}


def _listed(folder: Path) -> Path:
    (folder / "classes.txt").write_text("n01440764 tench\ncat\na dog\n")
    return folder / "classes.txt"


def _written(name: str, facts: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(json.dumps(facts))
        return folder / name

    return write


@cache
def _tiny() -> Any:
    config = ResNetConfig(
        name="tiny", input=(3, 8, 8), num_classes=2, stem="cifar", stem_width=4, depths=(1,), widths=(4,)
    )
    return create_model(config.architecture(), seed=0)


def _ours(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        from deepres.data.transforms.config import Preparation

        save_network(folder, _tiny(), ("a", "b"), Preparation(resize=8, crop=8).model_dump(mode="json"))
        imagenet_statistics().save(folder / "statistics.safetensors")
        return folder / name

    return write


def _predictor(file: Path) -> None:
    Predictor.load(file.parent, torch.device("cpu"))


def _inspected(file: Path) -> None:
    inspect(file)
    read_stored(file)


def _preprocessor(folder: Path) -> Path:
    _written("config.json", _TRANSFORMERS)(folder)
    return _written("preprocessor_config.json", _CONVNEXT)(folder)


def _indexed(folder: Path) -> Path:
    _written("config.json", _TIMM)(folder)
    save_file({"a.weight": torch.zeros(2, 2, 1, 1)}, folder / "one.safetensors")
    save_file({"b.weight": torch.zeros(2, 2, 1, 1)}, folder / "two.safetensors")
    places = {"a.weight": "one.safetensors", "b.weight": "two.safetensors"}
    return _written("model.safetensors.index.json", {"metadata": {}, "weight_map": places})(folder)


def _tensors(name: str, save: Callable[..., object]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        save(dict(_tiny().state_dict()), folder / name)
        return folder / name

    return write


def _legacy(tensors: object, path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def _pickled(tensors: dict[str, torch.Tensor], path: Path) -> None:
    path.write_bytes(pickle.dumps({name: tensor.numpy() for name, tensor in tensors.items()}))


def _as_npz(tensors: dict[str, torch.Tensor], path: Path) -> None:
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})  # type: ignore[arg-type]


_KERAS = {"conv2d": {"kernel": (3, 3, 3, 4), "bias": (4,)}, "dense": {"kernel": (4, 2), "bias": (2,)}}


def _tensorflow_js(folder: Path) -> Path:
    weights = [
        {"name": f"{layer}/{leaf}", "shape": list(shape), "dtype": "float32"}
        for layer, leaves in _KERAS.items()
        for leaf, shape in leaves.items()
    ]
    count = sum(int(np.prod(shape)) for leaves in _KERAS.values() for shape in leaves.values())
    (folder / "one.bin").write_bytes(np.ones(count, "<f4").tobytes())
    return _written(
        "model.json",
        {
            "modelTopology": {"model_config": _keras_config()},
            "weightsManifest": [{"paths": ["one.bin"], "weights": weights}],
        },
    )(folder)


def _hdf5(folder: Path) -> Path:
    """Arrays of several layouts: as they are, in pieces, packed."""
    import h5py

    with h5py.File(folder / "w.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(_keras_config())
        for layer, leaves in _KERAS.items():
            for leaf, shape in leaves.items():
                pieces = {"chunks": True, "compression": "gzip", "fletcher32": True} if leaf == "kernel" else {}
                file.create_dataset(f"{layer}/{layer}/{leaf}:0", data=np.ones(shape, "<f4"), **pieces)
    return folder / "w.h5"


def _keras(folder: Path) -> Path:
    inside = _hdf5(folder)
    with zipfile.ZipFile(folder / "w.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(_keras_config()))
        archive.write(inside, "model.weights.h5")
    inside.unlink()
    return folder / "w.keras"


def _keras_config() -> dict[str, Any]:
    def layer(kind: str, name: str, **fields: object) -> dict[str, Any]:
        return {"class_name": kind, "config": {"name": name, **fields}}

    return {
        "config": {
            "layers": [
                layer("InputLayer", "input", batch_shape=[None, 8, 8, 3]),
                layer("Rescaling", "rescaling", scale=1 / 255, offset=0.0),
                layer("Conv2D", "conv2d", strides=[1, 1], padding="same", activation="relu"),
                layer("Dense", "dense", activation="softmax"),
            ]
        }
    }


def _looked_at(found: RawDataset) -> None:
    """What is done first with a source: split, and an image of each part opened."""
    for images in found.splits.values():
        images.image(0)
        images.name(len(images) - 1)
    arrange(found, "source", 0.2, 0.2, 0)


def _picture(number: int, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def _pictures(folder: Path, count: int = 8) -> list[Path]:
    found = []
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_picture(number))
        found.append(path)
    return found


def _npz(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3), dtype=np.uint8)
    np.savez(folder / "s.npz", x=pixels, y=np.arange(8) % 2, classes=np.array(["a", "b"]))
    return folder / "s.npz"


def _table(name: str, separator: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        rows = [f"{path.relative_to(folder)}{separator}{path.parent.name}\n" for path in _pictures(folder)]
        (folder / name).write_text("".join(["path,label\n", *rows] if separator == "," else rows))
        return folder / name

    return write


def _zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(8):
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", _picture(number))
    return folder / "s.zip"


def _into_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(content), {"comment": "é"} if name.startswith(("a/0", "000.png")) else {}
            tar.addfile(info, io.BytesIO(content))
    return path


def _tarred(folder: Path) -> Path:
    return _into_tar(folder / "s.tar", {f"{'ab'[number % 2]}/{number}.png": _picture(number) for number in range(8)})


def _shard(folder: Path) -> Path:
    members: dict[str, bytes] = {}
    for number in range(8):
        label = b"%d" % (number % 2)
        members[f"{number:03}.png"] = _picture(number)
        members[f"{number:03}.{'json' if number % 3 else 'cls'}"] = b'{"label": %s}' % label if number % 3 else label
    return _into_tar(folder / "s.tar", members)


def _pack(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        from deepres.data.sources.pack import pack

        _pictures(folder / "source")
        pack(read_folder(folder / "source"), folder / "packed")
        return folder / "packed" / name

    return write


def _repacked(file: Path) -> None:
    """An index whose digest the header has."""
    if not file.is_file():
        read_packed(file.parent)
        return
    header = json.loads((file.parent / HEADER).read_text())
    header["index_sha256"] = sha256(file.read_bytes()).hexdigest()
    (file.parent / HEADER).write_text(json.dumps(header))
    _looked_at(read_packed(file.parent))


def _class_index(folder: Path) -> Path:
    _pictures(folder)
    return _written("imagenet_class_index.json", {"0": ["a", "tench"], "1": ["b", "shark"]})(folder)


def _solution(folder: Path) -> Path:
    _pictures(folder / "train")
    (folder / "val").mkdir()
    rows = [["ImageId", "PredictionString"]]
    for number in range(4):
        (folder / "val" / f"v{number}.png").write_bytes(_picture(number))
        rows.append([f"v{number}", f"{'ab'[number % 2]} 1 2 3 4"])
    with (folder / "LOC_val_solution.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "LOC_val_solution.csv"


def _idx(folder: Path) -> Path:
    place = folder / "fashion-mnist"
    place.mkdir()
    for part in ("train", "t10k"):
        pixels = struct.pack(">HBB3I", 0, 8, 3, 20, 4, 4) + bytes(range(256))[:160] * 2
        labels = struct.pack(">HBBI", 0, 8, 1, 20) + bytes(number % 10 for number in range(20))
        (place / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(pixels))
        (place / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return place / "train-labels-idx1-ubyte.gz"


def _predictions(folder: Path) -> Path:
    number = np.arange(6)
    np.savez(
        folder / "p.npz",
        name=np.array([f"{each}.png" for each in number]),
        index=number,
        truth=number % 2,
        predicted=number % 3,
        rank=number % 2,
        about=np.array(json.dumps({"source": "s", "split": "test", "notes": ["n"], "plan": {"seed": 0, "facts": {}}})),
    )
    return folder / "p.npz"


def _statistics(folder: Path) -> Path:
    imagenet_statistics().save(folder / "statistics.safetensors")
    return folder / "statistics.safetensors"


def _run(folder: Path) -> Path:
    run = small(DatasetFacts(source="digits", num_classes=10, num_images=1000, channels=1, side=8))
    run.save(folder / "run.json")
    return folder / "run.json"


_ROW = {
    "epoch": 1,
    "step": 10,
    "train_loss": 1.0,
    "train_error": 0.5,
    "val_loss": None,
    "val_error": None,
    "best": True,
}


def _history(folder: Path) -> Path:
    rows = [
        json.dumps({**_ROW, "epoch": number, "step": 10 * number, "lr": 0.1, "seconds": 1.0}) for number in range(5)
    ]
    (folder / HISTORY).write_text("\n".join(rows) + "\n")
    return folder / HISTORY


def _folds(folder: Path) -> Path:
    for fold in (1, 2):
        (folder / f"fold-{fold}").mkdir()
    return _written("folds.json", {"folds": 2, "done": [1, 2]})(folder)


def _logbook(folder: Path) -> Path:
    (folder / SESSIONS).write_text("".join(json.dumps({"step": number, "began": "now"}) + "\n" for number in range(3)))
    return folder / SESSIONS
