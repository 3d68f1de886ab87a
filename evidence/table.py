"""Evidence files -> the table of the project's README, written between its two marks."""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
MARKS = re.compile(r"(<!-- measured: [^\n]*-->\n).*?(<!-- /measured -->)", re.DOTALL)


def table() -> str:
    """One row a file: what was claimed, on how many runs, the test error, the speed, the file."""
    lines = ["| what | runs | test error | images/s in training | evidence |", "| --- | --- | --- | --- | --- |"]
    for path in sorted(HERE.glob("*.json")):
        facts = json.loads(path.read_text())
        if "test_error" in facts:
            lines.append(_row(path, facts))
    return "\n".join(lines) + "\n"


def _row(path: Path, facts: dict[str, Any]) -> str:
    error, speed = facts["test_error"], facts["images_per_second"]
    spread = "" if error["std"] is None else f" ± {100 * error['std']:.2f}"
    what = f"{facts['claim']}; {facts['hardware']}"
    return (
        f"| {what} | {facts['n']} | {100 * error['mean']:.2f}{spread} % | {speed['median']:,.0f} "
        f"({speed['min']:,.0f}–{speed['max']:,.0f}) | [{path.name}](evidence/{path.name}) |"
    )


def written() -> str:
    """The README with the table as the evidence has it."""
    return MARKS.sub(lambda found: found[1] + table() + found[2], README.read_text())


if __name__ == "__main__":
    README.write_text(written())
    print(table())
