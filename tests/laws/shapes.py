"""Shapes as docstrings state them: `(N, C, H, W) -> (N, C + new_channels, ceil(H / stride), ceil(W / stride))`.

A statement is shapes, an arrow and a shape; `the same` is the first of them. A dimension is a number, a name, `...` (any
number of dimensions, in front), or an expression of these; two terms side by side are multiplied. Names that the inputs
bind mean the same size everywhere in the statement; others are attributes of the object, or new.
"""

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "deepres"
SHAPE = r"\((?:[^()]|\([^()]*\))*\)"
STATED = re.compile(rf"({SHAPE}(?:, (?:[a-z0-9 ]+ )?{SHAPE})*)[^.;:>()]{{0,40}}? -> ([^.;:]*)")


def stated(docstring: str) -> tuple[list[str], str] | None:
    """The inputs' shapes and what comes of them, as the docstring says; None where it states none."""
    found = STATED.search(" ".join(docstring.split()))
    return None if found is None else (re.findall(SHAPE, found[1]), found[2])


def statements() -> Iterator[str]:
    """The qualified names of all functions and classes whose docstrings state shapes."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield from _in(ast.parse(path.read_text()), "")


def _in(node: ast.AST, owner: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            name = f"{owner}.{child.name}" if owner else child.name
            if stated(ast.get_docstring(child) or ""):
                yield name
            yield from _in(child, name)


def check(
    docstring: str, given: Sequence[tuple[int, ...]], gives: tuple[int, ...], attributes: Mapping[str, object]
) -> None:
    """AssertionError where inputs of these shapes, or what came of them, are not as the docstring states."""
    found = stated(docstring)
    assert found is not None, docstring
    inputs, output = found
    sizes: dict[str, int] = {}
    sums: list[tuple[str, int]] = []
    for text, shape in zip(inputs, given, strict=True):
        sums += _match(text, shape, sizes, attributes)
    if output.startswith("the same"):
        assert gives == given[0], (docstring, given, gives)
        return
    shapes = re.findall(SHAPE, output)
    assert shapes, f"no shape behind the arrow: {docstring}"
    sums += _match(shapes[0], gives, sizes, attributes)
    for part, size in sums:
        assert _value(part, sizes, attributes) == size, f"{part} is {size} ({sizes}): {docstring}"


def _match(
    text: str, shape: tuple[int, ...], sizes: dict[str, int], attributes: Mapping[str, object]
) -> list[tuple[str, int]]:
    """Binds names to sizes; expressions are left for when all names are bound."""
    sums = []
    wanted = [part.strip() for part in re.split(r",(?![^(]*\))", text[1:-1]) if part.strip()]
    if wanted and wanted[0] == "...":
        wanted, shape = wanted[1:], shape[len(shape) - len(wanted) + 1 :]
    if wanted and wanted[-1] == "...":
        wanted, shape = wanted[:-1], shape[: len(wanted) - 1]
    assert len(wanted) == len(shape), f"{text} for {shape}"
    for part, size in zip(wanted, shape, strict=True):
        if re.fullmatch(r"[A-Za-z_]+'?", part) and part not in attributes:
            assert sizes.setdefault(part, size) == size, f"{part} of {text} is {sizes[part]}, given {size}"
        else:
            sums.append((part, size))
    return sums


def _value(expression: str, sizes: Mapping[str, int], attributes: Mapping[str, object]) -> int:
    product = re.sub(r"(?<=[\w)]) +(?=[A-Za-z(])", " * ", expression)
    names = {"ceil": math.ceil, "floor": math.floor, **attributes, **sizes}
    return int(eval(product, {"__builtins__": {}}, names))
