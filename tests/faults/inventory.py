"""Which functions of the package open or parse files, and which write them; which of them some work ran.

Read from the source, by the calls in it: a function that opens, parses or writes is one, whatever its name. What is run
is seen by a tracing function, in every thread of this process.
"""

import ast
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import deepres

PACKAGE = Path(deepres.__file__).parent
READERS = {
    *(
        "read_text",
        "read_bytes",
        "open_regular",
        "json_object",
        "read_json",
        "parse_json",
        "read_xml",
        "read_yaml",
        "read_sealed",
        "records.load",
    ),
    *("npz.opened", "safe_open", "load_file", "ZipFile", "mmap", "json.load", "json.loads", "csv.reader", "h5py.File"),
    *(
        "np.load",
        "np.fromfile",
        "np.memmap",
        "torch.load",
        "pickle.load",
        "pickle.loads",
        "torch.jit.load",
        "av.open",
        "opener.open",
    ),
}
WRITERS = {
    *("write_text", "write_bytes", "write_atomic", "folder_atomic", "writing", "save_file", "torch.save", "mkstemp"),
    *("np.save", "np.savez", "np.savez_compressed", "SummaryWriter", "copyfile", "copytree", "copy2", "json.dump"),
    *("fdopen", "csv.writer"),
}


class Function(NamedTuple):
    """A function by its file within the package and its qualified name."""

    file: str
    name: str


def functions(calls: set[str], modes: str) -> set[Function]:
    """Those that call one of `calls`, or open something in one of these modes."""
    return {
        Function(path.relative_to(PACKAGE).as_posix(), name)
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, call in calls_in(path)
        if _is_one(call, calls, modes)
    }


def readers() -> set[Function]:
    """Those that open or parse what is on the disk."""
    return functions(READERS, "r")


def writers() -> set[Function]:
    """Those that write to the disk."""
    return functions(WRITERS, "wxa+")


@cache
def calls_in(path: Path) -> tuple[tuple[str, ast.Call], ...]:
    """The calls in a file, each with the function that it stands in."""
    return tuple(_calls(ast.parse(path.read_text()), ""))


@contextmanager
def ran() -> Iterator[set[Function]]:
    """The functions of the package that are called meanwhile."""
    codes = set()

    def seen(frame: FrameType, event: str, argument: object) -> None:
        codes.add(frame.f_code)

    found = set[Function]()
    before = sys.gettrace()
    sys.settrace(seen)
    threading.settrace(seen)
    try:
        yield found
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]
        for code in codes.copy():  # threads that are left over still add to it
            path = Path(code.co_filename)
            if path.is_relative_to(PACKAGE):
                found.add(Function(path.relative_to(PACKAGE).as_posix(), _plain(code.co_qualname)))


def _plain(qualified: str) -> str:
    """Without what stands for a place within a function: generators and lambdas are part of theirs."""
    parts = [part for part in qualified.split(".") if part != "<locals>"]
    return ".".join(part for part in parts if not part.startswith("<"))


@cache
def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _calls(node: ast.AST, within: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _calls(child, f"{within}.{child.name}".lstrip("."))
            continue
        if isinstance(child, ast.Call):
            yield within, child
        yield from _calls(child, within)


def _is_one(call: ast.Call, calls: set[str], modes: str) -> bool:
    name = _dotted(call.func)
    last = name.rpartition(".")[2]
    if last == "open":
        given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
        words = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        mode = next((word for word in words if word and set(word) <= set("rwxabt+")), "r")
        return bool(set(mode) & set(modes)) if name != "os.open" else "r" in modes
    return any(name == each or name.endswith(f".{each}") for each in calls)
