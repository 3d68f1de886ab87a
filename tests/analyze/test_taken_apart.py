"""The page of networks taken apart says what the evidence says, and its pictures are there."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("taken_apart_page", ROOT / "evidence" / "taken_apart_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_generated_from_the_evidence(program: ModuleType) -> None:
    written = (ROOT / "docs" / "taken_apart.md").read_text()
    assert written == program.page(program.networks()), "run: python evidence/taken_apart_page.py"


def test_the_order_and_the_names_of_networks_do_not_depend_on_the_file_system(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = sorted(program.HERE.glob("taken_apart_*.json"))
    orders = []
    for found in (listed, listed[::-1]):
        monkeypatch.setattr(program, "HERE", SimpleNamespace(glob=lambda _, found=found: found))
        orders.append(list(program.networks().items()))
    assert orders[0] == orders[1]
    names = [program._called(name, facts) for name, facts in orders[0]]
    assert len(set(names)) == len(names)


def test_every_picture_is_there_and_small() -> None:
    shown = re.findall(r"\((figures/\S+\.png)\)", (ROOT / "docs" / "taken_apart.md").read_text())
    assert shown
    for name in shown:
        picture = (ROOT / "docs" / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 100_000, name
