"""A .pt2 file: read only if it can run nothing but tensors, asked by torch.

torch's own reader unpickles, evaluates texts as Python and looks names up in modules, all by what the file says. So a
file is looked through before: no pickle is in it, every operator is one of ATen's, every text that would be evaluated
is arithmetic on sizes. Files that we write are such; they hold no example, which would be a pickle.
"""

import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.base.extras import quiet
from deepres.base.files import open_regular
from deepres.base.reading import parse_json, reading, require_small
from deepres.predict.exported.bundle import Bundle, from_texts

FACTS = "deepres.json"
_WANTED = "a torch program that deepres export wrote"
_REMEDY = "copy or export it again"
_MOST_BYTES = 2**33
_PROGRAM = "models/model.json"
_RECORDS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|models/model\.json|extra/deepres\.json"
    r"|data/sample_inputs/model\.pt|data/(weights|constants)/(model_(weights|constants)_config\.json|(weight|tensor)_\d+)"
)
_TARGETS = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|torch\.ops\.higher_order\.while_loop|torch\.sym_(?:min|max)"
    r"|_operator\.(?:add|sub|mul|neg|floordiv|mod|getitem|ge|le|gt|lt|eq)"
)
"""Operators on tensors, arithmetic on sizes, and a loop, whose parts are graphs of the same."""
_SIZES = re.compile(
    r"(?:(?:Symbol|Integer|Add|Mul|Pow|Max|Min|FloorDiv|CleanDiv|Mod|PythonMod|(?:Strict)?(?:Less|Greater)Than)\("
    r"|'[su]\d+'|[su]\d+"
    r"|(?:positive|integer|nonnegative)=True|\d+|[-+*() ,]|//)*"
)
_KINDS = {
    *("as_tensor", "as_tensors", "as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_none"),
    *("as_scalar_type", "as_memory_format", "as_layout", "as_device", "as_sym_int", "as_sym_ints", "as_sym_bool"),
    *("as_expr", "as_name", "as_optional_tensors", "as_sym_float", "as_string", "as_graph"),
}
_TREES = {"builtins.tuple", "builtins.list", "builtins.dict", None}


@dataclass(frozen=True)
class Program:
    """Pictures uint8 (N, C, H, W) -> answers float32 (N, K), by torch on the CPU."""

    bundle: Bundle
    _run: Any
    _where: str
    note: str | None = None

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        answers = self.outputs(images)[0]
        if tuple(answers.shape) != (len(images), len(self.bundle.names)):
            raise InputError(f"{self._where}: answers of another shape than {len(self.bundle.names)} names; {_REMEDY}")
        if not bool(answers.isfinite().all()):
            raise RunError(f"{self._where}: answers that are not finite; the weights are broken")
        return answers.float()

    @torch.inference_mode()
    def outputs(self, images: Tensor) -> list[Tensor]:
        """All that the program gives."""
        with reading(self._where, "a program that answers these pictures", _REMEDY):
            found = self._run(images.cpu())
            found = [found] if isinstance(found, Tensor) else list(found)
            if len(found) != len(self.bundle.outputs) or not all(isinstance(each, Tensor) for each in found):
                raise ValueError(f"other outputs than {', '.join(self.bundle.outputs)}")
            return found

    def __str__(self) -> str:
        return f"torch {torch.__version__}, exported program, {self.bundle.precision}"


def read(path: Path) -> Program:
    """The file, ready to be asked.

    Raises:
        InputError: it is absent or broken, not ours, or could run something.
    """
    require_small(path, "torch program", _MOST_BYTES)
    where = str(path)
    with reading(path, _WANTED, _REMEDY), open_regular(path) as file:
        content = file.read()
    bundle = require_inert(content, where)
    with reading(path, _WANTED, _REMEDY), quiet():
        run = torch.export.load(io.BytesIO(content)).module()
    return Program(bundle, run, where)


def require_inert(content: bytes, where: str) -> Bundle:
    """What the file says of itself, if nothing in it is unpickled, evaluated or looked up but ATen's operators."""
    with reading(where, _WANTED, _REMEDY), zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(each.file_size for each in archive.infolist()) > 2 * len(content) + 2**20:
            raise ValueError("it would unpack to far more than it is")
        names = [each.filename for each in archive.infolist()]
        roots = {PurePosixPath(name).parts[0] for name in names}
        if len(roots) != 1 or len(set(names)) < len(names):
            raise ValueError("several archives in one")
        records = {name.partition("/")[2]: name for name in names}
        strange = next((name for name in records if not _RECORDS.fullmatch(name)), None)
        if strange is not None:
            raise InputError(f"{where}: holds {strange[:80]}, which no exported network has; wanted {_WANTED}")
        if archive.read(records["data/sample_inputs/model.pt"]):
            raise InputError(f"{where}: holds a pickle, which may run anything; wanted {_WANTED}")
        for what in ("weights", "constants"):
            config = parse_json(archive.read(records[f"data/{what}/model_{what}_config.json"]), where)
            for each in config["config"].values():
                if each["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", each["path_name"]):
                    raise InputError(f"{where}: holds a pickle, which may run anything; wanted {_WANTED}")
        _require_arithmetic(parse_json(archive.read(records[_PROGRAM]), where), where)
        told = parse_json(archive.read(records[f"extra/{FACTS}"]), where)
        if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
            raise ValueError("it does not say what it answers")
    return from_texts(told, where)


def _require_arithmetic(value: Any, where: str) -> None:
    """Refuse what is no operator of ATen on tensors and sizes, anywhere in the program."""
    if isinstance(value, list):
        for each in value:
            _require_arithmetic(each, where)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        wrong = (
            (key == "target" and isinstance(inner, str) and "inputs" in value and not _TARGETS.fullmatch(inner))
            or (key == "expr_str" and not (isinstance(inner, str) and _SIZES.fullmatch(inner)))
            or (key.startswith("as_") and key not in _KINDS)
            or (key == "metadata" and bool(inner))
            or (key in ("in_spec", "out_spec") and not _is_plain_tree(inner))
        )
        if wrong:
            shown = json.dumps(inner)[:80]
            raise InputError(
                f"{where}: {key} {shown} is no arithmetic on tensors, and may run anything; wanted {_WANTED}"
            )
        _require_arithmetic(inner, where)


def _is_plain_tree(text: object) -> bool:
    """Whether a tree of arguments is made of tuples, lists and dictionaries."""

    def plain(node: Any) -> bool:
        return node["type"] in _TREES and all(map(plain, node["children_spec"]))

    return isinstance(text, str) and plain(json.loads(text)[1])
