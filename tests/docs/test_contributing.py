"""The files and names that CONTRIBUTING.md sends a newcomer to are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "deepres"
TABLE = (ROOT / "CONTRIBUTING.md").read_text().split("## Where is …?")[1]
PLACES = re.findall(r"`([a-z_0-9/]+(?:\.py|/))`(?:: ((?:`\w+`(?:, )?)+))?", TABLE)


def test_the_newcomers_questions_are_answered() -> None:
    for question in ("crop", "learning rate", "class name", "new task"):
        assert any(question in line for line in TABLE.splitlines() if line.startswith("| where")), question
    assert len(PLACES) >= 15


@pytest.mark.parametrize(("place", "names"), PLACES, ids=[place for place, _ in PLACES])
def test_each_place_is_there(place: str, names: str) -> None:
    assert (PACKAGE / place).exists(), place
    if names:
        tree = ast.parse((PACKAGE / place).read_text())
        found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert set(re.findall(r"\w+", names)) <= found, (place, names)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "evidence/README.md"])
def test_links_of_pages_outside_of_docs_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target
