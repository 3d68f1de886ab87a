"""Pickled files read without running them: what a pickle would call is never called, what it would import stays a name.

Plain containers, tensors and numpy's arrays are put together from what the file holds; every other class or function
is a `Thing`, its name with what it would have been given. So the tensors of a checkpoint that holds a Namespace, or of
a whole pickled module, can be taken out, and a hostile file has nothing to call.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.reading import reading
from deepres.nn.weights.inert import CallTable, Machine, Thing, as_key, call

_MAGIC = 0x1950A86A20F9469CFC6C  # the first number of a file as torch wrote them before 1.6
_EXPANDED = 2**24  # elements that a tensor may have beyond those of its storage: expanded ones are small
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


def read_pickled(path: Path) -> Any:
    """What `torch.save` or `pickle.dump` wrote: dicts, lists, tuples, numbers, texts, tensors, `Thing`s for the rest.

    Both of torch's formats, TorchScript's archives, and plain pickles. An OrderedDict, defaultdict or Counter is a
    dict, a set a list, a Parameter its tensor, an array of numpy's a tensor.

    Raises:
        InputError: not a whole pickle; or it names a function that only an attack has a use for (`os.system`).
    """
    with reading(path, "a whole torch checkpoint", "copy or save it again"):
        if zipfile.is_zipfile(path):
            return _settled(_zipped(path))
        with open_regular(path) as file:
            if file.read(4) == b"PK\x03\x04":
                raise InputError(f"{path}: cut short, its end is missing; download or copy it again")
            file.seek(0)
            return _settled(_plain(file, str(path), path.stat().st_size))


class ModuleTensors(dict[str, Tensor]):
    """A pickled module's tensors; `module` is its class, which says what it computes and is never run."""

    module: str


def module_tensors(found: object) -> ModuleTensors | None:
    """Parameters and buffers of a pickled module (`torch.save(model)`, TorchScript) by dotted names, in its order.

    None where `found` is no pickled module. Buffers that a state_dict leaves out are left out.
    """
    if not isinstance(found, Thing) or not isinstance(found.state, Mapping):
        return None
    tensors = ModuleTensors(_of_module(found, "", ()))
    tensors.module = found.name
    return tensors or None


def _of_module(module: Thing, prefix: str, above: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    state = module.state
    if id(module) in above or not isinstance(state, Mapping):
        return
    if len(above) > 100:
        raise InputError(f"a pickled module nested deeper than 100 at {prefix}: no network is")
    scripted = "_modules" not in state  # TorchScript keeps tensors and modules side by side
    hidden = state.get("_non_persistent_buffers_set") or ()
    parts = [state] if scripted else [state.get(kind) or {} for kind in ("_parameters", "_buffers", "_modules")]
    for part in parts:
        for name, value in part.items() if isinstance(part, Mapping) else ():
            if isinstance(value, Tensor) and name not in hidden:
                yield f"{prefix}{name}", value
            elif isinstance(value, Thing) and not str(name).startswith("_"):
                yield from _of_module(value, f"{prefix}{name}.", (*above, id(module)))


def _settled(found: Any) -> Any:
    """The same with numpy's arrays as tensors, wherever plain containers hold them."""
    done: dict[int, Any] = {}
    waiting = [found]
    while waiting:  # no recursion: a file may nest as deep as it likes
        value = waiting.pop()
        if id(value) in done or not isinstance(value, dict | list | Thing):
            continue
        done[id(value)] = value
        for key, item in _entries(value):
            made = _array(item) if isinstance(item, Thing) else item
            if made is not item:
                if isinstance(value, Thing):
                    value.state = made
                else:
                    value[key] = made
            waiting.append(made)
    return _array(found) if isinstance(found, Thing) else found


def _entries(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Thing):
        return [("state", value.state)]
    return list(value.items() if isinstance(value, dict) else enumerate(value))


def _array(thing: Thing) -> Any:
    """numpy's array or number as a tensor; anything else as it is."""
    last = thing.name.rpartition(".")[2]
    if not thing.name.startswith("numpy") or last not in ("_reconstruct", "_frombuffer", "scalar"):
        return thing
    try:
        if last == "scalar":
            kind, raw = thing.made_with or (None, b"")
            return torch.from_numpy(np.frombuffer(raw, _dtype(kind)).reshape(()).copy())
        if last == "_frombuffer":
            raw, kind, shape, order = thing.made_with or ()
        else:
            _, shape, kind, by_columns, raw = thing.state
            order = "F" if by_columns else "C"
        values = np.frombuffer(raw, _dtype(kind)).reshape(shape, order=order)
        return torch.from_numpy(np.ascontiguousarray(values).reshape(shape).astype(values.dtype.newbyteorder("=")))
    except (TypeError, ValueError):
        return thing  # of objects or texts


def _dtype(kind: Any) -> np.dtype[Any]:
    code = str(kind.made_with[0])
    if code[:1] not in "fiub":
        raise ValueError(code)
    return np.dtype(code).newbyteorder(">" if isinstance(kind.state, tuple) and kind.state[1] == ">" else "<")


def _zipped(path: Path) -> Any:
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        inside = next((name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"), None)
        if inside is None:
            raise InputError(f"{path}: a zip archive without data.pkl, no torch checkpoint; save the state_dict")
        folder, loaded = inside.removesuffix("data.pkl"), {}
        size = path.stat().st_size

        def record(name: str) -> zipfile.ZipInfo:
            info = archive.getinfo(name)
            if info.file_size > size:
                raise ValueError(f"{name} unpacks to more than the file")
            return info

        if f"{folder}byteorder" in archive.namelist() and archive.read(record(f"{folder}byteorder")) == b"big":
            raise InputError(f"{path}: written on a big-endian machine; load and save it there as .safetensors")

        def storage(said: tuple[Any, ...]) -> Tensor:
            kind, key, numel = said[1], str(said[2]), said[4]
            if key not in loaded:
                info = record(f"{folder}data/{key}")
                dtype = _storage_type(kind)
                if dtype.itemsize * numel != info.file_size:
                    raise ValueError(f"{info.filename} has {info.file_size} bytes, not {dtype.itemsize * numel}")
                loaded[key] = _flat(archive.read(info), dtype)
            return loaded[key]

        return Machine(str(path), _TABLE, _referring(storage)).run(io.BytesIO(archive.read(record(inside))))


def _plain(file: BinaryIO, where: str, size: int) -> Any:
    """torch's format before 1.6 (number, version, system, the pickle, keys of storages, storages); or one pickle."""
    kept: dict[str, Tensor] = {}

    def storage(said: tuple[Any, ...]) -> Tensor:
        kind, key, numel = said[1], str(said[2]), said[4]
        if key not in kept:
            dtype = _storage_type(kind)
            if not 0 <= dtype.itemsize * numel <= size:
                raise ValueError(f"a storage of {numel} numbers in {size} bytes")
            kept[key] = torch.empty(numel, dtype=dtype)
        view = said[5] if len(said) > 5 else None
        return kept[key] if view is None else kept[key][view[1] : view[1] + view[2]]

    alone = Machine(where, _TABLE, _referring(None))
    first = alone.run(file)
    if first != _MAGIC:
        return first
    version, system = (alone.run(file) for _ in range(2))
    if version != 1001 or not system.get("little_endian", True):
        raise InputError(f"{where}: torch's format {version} of a machine of another kind; save it anew")
    found = Machine(where, _TABLE, _referring(storage)).run(file)
    for key in alone.run(file):
        (numel,) = struct.unpack("<q", file.read(8))
        flat = kept[str(key)]
        if numel != flat.numel():
            raise ValueError(f"storage {key} has {numel} numbers, not {flat.numel()}")
        flat.copy_(_flat(file.read(flat.nbytes), flat.dtype, numel))
    return found


def _referring(storage: Callable[[tuple[Any, ...]], Tensor] | None) -> Callable[[Any], Any]:
    def referred(said: Any) -> Any:
        if isinstance(said, tuple) and said[:1] == ("module",):
            return said[1]  # old files carry the source of their classes along; it is not read
        if storage is None or not isinstance(said, tuple) or said[:1] != ("storage",):
            raise ValueError("a reference to something outside of the file")
        return storage(said)

    return referred


def _storage_type(kind: Any) -> torch.dtype:
    name = kind.name.rpartition(".")[2] if isinstance(kind, Thing) else str(kind)
    if name not in _STORAGES:
        raise ValueError(f"{name} is no storage of plain numbers")
    return _STORAGES[name]


def _flat(content: bytes, dtype: torch.dtype, numel: int | None = None) -> Tensor:
    if numel is not None and len(content) != numel * dtype.itemsize:
        raise EOFError("the file ends in the middle of a tensor")
    return torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)


def _strided(flat: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(flat, Tensor) or math.prod(size) > max(flat.numel(), _EXPANDED):
        raise ValueError(f"a tensor of {tuple(size)} from fewer numbers")
    return torch.as_strided(flat, tuple(size), tuple(stride), offset)


def _typed(flat: Tensor, offset: int, size: Any, stride: Any, _: Any, __: Any, dtype: Thing, *___: Any) -> Tensor:
    return _strided(flat.view(getattr(torch, dtype.name.rpartition(".")[2])), offset, size, stride)


def _of_bytes(content: bytes, *_: Any) -> Any:
    return _plain(io.BytesIO(content), "a pickled storage", len(content))


def _pairs(*arguments: Any) -> dict[Any, Any]:
    given = next((a for a in arguments if isinstance(a, list | dict)), [])
    return {as_key(key): value for key, value in (given.items() if isinstance(given, dict) else given)}


_TABLE: CallTable = {
    "torch._utils._rebuild_tensor": _strided,
    "torch._utils._rebuild_tensor_v2": _strided,
    "torch._utils._rebuild_tensor_v3": _typed,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._tensor._rebuild_from_type_v2": lambda make, _, arguments, *__: call(_TABLE, make, arguments),
    "torch._tensor._rebuild_from_type": lambda make, _, arguments, *__: call(_TABLE, make, arguments),
    "torch.nn.parameter.Parameter": lambda tensor=None, *_: tensor,
    "torch.storage._load_from_bytes": _of_bytes,
    "torch.storage.TypedStorage": lambda *given: given[0] if given else Thing("torch.storage.TypedStorage", ()),
    "torch.Size": lambda size=(): tuple(size),
    "torch.jit._pickle.restore_type_tag": lambda value, *_: value,
    **{f"torch.jit._pickle.build_{kind}list": list for kind in ("int", "double", "bool", "tensor")},
    **{f"collections.{kind}": _pairs for kind in ("OrderedDict", "defaultdict", "Counter")},
    **{f"{home}.{kind}": list for home in ("builtins", "__builtin__") for kind in ("set", "frozenset", "list")},
    "_codecs.encode": lambda text, coding="latin1": str(text).encode("latin1" if coding == "latin1" else "utf-8"),
}
