"""Tests run side by side, each process on one thread; real data lies at DEEPRES_SHARED or beside the repository."""

import atexit
import gc
import getpass
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from html import escape
from importlib import import_module
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepres.base import watch

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DEEPRES_TRACEBACK", "1")  # the last net off, also in processes that tests start: a mistake shows
gc.disable()  # importing makes objects that stay; to look for garbage among them costs more than it finds


DRAWN = ("tests/report/", "tests/slim/")
DRAWN_WHERE_SLOW = ("tests/journey/",)
"""Where charts are drawn: there they are looked at, or whole runs go through; in the long tests they are everywhere."""
CHARTS = {"drawn": True}


def _draw_where_charts_are_looked_at() -> None:
    """Most of the seconds of a tiny run are those of its charts: elsewhere their words alone are written in their place."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    drawn = Figure.savefig

    def savefig(figure: Figure, place: Any, *, format: str | None = None, **how: Any) -> None:
        if CHARTS["drawn"] or format not in ("svg", "png"):
            return drawn(figure, place, format=format, **how)
        if format == "png":
            return Image.new("RGB", (8, 8)).save(place, "PNG")
        words = "".join(f"<text>{escape(each.get_text())}</text>" for each in figure.findobj(Text))
        return place.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">{words}</svg>')

    Figure.savefig = savefig


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("long") is not None:
        item.add_marker("slow")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the variants of a slow test the first and the last are run by `make test`; those between them are long."""
    variants = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if item.get_closest_marker("slow") is not None and item.get_closest_marker("long") is None:
            variants[item.nodeid.partition("[")[0]].append(item)
    for those in variants.values():
        for item in those[1:-1]:
            item.add_marker("long")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    slow, long = (item.get_closest_marker(mark) is not None for mark in ("slow", "long"))
    CHARTS["drawn"] = long or item.nodeid.startswith((*DRAWN, *DRAWN_WHERE_SLOW) if slow else DRAWN)


HASTE = {
    ("deepres.runs.autotune", "STEP_SECONDS"): 0.02,
    ("deepres.runs.introduce", "SECONDS"): 0.02,
    ("deepres.data.loading.workers", "SAMPLE_SECONDS"): 0.02,
}
"""For how long a run times its own parts before it begins: two calls of each do here."""


def pytest_collection_finish() -> None:
    """What the imports made is no garbage: the collections during the tests leave it out, which saves a tenth."""
    if "torch" in sys.modules:  # else what is tested trains nothing
        for (module, name), seconds in HASTE.items():
            setattr(import_module(module), name, seconds)
        _draw_where_charts_are_looked_at()
    gc.freeze()
    atexit.register(gc.unfreeze)  # the bindings of a library tell of objects that are left in the end
    gc.enable()


QUICK_SECONDS = 1.0
"""Processor time, that of its processes included, after which a test without a mark is told of in the end."""
SPENT = "processor seconds"


def _spent() -> float:
    return sum(used.ru_utime + used.ru_stime for used in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    began = _spent()
    given = yield
    spent = _spent() - began
    if spent > QUICK_SECONDS and not any(map(item.get_closest_marker, ("medium", "slow"))):
        item.user_properties.append((SPENT, f"{spent:.1f}"))  # told, not failed: how fast a machine is fails nobody
    return given


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = (report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ()))
    told = {report.nodeid: spent for report in reports for name, spent in report.user_properties if name == SPENT}
    if told:
        terminalreporter.section(f"over {QUICK_SECONDS} s of processor time and not marked")
        for nodeid, spent in sorted(told.items(), key=lambda each: -float(each[1])):
            terminalreporter.line(f"{spent:>6} s  {nodeid}")


LONGEST = 70
"""Letters of the folder of temporary files: sockets lie in it, whose whole path has 104 at most."""


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """What tests and the processes that they end leave among temporary files goes with the tests' own folders."""
    place = str(tmp_path_factory.mktemp("t"))
    with pytest.MonkeyPatch.context() as patch:
        if len(place) > LONGEST:
            yield
            return
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", os.environ.get("TORCHINDUCTOR_CACHE_DIR") or _compiled())
        patch.setenv("TMPDIR", place)
        patch.setattr(tempfile, "tempdir", place)
        yield


def _compiled() -> str:
    """Where torch keeps what it has compiled, which the next tests use again."""
    return str(Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}")


@pytest.fixture(autouse=True)
def _never_late(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No line that says that work goes on, which a busy machine would bring among those that are counted."""
    if not request.module.__name__.endswith("test_terminal"):
        monkeypatch.setattr(watch, "EVERY", math.inf)


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """`class_folders("pets", {"cat": 12, "dog": 3}, (40, 40))`: a folder for each class, of as many pictures of noise."""

    def made(name: str, counts: Mapping[str, int], size: tuple[int, int], suffix: str = ".png") -> Path:
        draw = np.random.default_rng(0)
        for label, count in counts.items():
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(count):
                picture = Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8))
                picture.save(tmp_path / name / label / f"{number}{suffix}")
        return tmp_path / name

    return made


@pytest.fixture(scope="session")
def shared() -> Path:
    place = Path(os.environ.get("DEEPRES_SHARED", Path(__file__).parents[2] / "shared"))
    if not (place / "data").is_dir():
        pytest.skip(f"real images and weights are not at {place}; set DEEPRES_SHARED")
    return place
