"""Soaks: one kind of command again and again in one process, and whether memory and open files stay flat."""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

FLAT = 1.02


class Kind(NamedTuple):
    """A command by the number of the time; how often it is given, or for how many seconds where that is a float."""

    name: str
    words: Callable[[int], list[str]]
    much: float


class Held(NamedTuple):
    """The most that was held in the tenth after the first third and in the last tenth, and what is wrong with that.

    The most of a tenth: what is held after one command depends on its picture.
    """

    facts: dict[str, Any]
    wrong: str | None


def soaked(kind: Kind, scale: float, ask: Callable[[list[str]], str], note: Callable[[str, str], None]) -> Held:
    """Give the command; `ask` says what is wrong with an answer, which is noted; "" where nothing is."""
    began, until = monotonic(), scale * kind.much
    taken = list[tuple[int, int]]()
    while (monotonic() - began if isinstance(kind.much, float) else len(taken)) < until or not taken:
        if wrong := ask(kind.words(len(taken))):
            note(f"{kind.name} {len(taken)}", wrong)
        taken.append(held())
    span, begin = -(-len(taken) // 10), len(taken) // 3
    third, last = (tuple(map(max, zip(*part, strict=True))) for part in (taken[begin : begin + span], taken[-span:]))
    memory, descriptors = (now / max(1, then) for then, now in zip(third, last, strict=True))
    facts = {
        "times": len(taken),
        "seconds": round(monotonic() - began, 1),
        "bytes": [third[0], last[0]],
        "open": [third[1], last[1]],
    }
    flat = max(memory, descriptors) <= FLAT
    return Held(facts, None if flat else f"memory x {memory:.3f}, descriptors x {descriptors:.3f}")


def held() -> tuple[int, int]:
    """Bytes of this process' own memory, and open descriptors but for the fonts that matplotlib keeps, 64 at most."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    names = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
    return pages * resource.getpagesize(), sum(not name.endswith(".ttf") for name in names)
