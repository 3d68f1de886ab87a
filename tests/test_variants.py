"""Of the variants of a slow test `make test` runs the first and the last (`conftest.py`)."""

from pathlib import Path
from types import SimpleNamespace

import pytest


class Item(SimpleNamespace):
    """What the rule asks of an item."""

    nodeid: str
    marks: set[str]

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.marks else None

    def add_marker(self, name: str) -> None:
        self.marks.add(name)


def test_those_between_the_first_and_the_last_are_long(pytestconfig: pytest.Config) -> None:
    own = str(Path(__file__).with_name("conftest.py"))
    rule = next(one for one in pytestconfig.pluginmanager.get_plugins() if getattr(one, "__file__", "") == own)
    slow = [Item(nodeid=f"a.py::f[{name}]", marks={"slow"}) for name in ("x", "y[1]", "z", "last")]
    pair = [Item(nodeid=f"a.py::g[{name}]", marks={"slow"}) for name in "xy"]
    others = [Item(nodeid=f"a.py::h[{name}]", marks={"medium"}) for name in "xyz"]
    chosen = [Item(nodeid="a.py::f[chosen]", marks={"slow", "long"}), Item(nodeid="b.py::f[x]", marks={"slow"})]
    rule.pytest_collection_modifyitems([chosen[0], *slow, *pair, *others, chosen[1]])
    assert ["long" in item.marks for item in slow] == [False, True, True, False]
    assert not any("long" in item.marks for item in (*pair, *others, chosen[1]))
