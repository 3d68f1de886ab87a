"""Every refusal that deepres can print, read from its source: text, remedy, and the room that refuses."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "deepres"


@dataclass(frozen=True)
class Refusal:
    """One text in the source: `said` up to its last clause, `remedy` that clause; `…` and names stand for values."""

    room: str
    file: str
    line: int
    text: str

    @property
    def said(self) -> str:
        return self._halves()[0]

    @property
    def remedy(self) -> str:
        return self._halves()[1]

    def _halves(self) -> tuple[str, str]:
        for mark in ("; ", ", wanted ", ": wanted ", "? "):
            said, found, remedy = self.text.rpartition(mark)
            if found and said:
                return said + mark.strip(";:, ").removesuffix("wanted"), mark.strip(";:,? ") + " " * (
                    "w" in mark
                ) + remedy
        return self.text, ""


@cache
def refusals(package: Path = PACKAGE) -> list[Refusal]:
    """All of them, in the order of files and lines."""
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        for line, text in _texts(ast.parse(path.read_text())):
            found.append(Refusal(name.split("/")[0], name, line, text))
    return found


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _refuses(node) and node.args:
            text = " ".join(_spelled(node.args[0]).split())
            if any(letter.isalpha() for letter in text.replace("…", "")) and len(text) > 12:
                yield node.lineno, text


def _refuses(call: ast.Call) -> bool:
    function = call.func
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    return name.endswith("Error") and name not in (
        "KeyError",
        "OSError",
        "EOFError",
        "AssertionError",
        "AttributeError",
    )


def _spelled(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(_spelled, parts))
        case ast.FormattedValue(value=value):
            return _spelled(value)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _spelled(left) + _spelled(right)
        case ast.IfExp(body=body, orelse=orelse):
            return " | ".join(filter(None, (_spelled(body), _spelled(orelse))))
        case ast.Name(id=name) if name.isupper() or len(name) > 2:
            return f"‹{name}›"
        case ast.Attribute(attr=name):
            return f"‹{name}›"
    return "…"


ROOMS = {
    "cli": "Commands and their flags",
    "data": "Images: folders, tables, arrays, archives",
    "nn": "Weights and networks",
    "spec": "Descriptions of networks",
    "arch": "Descriptions of networks",
    "train": "Training and devices",
    "recipes": "Recipes and runs",
    "runs": "Runs",
    "library": "Calls from Python",
    "evaluate": "Evaluation, calibration, comparison",
    "tasks": "Evaluation, calibration, comparison",
    "report": "Reports",
    "serve": "Prediction",
    "predict": "Prediction",
    "export": "Exported files",
    "slim": "Slim networks",
    "analyze": "Analyses",
    "studies": "Studies of papers",
    "base": "Files, numbers, records",
}
"""What a room's refusals are about, in the order of the page."""


INNER = "Parts of longer messages: what is wrong with a file"
"""Texts without a remedy of their own: the line that they stand in goes on with it."""


def listing() -> str:
    """One section a subject: every text with what to do, as a list."""
    by_subject: dict[str, dict[str, str]] = {subject: {} for subject in (*ROOMS.values(), INNER)}
    for one in refusals():
        subject = ROOMS.get(one.room, one.room) if one.remedy else INNER
        by_subject.setdefault(subject, {}).setdefault(one.said, one.remedy)
    lines = []
    for subject, texts in by_subject.items():
        if texts:
            lines += [f"### {subject}", "", '<ul class="refusals">']
            lines += [_item(said, remedy) for said, remedy in texts.items()]
            lines += ["</ul>", ""]
    return "\n".join(lines)


def _item(said: str, remedy: str) -> str:
    told = f'<br><span class="remedy">→ {escape(remedy)}</span>' if remedy else ""
    return f"<li>{escape(said)}{told}</li>"
