"""How everything here is timed: warm-up apart, contenders in turn within one process, medians with their spread.

A round calls every contender once (or a few times in a row), in an order that is reversed each round, so that what
else the machine does falls on all of them alike. Ratios are formed within a round; the ratio told is their median.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any, Literal

import torch

from deepres.nn.environment import hardware, versions

Clock = Literal["wall", "processor"]
"""Seconds of the wall, or of the processor over all threads, which other work on the machine disturbs less."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work: a call handles `images` images; `ready_seconds` is what preparing it took, told apart."""

    name: str
    call: Callable[[], object]
    images: int
    ready_seconds: float = 0.0


def measure(
    contenders: Sequence[Contender],
    rounds: int,
    *,
    warm_up: int = 1,
    calls: int = 1,
    clock: Clock = "wall",
    device: torch.device | None = None,
) -> dict[str, list[float]]:
    """Seconds of one call, by contender, one value a round; each value is the mean over `calls` calls in a row."""
    now = perf_counter if clock == "wall" else process_time
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        for _ in range(warm_up):
            contender.call()
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            synchronise(device)
            began = now()
            for _ in range(calls):
                contender.call()
            synchronise(device)
            seconds[contender.name].append((now() - began) / calls)
    return seconds


def rows(contenders: Sequence[Contender], seconds: Mapping[str, Sequence[float]], base: str) -> list[dict[str, Any]]:
    """A row a contender: images/s (median, lowest, highest, quartiles), and how many times as fast as `base`.

    `against` has the same ratio, its median, for every other contender.
    """
    per_image = {one.name: [second / one.images for second in seconds[one.name]] for one in contenders}

    def ratios(own: str, other: str) -> list[float]:
        return [theirs / ours for theirs, ours in zip(per_image[other], per_image[own], strict=True)]

    found = []
    for contender in contenders:
        name = contender.name
        row: dict[str, Any] = {"contender": name, "n": len(seconds[name])}
        row["images_per_second"] = spread([1 / second for second in per_image[name]])
        row["times_as_fast"] = spread(ratios(name, base))
        row["against"] = {
            other.name: float(f"{median(ratios(name, other.name)):.4g}")
            for other in contenders
            if other is not contender
        }
        if contender.ready_seconds:
            row["ready_seconds"] = round(contender.ready_seconds, 1)
        found.append(row)
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest, and the quartiles where there are four values or more; four significant digits."""
    facts = {"median": median(values), "min": min(values), "max": max(values)}
    if len(values) >= 4:
        facts["q1"], _, facts["q3"] = quantiles(values, n=4, method="inclusive")
    return {name: float(f"{value:.4g}") for name, value in facts.items()}


def claim(what: str, device: torch.device, n: int, **more: Any) -> dict[str, Any]:
    """What a figure needs to stand: the claim, the command, hardware, versions of all that took part, n."""
    present = {}
    for name in ("timm", "onnxruntime", "onnx", "openvino", "nncf"):
        try:
            present[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "claim": what,
        "command": " ".join(["python", f"bench/{Path(sys.argv[0]).name}", *map(shlex.quote, sys.argv[1:])]),
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {**versions(), **present},
        "n": n,
        **more,
    }


def write(facts: Mapping[str, Any], path: Path | None) -> None:
    """As JSON into `path`, or onto standard output."""
    text = json.dumps(facts, indent=1) + "\n"
    if path is None:
        print(text, end="")
    else:
        path.write_text(text)


def table(title: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [title, "| contender | images/s | min-max | times as fast | min-max | ready, s |", "|" + " --- |" * 6]
    for row in found:
        if "not_run" in row:
            lines.append(f"| {row['contender']} | {row['not_run']} | | | | |")
            continue
        speed, ratio = row["images_per_second"], row["times_as_fast"]
        lines.append(
            f"| {row['contender']} | {speed['median']:g} | {speed['min']:g}-{speed['max']:g} | {ratio['median']:.2f} "
            f"| {ratio['min']:.2f}-{ratio['max']:.2f} | {row.get('ready_seconds', '')} |"
        )
    return "\n".join(lines)


def commands(contenders: Mapping[str, Sequence[str]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Wall seconds of whole processes, by name, in turn; the output is thrown away, a failure is an error."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warm_up, rounds):
        for name, command in contenders.items():
            began = perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if number >= 0:
                seconds[name].append(perf_counter() - began)
    return seconds


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives, and the wall seconds that it took."""
    began = perf_counter()
    result = work()
    return result, perf_counter() - began


def synchronise(device: torch.device | None) -> None:
    """Wait until the device has done what it was given."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
