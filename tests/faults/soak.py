"""Soaks: one kind of command again and again in one process, and whether memory and open files stay flat."""

import os
import sys
from array import array
from collections.abc import Callable, Sequence
from ctypes import CDLL
from pathlib import Path
from statistics import linear_regression, mean
from time import monotonic
from typing import Any, NamedTuple

FLAT = 1.02
SPANS = 10
"""Of what is measured: neighbours are alike, so that a line is fitted to the means of so many spans."""


class Kind(NamedTuple):
    """A command by the number of the time; how often it is given, or for how many seconds where that is a float."""

    name: str
    words: Callable[[int], list[str]]
    much: float


class Held(NamedTuple):
    """What is held at one time: bytes, Python's own objects, and descriptors but for the fonts that matplotlib keeps.

    Bytes are those of no file: pages of libraries come and go with what else the machine does. They grow without a leak
    while caches fill; the number of objects does not.
    """

    bytes: int
    objects: int
    open: int


class Soaked(NamedTuple):
    """The most of the tenth after the first third and of the last one, the slopes between them, and what is wrong.

    The most of a tenth: what is held after one command depends on its picture. The first third fills what is filled
    once: one picture of each size, the heap's holes, caches that are bounded.
    """

    facts: dict[str, Any]
    wrong: str | None


def soaked(kind: Kind, scale: float, ask: Callable[[list[str]], str], note: Callable[[str, str], None]) -> Soaked:
    """Give the command; `ask` says what is wrong with an answer, which is noted; "" where nothing is."""
    began, until, times = monotonic(), scale * kind.much, 0
    taken = array("q")  # flat: what is kept of each time is no object
    while (monotonic() - began if isinstance(kind.much, float) else times) < until or not times:
        if wrong := ask(kind.words(times)):
            note(f"{kind.name} {times}", wrong)
        taken.extend(held())
        times += 1
    wide = len(Held._fields)
    return judged([Held(*taken[at : at + wide]) for at in range(0, len(taken), wide)], monotonic() - began)


def judged(taken: Sequence[Held], seconds: float) -> Soaked:
    """What was held after each command."""
    span, begin = -(-len(taken) // SPANS), len(taken) // 3
    third, last = (Held(*map(max, zip(*part, strict=True))) for part in (taken[begin : begin + span], taken[-span:]))
    memory, descriptors = (now / max(1, then) for then, now in ((third.bytes, last.bytes), (third.open, last.open)))
    facts: dict[str, Any] = {"times": len(taken), "seconds": round(seconds, 1)}
    facts |= {name: [getattr(third, name), getattr(last, name)] for name in ("bytes", "open")}
    facts["bytes_ratio"] = round(memory, 4)
    if len(taken[begin:]) >= 3 * SPANS:
        per_hour = 3600 * len(taken) / seconds / 1000
        for name in ("bytes", "objects"):
            slope, error = sloped([float(getattr(each, name)) for each in taken[begin:]])
            facts[f"{name}_per_1000"] = [round(1000 * slope), round(1000 * error)]
            facts[f"{name}_per_hour"] = [round(1000 * slope * per_hour), round(1000 * error * per_hour)]
    flat = max(memory, descriptors) <= FLAT
    return Soaked(facts, None if flat else f"memory x {memory:.3f}, descriptors x {descriptors:.3f}")


def sloped(values: Sequence[float]) -> tuple[float, float]:
    """How much each value is above the one before it, and the standard error of that: least squares of spans' means."""
    wide = len(values) // SPANS
    points = [mean(values[place * wide : (place + 1) * wide]) for place in range(SPANS)]
    places = [wide * (place + 0.5) for place in range(SPANS)]
    slope, begin = linear_regression(places, points)
    left = sum((point - begin - slope * place) ** 2 for place, point in zip(places, points, strict=True))
    wideness = sum((place - mean(places)) ** 2 for place in places)
    return slope, (left / (SPANS - 2) / wideness) ** 0.5


def held() -> Held:
    """What this process holds now; the C library gives back first what it keeps of the freed."""
    if (trim := getattr(CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    names = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
    opened = sum(not name.endswith(".ttf") for name in names)
    return Held(1024 * own, sys.getallocatedblocks(), opened)
