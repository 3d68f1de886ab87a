"""What decided a run's weights, from the files of its folder, as one flat list of facts: equal lists, equal runs."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from deepres.base.manifest import RUN, require_own
from deepres.base.reading import json_object
from deepres.base.records import Record, flat

_ORIGIN = "data.json"
_OF_PLACE_OR_MACHINE = (
    "data.source",
    "data.root",
    "data.download",
    "data.workers",
    "data.prefetch_factor",
    "teacher.weights",
    "train.save_every_seconds",
    "train.memory",
    "train.compile",
)
"""What two runs may have apart and still be the same run: where images lie (what they are, `data.json` says), and how
fast it went."""


class RunPlan(Record):
    """All that decided a run's weights but its seed: `facts` by dotted name, those of `images` by part."""

    seed: int
    facts: dict[str, JsonValue]

    def differences(self, other: "RunPlan") -> tuple[str, ...]:
        """The names of the facts in which the two differ, in order."""
        names = sorted({*self.facts, *other.facts})
        return tuple(name for name in names if self.facts.get(name) != other.facts.get(name))


def plan_of(folder: Path) -> RunPlan | None:
    """The plan of the run in `folder`; None where there is none.

    Raises:
        InputError: its description cannot be read, or is not the run's.
    """
    require_own(folder, RUN)
    require_own(folder, _ORIGIN)
    if not (folder / RUN).is_file():
        return None
    facts = dict(flat(_json(folder / RUN)))
    seed = facts.pop("seed", 0)
    for name in [name for name in facts if name.endswith("_at.beside")]:  # what is asked there, its digest says
        facts.pop(name.removesuffix("_at.beside"), None)
        facts.pop(name)
    if (folder / _ORIGIN).is_file():
        origin = _json(folder / _ORIGIN)
        splits = {split: origin.get(split) for split in ("train", "val", "test")}
        facts |= {f"images.{split}": of.get("digest") for split, of in splits.items() if isinstance(of, Mapping)}
        for name in _OF_PLACE_OR_MACHINE:
            facts.pop(name, None)
    return RunPlan(seed=seed if isinstance(seed, int) else 0, facts=facts)


def _json(path: Path) -> dict[str, JsonValue]:
    return json_object(path, "description of a run")
