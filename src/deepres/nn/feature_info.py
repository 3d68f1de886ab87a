"""Where maps can be taken from a network: name, channels and reduction, as timm's `feature_info` says it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from deepres.arch.algebra import Sequence, shape
from deepres.arch.architecture import Architecture, feature_shapes
from deepres.arch.atoms import AvgPool, Blur, MaxPool
from deepres.arch.shapes import Shape
from deepres.base.arguments import whole
from deepres.base.errors import InputError


class Tap(NamedTuple):
    """A map: behind the layers of `part` before `stop` (None: all of them); the input is `reduction` times as large."""

    module: str
    num_chs: int
    reduction: int
    part: str
    stop: str | None = None


@dataclass(frozen=True)
class FeatureInfo:
    """The maps of a network, and which of them are asked for; a row of them is a dict, as in timm."""

    taps: tuple[Tap, ...]
    out_indices: tuple[int, ...]

    @classmethod
    def of(cls, description: Architecture) -> "FeatureInfo":
        """The stem's, before it pools, and each stage's; norms behind the last stage are none of a stage."""
        taps: list[Tap] = []
        entering: Shape = description.input
        for (name, node), leaving in zip(description.body, feature_shapes(description).values(), strict=True):
            if len(leaving) != 3:
                break
            if not taps:
                taps.append(_stem(name, node, entering))
            elif name.startswith(("stage", "block")):
                taps.append(Tap(name, leaving[0], round(description.input[1] / leaving[1]), name))
            entering = leaving
        return cls(tuple(taps), tuple(range(len(taps))))

    def at(self, out_indices: object) -> "FeatureInfo":
        """Those of these numbers, which may count from the end; None: all.

        Raises:
            InputError: there is no map of that number, or a map is asked for twice.
        """
        if out_indices is None:
            return self
        count, given = len(self.taps), [out_indices] if isinstance(out_indices, int) else out_indices
        if not isinstance(given, list | tuple | range) or not given:
            raise InputError(f"out_indices: given {given!r:.40}; wanted numbers such as (1, 2, 3, 4)")
        found = []
        for one in given:
            number = whole(one, "out_indices", -count)
            if number >= count:
                raise InputError(f"out_indices: given {number}; the maps are 0 to {count - 1}: {self}")
            found.append(number % count)
        if sorted(set(found)) != found:
            raise InputError(f"out_indices: given {tuple(given)}; wanted rising numbers, each once")
        return FeatureInfo(self.taps, tuple(found))

    @property
    def chosen(self) -> tuple[Tap, ...]:
        """The maps that are asked for, from the input on."""
        return tuple(self.taps[number] for number in self.out_indices)

    def channels(self) -> list[int]:
        """How many channels each has."""
        return [tap.num_chs for tap in self.chosen]

    def reduction(self) -> list[int]:
        """How many times larger the input is."""
        return [tap.reduction for tap in self.chosen]

    def module_name(self) -> list[str]:
        """Which part each leaves."""
        return [tap.module for tap in self.chosen]

    def get_dicts(self) -> list[dict[str, Any]]:
        """Rows of num_chs, reduction and module."""
        return [{"num_chs": tap.num_chs, "reduction": tap.reduction, "module": tap.module} for tap in self.chosen]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.get_dicts())

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.get_dicts()[number]

    def __len__(self) -> int:
        return len(self.out_indices)

    def __str__(self) -> str:
        return ", ".join(tap.module for tap in self.taps)


def _stem(name: str, node: Any, given: Shape) -> Tap:
    """The map before the stem's last pool; of a stem without one, the map that leaves it."""
    parts = dict(node.parts) if isinstance(node, Sequence) else {}
    pools = [child for child, part in parts.items() if isinstance(part, MaxPool | AvgPool | Blur)]
    before = {}
    for child, part in parts.items():
        if pools and child == pools[0]:
            break
        before[child] = part
    stop = pools[0] if pools and before else None
    leaving = shape(Sequence(parts=tuple(before.items())) if stop else node, given, name)
    module = f"{name}.{list(before)[-1]}" if stop else name
    return Tap(module, leaving[0], round(given[1] / leaving[1]), name, stop)
