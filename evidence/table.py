"""Evidence files -> the tables of the project's README, written between their marks."""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
MARKS = re.compile(r"(<!-- measured: [^\n]*-->\n).*?(<!-- /measured -->)", re.DOTALL)
FAST_MARKS = re.compile(r"(<!-- fast: [^\n]*-->\n).*?(<!-- /fast -->)", re.DOTALL)
PHOTO_MARKS = re.compile(r"(<!-- photos: [^\n]*-->\n).*?(<!-- /photos -->)", re.DOTALL)
DRILL_MARKS = re.compile(r"(<!-- drills: [^\n]*-->\n).*?(<!-- /drills -->)", re.DOTALL)
OURS = ("deepres train", "ours, folded, compiled", "files scaled", "packed raw")
PEERS = ("default loop", "timm", "torchvision", "onnxruntime")


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


def speeds() -> str:
    """One row for each way of ours: images a second, and the ratio to each peer, the median of the rounds of a run."""
    lines = ["| what | images/s | times as fast as | evidence |", "| --- | --- | --- | --- |"]
    for path in sorted(HERE.glob("*.json")):
        facts = json.loads(path.read_text())
        groups = facts.get("rows", [])
        groups = groups if isinstance(groups, dict) else {"": groups}
        for name, rows in groups.items():
            rated = [row for row in rows if "images_per_second" in row]
            for row in rated:
                if row["contender"] in OURS:
                    lines.append(_ratios(path, facts, name, row, rated))
    return "\n".join(lines) + "\n"


def _ratios(path: Path, facts: dict[str, Any], group: str, ours: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    speed = ours["images_per_second"]["median"]
    peers = [row for row in rows if row["contender"].startswith(PEERS)]
    against = ours.get("against", {})
    ratios = {
        row["contender"]: against.get(row["contender"], speed / row["images_per_second"]["median"]) for row in peers
    }
    told = "; ".join(f"{peer} {ratio:.2f}" for peer, ratio in ratios.items())
    what = ", ".join(filter(None, [facts["claim"], group, ours["contender"], facts["hardware"]]))
    return f"| {what} | {speed:,.4g} | {told} | [{path.name}](evidence/{path.name}) |"


def photos(path: Path = HERE / "photos.json") -> str:
    """One row a case: error, its spread and the minutes of every contender; what was wanted; the picture.

    Nothing where the bench of photos has not been run.
    """
    if not path.is_file():
        return ""
    facts = json.loads(path.read_text())
    names, cases = facts["contenders"], facts["cases"]
    seeds = f"{facts['n']} seeds each" if facts["n"] > 1 else "one seed each"
    lines = [
        f"| {seeds}; {facts['hardware']} | {' | '.join(names.values())} | times as fast as |",
        "| --- |" + " --- |" * (len(names) + 1),
    ]
    for case in cases.values():
        rows = case["rows"]
        lowest = min(row["test_error"]["mean"] for row in rows.values())
        cells = [_cell(rows[name], lowest) if name in rows else "" for name in names]
        fast = (case["verdict"] or {}).get("times_as_fast", {})
        ratios = "; ".join(f"{names[name]} {ratio['median']:.2f}" for name, ratio in fast.items())
        what = f"{case['photos']} ({case['images']['train']:,} photos), {case['told']}"
        what += f", {case['size']} px, {case['epochs']} epochs"
        lines.append(f"| {what} | {' | '.join(cells)} | {ratios} |")
    verdicts = [case["verdict"] for case in cases.values() if case["verdict"]]
    met = {name: [one[name] for one in verdicts if one[name] is not None] for name in WANTED}
    told = "; ".join(f"{words}: {sum(met[name])} of {len(met[name])}" for name, words in WANTED.items())
    picture = "![Test error against minutes, by case and contender](docs/figures/photos.png)"
    source = f"Test error ± its spread over seeds, minutes of the whole command; [{path.name}](evidence/{path.name})."
    return "\n".join([*lines, "", f"{source} {told}.", "", picture]) + "\n"


WANTED = {
    "error_at_most_the_best": "Mean error at most that of the best of the others, within its spread",
    "spread_no_larger": "spread no larger than that one's",
    "fast_enough": "2.5 times as fast as torchvision's loop",
}


def _cell(row: dict[str, Any], lowest: float) -> str:
    error = row["test_error"]
    spread = "" if error["std"] is None else f" ± {100 * error['std']:.1f}"
    told = f"{100 * error['mean']:.1f}{spread} %"
    told = f"**{told}**" if error["mean"] == lowest else told
    return f"{told}, {row['wall_seconds']['mean'] / 60:.1f} min"


def drills() -> str:
    """One row a group: what was tried, what of it came out right, and how long that took."""
    path = HERE / "drills.json"
    groups = json.loads(path.read_text())["groups"] if path.is_file() else {}
    rows = [
        f"| {name} | {each['tried']:,} | {each['wrong']:,} | {each['seconds'] / 60:.1f} |"
        for name, each in groups.items()
    ]
    head = [f"| [{path.name}](evidence/{path.name}) | tried | wrong | minutes |", "| --- | ---: | ---: | ---: |"]
    return "\n".join([*head, *rows]) + "\n"


def written() -> str:
    """The README with the tables as the evidence has them."""
    text = PHOTO_MARKS.sub(lambda found: found[1] + photos() + found[2], README.read_text())
    text = MARKS.sub(lambda found: found[1] + table() + found[2], text)
    text = DRILL_MARKS.sub(lambda found: found[1] + drills() + found[2], text)
    return FAST_MARKS.sub(lambda found: found[1] + speeds() + found[2], text)


if __name__ == "__main__":
    README.write_text(written())
    print(table(), photos(), speeds(), drills())
