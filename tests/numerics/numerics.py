"""`make numerics`: the numbers of the commands in cases.py, now and as `record.json` keeps them from before.

    numerics.py compare [--only WORD]           this code beside the record; exit code 1 where a number differs
    numerics.py compare --before SRC            … beside the code in SRC (another checkout's src), run here and now
    numerics.py record --source SRC [--output record.json]

On the machine and versions that the record is from, every number must be the same to the last bit. Elsewhere sums are
rounded in another order: what needs no training is compared to a tolerance, the first losses to a wider one, and what
hangs on trained weights is not compared, unless both codes are run here (`--before`).
"""

import argparse
import json
import math
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
import torchvision

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
from cases import CASES, Case, carry_out, lay_out  # noqa: E402

RECORD = HERE / "record.json"
RENAMED_KEYS: dict[str, str] = {r"^(history/\d+)\.rate$": r"\1.lr"}
"""A key of before, as a pattern for the whole of `document/dotted.key` -> what it is called now (`re.sub`)."""

VOLATILE = re.compile(
    r"(^|[./])(\w*seconds\w*|\w+_per_second|data_wait_fraction|provenance|versions|hardware|command|commands)(\.|$)"
)
"""Times, versions and where something ran: no result."""

FIRST, CLOSE, LOSSES = 4, 1e-3, 0.05
"""In another environment: the first four losses agree to 5 %, numbers without training to 0.1 %. Later losses do not:
rounding grows in training, to 12 % within 20 steps where AVX2 takes the place of AVX512."""


class Row(NamedTuple):
    """One document of one case: how many numbers it has, those that differ, and whether they were compared at all."""

    case: str
    document: str
    numbers: int
    before: str
    after: str
    differs: list[str]
    verdict: str


def environment() -> dict[str, str]:
    """What the last bits hang on beside the code."""
    cpu = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "cpu": (models or [platform.machine()])[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": "1 a process",
    }


def pruned(value: Any) -> Any:
    """JSON without words: numbers, and digests as the only strings."""
    if isinstance(value, Mapping):
        kept = {key: pruned(inner) for key, inner in value.items() if not VOLATILE.search(key)}
        return {key: inner for key, inner in kept.items() if inner is not None}
    if isinstance(value, list):
        return [pruned(inner) for inner in value if not isinstance(inner, str)]
    if isinstance(value, str):
        return value if re.fullmatch("[0-9a-f]{64}", value) else None
    return value


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """`per_class.0.recall` -> 0.96, for all numbers of a document."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from flat(inner, f"{name}.{place}" if name else str(place))
    else:
        yield name, value


def measured(source: Path, only: str = "", shared: Path = ROOT.parent / "shared") -> dict[str, dict[str, Any]]:
    """What the package in `source` computes: case -> document -> numbers."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="numerics-") as name:
        left_out = lay_out(Path(name), shared)
        for case in wanted(only):
            if case.name in left_out:
                print(f"{case.name}: left out, the weights are not in {shared}", file=sys.stderr)
                continue
            begun = time.perf_counter()
            documents = carry_out(case, Path(name), source)
            found[case.name] = {key: pruned(value) for key, value in documents.items()}
            print(f"{case.name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return found


def wanted(only: str) -> list[Case]:
    """The cases that are named so, and those whose outputs they read."""
    named = [case for case in CASES if only in case.name]
    read = {word for case in named for word in case.words.split()[:-1] if not word.startswith("-")}
    return [case for case in CASES if case in named or case.words.split()[-1] in read]


def rows(before: Mapping[str, Any], after: Mapping[str, Any], *, bitwise: bool) -> list[Row]:
    """Both, document by document; what `before` alone knows differs, what is new is no change."""
    trained = {case.name: case.trained for case in CASES}
    found = []
    for case in after:
        new = {f"{name}/{key}": value for name, key, value in numbers(after[case])}
        old = {renamed(f"{name}/{key}", new): value for name, key, value in numbers(before.get(case, {}))}
        documents = dict.fromkeys(key.split("/")[0] for key in (*old, *new))
        for document in documents:
            ours = {key: value for key, value in new.items() if key.split("/")[0] == document}
            theirs = {key: value for key, value in old.items() if key.split("/")[0] == document}
            losses = document.startswith("losses")
            if case not in before:
                verdict, differs = "not in the record", []
            elif not bitwise and trained[case] and not losses:
                verdict, differs = "not compared", []
            else:
                limit = 0.0 if bitwise else LOSSES if losses else CLOSE
                keys = list(theirs) if bitwise or not losses else list(theirs)[:FIRST]
                differs = [key for key in keys if not equal(theirs[key], ours.get(key, "nothing"), limit)]
                verdict = "DIFFERS" if differs else "same" if bitwise else f"within {limit:.1%}"
            told = [key.split("/", 1)[1] + f": {theirs[key]!r} -> {ours.get(key, 'nothing')!r}" for key in differs]
            found.append(Row(case, document, len(ours), short(theirs), short(ours), told, verdict))
    return found


def numbers(documents: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(document, dotted key, number)."""
    for name, document in documents.items():
        for key, value in flat(document):
            yield name, key, value


def renamed(key: str, known: Mapping[str, Any]) -> str:
    """What a key of before is called now, where it is not known by its own name any more."""
    for old, new in RENAMED_KEYS.items():
        key = key if key in known else re.sub(old, new, key)
    return key


def equal(before: Any, after: Any, limit: float) -> bool:
    """To the last bit, or (limit above 0) to a part of the larger; digests are then not compared."""
    if limit == 0 or (type(before) is not type(after) and not {type(before), type(after)} <= {int, float}):
        return bool(before == after or (before != before and after != after))
    if isinstance(before, str):
        return True
    return math.isclose(before, after, rel_tol=limit, abs_tol=limit / 100)


def short(values: Mapping[str, Any]) -> str:
    """The digest, or the first and last number."""
    digests = [value for value in values.values() if isinstance(value, str)]
    if digests:
        return digests[0][:10]
    told = [f"{value:.6g}" for value in values.values() if isinstance(value, float)] or [
        f"{v}" for v in values.values()
    ]
    return " … ".join(dict.fromkeys((told[0], told[-1]))) if told else "nothing"


def table(found: list[Row]) -> str:
    """The rows in columns, below each that differs the first five numbers that do."""
    head = ("what", "numbers", "before", "after", "")
    lines = [(f"{row.case}: {row.document}", str(row.numbers), row.before, row.after, row.verdict) for row in found]
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(5)]
    told = []
    for line, differs in zip((head, *lines), ([], *(row.differs for row in found)), strict=True):
        told.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        told += [f"    {key}" for key in differs[:5]]
        told += [f"    … and {len(differs) - 5} more" for _ in differs[5:6]]
    return "\n".join(told)


def record(args: argparse.Namespace) -> int:
    """Write down what the package in --source computes."""
    facts = {"of": args.of, "environment": environment()}
    lines = [f'"{key}": {json.dumps(value)}' for key, value in facts.items()]
    cases = measured(args.source.resolve(), args.only)
    inner = [
        f'"{case}": {{\n'
        + ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in found.items()
        )
        + "\n}"
        for case, found in cases.items()
    ]
    args.output.write_text("{\n" + ",\n".join([*lines, '"cases": {\n' + ",\n".join(inner) + "\n}"]) + "\n}\n")
    return 0


def compare(args: argparse.Namespace) -> int:
    """Print the table; 1 where a number differs."""
    here = environment()
    if args.before is not None:
        before, bitwise, how = measured(args.before.resolve(), args.only), True, f"{args.before}, run here"
    else:
        kept = json.loads(RECORD.read_text())
        others = [f"{name} {here[name]}, then {was}" for name, was in kept["environment"].items() if here[name] != was]
        before, bitwise = kept["cases"], not others
        how = f"{RECORD.name} of {kept['of']}, " + (f"made elsewhere ({'; '.join(others)})" if others else "made here")
    found = rows(before, measured(args.source.resolve(), args.only), bitwise=bitwise)
    print(table(found))
    different = [row for row in found if row.differs]
    print(f"\nbefore: {how}; compared {'to the last bit' if bitwise else 'to a tolerance'}")
    print(f"{len(different)} of {len(found)} documents differ" if different else "no number differs")
    return 1 if different else 0


def main(words: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for verb, work in (("record", record), ("compare", compare)):
        added = verbs.add_parser(verb)
        added.set_defaults(work=work)
        added.add_argument("--source", type=Path, default=ROOT / "src", help="The folder that holds `deepres`.")
        added.add_argument("--only", default="", help="Cases whose name holds this word.")
        if verb == "record":
            added.add_argument("--output", type=Path, default=RECORD)
            added.add_argument("--of", default="this code", help="What is recorded, such as a commit.")
        else:
            added.add_argument("--before", type=Path, help="Another folder that holds `deepres`.")
    args = parser.parse_args(words)
    result: int = args.work(args)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
