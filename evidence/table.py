"""Evidence files -> the tables of docs/results, written between their marks: `python evidence/table.py`."""

import json
import re
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PAGES = (DOCS / "results" / "measured.md", DOCS / "results" / "papers.md", DOCS.parent / "README.md")
MARKED = re.compile(r"(<!-- (\w+): written by [^\n]*-->\n).*?(<!-- /\2 -->)", re.DOTALL)
LINKS = "../../evidence"
"""From those pages to this folder."""
OURS = (
    *("deepres train", "ours, folded, compiled", "ours, by openvino", "files scaled", "packed raw"),
    *("ours, float32", "ours, bfloat16", "ours, bfloat16 autocast"),
)
PEERS = ("default loop", "timm", "torchvision", "onnxruntime", "OpenVINO")


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
        f"({speed['min']:,.0f}–{speed['max']:,.0f}) | [{path.name}]({LINKS}/{path.name}) |"
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
    return f"| {what} | {speed:,.4g} | {told} | [{path.name}]({LINKS}/{path.name}) |"


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
    picture = "![Test error against minutes, by case and contender](../figures/photos.png)"
    source = f"Test error ± its spread over seeds, minutes of the whole command; [{path.name}]({LINKS}/{path.name})."
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
    head = [f"| [{path.name}]({LINKS}/{path.name}) | tried | wrong | minutes |", "| --- | ---: | ---: | ---: |"]
    return "\n".join([*head, *rows]) + "\n"


def descriptions() -> str:
    """One row a study: how many printed figures its descriptions give, of how many; then those that differ, and why."""
    path = HERE / "descriptions.json"
    facts = json.loads(path.read_text())
    lines = ["| table or figure | reproduced | of |", "| --- | ---: | ---: |"]
    for name, found in facts["studies"].items():
        lines.append(f"| {name} | {found.get('reproduced', 0)} | {sum(found.values())} |")
    lines += [f"| **[{path.name}]({LINKS}/{path.name})** | **{facts['verdicts']['reproduced']}** | **{facts['n']}** |"]
    lines += ["", "Those that do not, and why:", "", "| where | printed | ours | why |", "| --- | --- | --- | --- |"]
    for one in facts["figures"]:
        if one["verdict"] != "reproduced":
            where = f"{one['study']}, {one['row']}, {one['column']}"
            lines.append(f"| {where} | {one['printed']} | {one['ours']} | {one['reason']} |")
    return "\n".join(lines) + "\n"


def claims() -> str:
    """One row a claim of the studies that were trained: both figures, and whether the claim holds."""
    lines = ["| study | claim | the lower | the higher | holds |", "| --- | --- | --- | --- | --- |"]
    for path in sorted(HERE.glob("study_*.json")):
        facts = json.loads(path.read_text())
        for one in facts["claims"]:
            claim, low, high = one["claim"], one["better"], one["worse"]
            name = f"[{facts['study']}]({LINKS}/{path.name})" + (", lr 0.1" if "rate_0.1" in path.stem else "")
            said = f"{claim['column']}: {claim['better']} below {claim['worse']}"
            said += f" ({claim['says']})" if claim["says"] else ""
            unit = "" if claim["column"] == "response" else " %"
            lines.append(f"| {name} | {said} | {low:.2f}{unit} | {high:.2f}{unit} | {'yes' if low < high else 'no'} |")
    return "\n".join(lines) + "\n"


def trained(path: Path = HERE / "trained.json") -> str:
    """One row a figure that was trained at full length: printed and ours, seeds, verdict, hours; then the claims."""
    if not path.is_file():
        return "No run at full length has ended yet.\n"
    facts = json.loads(path.read_text())
    head = f"| [{path.name}]({LINKS}/{path.name}) | network | figure | printed | ours | seeds | verdict | hours |"
    lines = [head, "| --- | --- | --- | ---: | ---: | ---: | --- | ---: |"]
    for one in facts["figures"]:
        edits = f" ({', '.join(one['edits'])})" if one["edits"] else ""
        ours = "diverged" if one["ours"] is None else f"{one['ours']:.2f}"
        ours += "" if one["std"] is None else f" ± {one['std']:.2f}"
        seeds = f"{len(one['values']) + one['diverged']} of {one['wanted']}"
        verdict = "" if one["verdict"] == "shown" else one["verdict"]
        cells = (one["study"], one["row"] + edits, one["column"], one["printed"], ours, seeds, verdict)
        lines.append(f"| {' | '.join(cells)} | {one['hours']:.1f} |")
    if facts["claims"]:
        lines += ["", "| study | claim | the lower | the higher | holds |", "| --- | --- | ---: | ---: | --- |"]
    for one in facts["claims"]:
        claim, low, high = one["claim"], one["better"], one["worse"]
        said = f" ({claim['says']})" if claim["says"] else ""
        what = f"{one['title']}: {claim['better']} below {claim['worse']}{said}"
        lines.append(f"| {one['study']} | {what} | {low:.2f} | {high:.2f} | {'yes' if low < high else 'no'} |")
    return "\n".join([*lines, *(["", facts["note"]] if facts["note"] else [])]) + "\n"


def papers(path: Path = HERE / "trained.json") -> str:
    """The lines that matter most: what descriptions give, what was trained, others' weights."""
    read = json.loads((HERE / "descriptions.json").read_text())
    figures = json.loads(path.read_text())["figures"] if path.is_file() else []
    judged = [one for one in figures if one["ours"] is not None and one["verdict"] != "shown"]
    others = json.loads((HERE / "foreign_cifar_weights.json").read_text())["networks"]
    trained = []
    if judged:
        told = "; ".join(f"{one['row']} {one['printed']} % printed, {one['ours']:.2f} % here" for one in judged[:4])
        met = sum(one["verdict"] in ("reproduced", "within the spread") for one in judged)
        trained.append(f"At full length, {met} of {len(judged)} within tolerance or spread: {told}.")
    if not any(one["row"].startswith("plain") for one in judged):
        short = json.loads((HERE / "study_resnet_fig6_short.json").read_text())
        errors = {
            claim[side]: one[of]
            for one in short["claims"]
            if (claim := one["claim"])["column"] == "train"
            for side, of in (("better", "better"), ("worse", "worse"))
        }
        told = ", ".join(f"{name} {errors[name]:.1f} %" for name in ("plain-20", "plain-56", "ResNet-56"))
        trained.append(f"Degradation, at 1/20 of the steps: training error {told}.")
    stated = "; ".join(f"{one['published_accuracy_percent']:.2f} and {one['accuracy_percent']:.2f} %" for one in others)
    return (
        "\n".join(
            [
                f"- {read['verdicts']['reproduced']} of {read['n']} sizes, costs, depths and path lengths "
                "are as printed.",
                *(f"- {line}" for line in trained),
                f"- Others' CIFAR-10 weights, accuracy published and here: {stated}.",
            ]
        )
        + "\n"
    )


def foreign() -> str:
    """One row a network trained by others: the accuracy that they state, and that of its weights in our description."""
    path = HERE / "foreign_cifar_weights.json"
    facts = json.loads(path.read_text())
    lines = [f"| [{path.name}]({LINKS}/{path.name}) | network | published | here |", "| --- | --- | ---: | ---: |"]
    for one in facts["networks"]:
        published, ours = one["published_accuracy_percent"], one["accuracy_percent"]
        lines.append(f"| {one['weights']} | {one['network']} | {published:.2f} % | {ours:.2f} % |")
    return "\n".join(lines) + "\n"


def protocols() -> str:
    """One row a protocol: error with its interval, on how many images."""
    path = HERE / "protocols_resnet50_released.json"
    rows = json.loads(path.read_text())["rows"]
    head = f"| [{path.name}]({LINKS}/{path.name}) | wrong | of | error | 95 % interval |"
    lines = [head, "| --- | ---: | ---: | ---: | --- |"]
    for row in rows:
        interval = f"{100 * row['error_low']:.1f} to {100 * row['error_high']:.1f} %"
        lines.append(
            f"| {row['protocol']} | {row['num_wrong']} | {row['num_images']} | {100 * row['error']:.1f} % "
            f"| {interval} |"
        )
    return "\n".join(lines) + "\n"


def tasks() -> str:
    """One row a figure of the other tasks: ours and the plain way's, mean and spread over seeds; seconds of a run."""
    path = HERE / "tasks.json"
    facts = json.loads(path.read_text())
    seeds = len(facts["seeds"])
    head = f"| [{path.name}]({LINKS}/{path.name}), {seeds} seeds | figure | deepres | plain torch |"
    lines = [head, "| --- | --- | ---: | ---: |"]
    for task, ways in facts["results"].items():
        for figure in ways["deepres"][0]:
            cells = [_spread([run[figure] for run in ways[way] if figure in run]) for way in ("deepres", "plain")]
            what = WORDS.get(figure, figure.replace("_", " "))
            lines.append(f"| {WORDS[task]} | {what} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


WORDS = {
    "several": "the digits on a picture",
    "angle": "the angle of a digit, in degrees",
    "macro_f1": "F1, mean over classes",
    "r2": "R2",
    "covered_of_90": "share of angles within the intervals that are to hold for 90 %",
    "seconds": "seconds of training",
}


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.4g}" if values else "–"
    return f"{mean(values):.4g} ± {stdev(values):.2g}"


def detectors() -> str:
    """One row a file of detectors' runs: AP50 and AP over the seeds, minutes of training.

    Nothing where no detector's runs were collected.
    """
    head = "| what | runs | AP50 | AP | minutes of training | evidence |"
    lines = [head, "| --- | ---: | ---: | ---: | ---: | --- |"]
    for path in sorted(HERE.glob("*.json")):
        facts = json.loads(path.read_text())
        if "average_precision" in facts:
            over, minutes = facts["average_precision"], [seconds / 60 for seconds in facts["training_seconds"]]
            of = "mask " if "mask AP" in over else ""
            told = [of + _spread([100 * value for value in over[f"{of}{name}"]["each"]]) for name in ("AP50", "AP")]
            what = f"{facts['claim']}; {facts['epochs']} epochs; {facts['hardware']}"
            cells = [
                what,
                facts["n"],
                *(f"{each} %" for each in told),
                "–".join(sorted({f"{min(minutes):.0f}", f"{max(minutes):.0f}"}, key=int)),
            ]
            lines.append(f"| {' | '.join(map(str, cells))} | [{path.name}]({LINKS}/{path.name}) |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def box_protocols() -> str:
    """A table a detector; one row a protocol and precision: AP with its interval, AP50, AP75."""
    return "\n".join(_by_protocol(path) for path in sorted(HERE.glob("detection_protocols*.json")))


def _by_protocol(path: Path) -> str:
    facts = json.loads(path.read_text())
    head = f"[{path.name}]({LINKS}/{path.name}), {facts['n']} test pictures"
    lines = [f"| {head} | precision | AP | 95 % interval | AP50 | AP75 |"]
    lines.append("| --- | --- | ---: | --- | ---: | ---: |")
    for row in facts["rows"]:
        interval = f"{100 * row['ap_low']:.1f} to {100 * row['ap_high']:.1f}"
        figures = [f"{100 * row[name]:.1f}" for name in ("ap", "ap50", "ap75")]
        how = ", ".join(part for part in (row.get("of"), row["protocol"]) if part)
        lines.append(f"| {how} | {row['precision']} | {figures[0]} | {interval} | {' | '.join(figures[1:])} |")
    return "\n".join(lines) + "\n"


def localised(path: Path = HERE / "localisation.json") -> str:
    """One row a way: the error given the true class with its interval, the top-5 localisation error, of the class."""
    facts = json.loads(path.read_text())
    heads = ("error given the class", "95 % interval of the first", "top-5 localisation error", "of the class alone")
    told = f"[{path.name}]({LINKS}/{path.name}), {facts['n']} pictures, seeds {', '.join(map(str, facts['seeds']))}"
    lines = [f"| {told} | {' | '.join(heads)} |", "| --- | ---: | --- | ---: | ---: |"]
    for row in facts["rows"]:
        given, error, named = (
            " and ".join(f"{100 * value:.1f}" for value in row[figure]["each"]) + " %"
            for figure in ("given_error", "error", "class_top5_error")
        )
        low, high = (100 * end for end in row["given_error_interval_95_of_first"])
        lines.append(f"| {row['what']} | {given} | {low:.1f} to {high:.1f} % | {error} | {named} |")
    return "\n".join([*lines, "", facts["note"]]) + "\n"


def left_out() -> str:
    """One row a number of units left out: error before and after fine-tuning, times as fast as the intact network.

    Then the error in 8 bits of what was fine-tuned, and how many times as fast that is as the intact one in float32.
    """
    path = HERE / "slim_resnet44.json"
    facts = json.loads(path.read_text())
    runtimes = {"onnxruntime": "onnxruntime", "openvino": "OpenVINO"}
    heads = ["error", f"after {facts['steps']} steps", "batch 1", "batch 16"]
    heads += [f"8 bits, {told}{what}" for told in runtimes.values() for what in ("", ", batch 16")]
    lines = [f"| [{path.name}]({LINKS}/{path.name}) | {' | '.join(heads)} |"]
    lines.append("| ---: " * (1 + len(heads)) + "|")
    for row in facts["rows"]:
        errors = [f"{100 * row[when]['error']:.2f} %" if row.get(when) else "" for when in ("before", "after")]
        speeds = [f"x {row[size]['times_as_fast']['median']:.2f}" for size in ("batch 1", "batch 16")]
        for runtime in runtimes:
            cell = row["int8"][runtime]
            speeds += [f"{100 * cell['error']:.2f} %", f"x {cell['batch 16']['times_as_fast']['median']:.2f}"]
        lines.append(f"| {row['units_out']} units | {' | '.join([*errors, *speeds])} |")
    return "\n".join(lines) + "\n"


def through_onnx() -> str:
    """One row for all networks that keep to the bar, one for each that does not, beside its own rounding."""
    path = HERE / "onnx_catalogue.json"
    facts = json.loads(path.read_text())
    beyond = [row for row in facts["rows"] if row["probabilities_apart"] > facts["wanted"]]
    within = [row for row in facts["rows"] if row not in beyond]
    told = [(f"{len(within)} networks, the largest", max(within, key=lambda row: row["probabilities_apart"]))]
    told += [(row["network"], row) for row in beyond]
    lines = [f"| [{path.name}]({LINKS}/{path.name}) | probability apart | logit apart | float32 from float64 |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for name, row in told:
        lines.append(
            f"| {name} | {row['probabilities_apart']:.1g} | {row['logits_apart']:.1g} | {row['rounding']:.1g} |"
        )
    return "\n".join(lines) + "\n"


def in_8_bits() -> str:
    """One row a runtime in 8 bits: times as fast as float32, share of first classes that stay."""
    path = HERE / "slim_resnet50.json"
    facts = json.loads(path.read_text())
    lines = [f"| [{path.name}]({LINKS}/{path.name}) | batch 1 | batch 16 | same first class |", "| --- " * 4 + "|"]
    for name in ("onnxruntime int8", "OpenVINO int8"):
        rows = [row for size in ("batch 1", "batch 16") for row in facts["rows"][size] if row["contender"] == name]
        same = [f"{100 * each[name]['same_first_class']:.0f} % {each['photos']}" for each in facts["agreement"]]
        speeds = [f"x {row['times_as_fast']['median']:.2f}" for row in rows]
        lines.append(f"| {' | '.join([name, *speeds, ', '.join(same)])} |")
    return "\n".join(lines) + "\n"


def memory() -> str:
    """One row a way of training a very deep network: peak memory and time of a step, beside the plain one's."""
    lines = [
        "| network | step | batch | GiB | of plain | times its time |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for path in sorted(HERE.glob("memory_*.json")):
        facts = json.loads(path.read_text())
        name = path.stem.removeprefix("memory_")
        for row in facts["rows"]:
            if "seconds" in row:
                size = f"{row['peak_bytes'] / 2**30:.2f}"
                beside = [f"{row[each]:.2f}" if each in row else "" for each in ("of_plain_peak", "of_plain_time")]
                cells = [f"[{name}]({LINKS}/{path.name})", row["how"], row["batch_size"], size, *beside]
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def together() -> str:
    """One row a way of training several networks at once: steps a second of all, times those of one."""
    path = HERE / "gpu_together.json"
    facts = json.loads(path.read_text())
    lines = [f"| [{path.name}]({LINKS}/{path.name}), {facts['hardware']} | networks | steps/s | times |"]
    lines.append("| --- | ---: | ---: | ---: |")
    lines += [
        f"| {r['contender']} | {r['networks']} | {r['steps_per_second']} | {r['times']:.2f} |" for r in facts["rows"]
    ]
    return "\n".join(lines) + "\n"


def servers(name: str = "serve") -> str:
    """One row a server and number of clients, medians over rounds."""
    path = HERE / f"{name}.json"
    facts = json.loads(path.read_text())
    lines = [
        f"| [{path.name}]({LINKS}/{path.name}), {facts['hardware']} | clients | requests/s | p50 | p99 | peak memory |"
    ]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in facts["rows"]:
        told = {name: cell["median"] for name, cell in row.items() if isinstance(cell, dict)}
        times = [f"{told[name]:,.0f} ms" if name in told else "" for name in ("p50_ms", "p99_ms")]
        cells = [f"{told['requests_per_second']:.1f}", *times, f"{told['peak_bytes'] / 1e9:.1f} GB"]
        lines.append(f"| {row['contender']} | {row['clients'] or ''} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def boxes() -> str:
    """One row a set of published detections: figures, the largest difference from what they should be, the bar."""
    path = HERE / "detection_ap.json"
    groups: dict[tuple[str, str, float], list[float]] = {}
    for row in json.loads(path.read_text())["rows"]:
        groups.setdefault((row["fixture"], row["by"], row["bar"]), []).append(abs(row["difference"]))
    lines = [
        f"| [{path.name}]({LINKS}/{path.name}) | held against | figures | largest difference | bar |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for (fixture, by, bar), differences in groups.items():
        lines.append(f"| {fixture} | {by} | {len(differences)} | {max(differences):.1g} | {bar:g} |")
    return "\n".join(lines) + "\n"


def demands() -> str:
    """One row a list: how many of its rows are answered, in part, or not."""
    path = HERE / "peers_demands.json"
    facts = json.loads(path.read_text())
    lines = [f"| [{path.name}]({LINKS}/{path.name}) | rows | answered | in part | not |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for name, what in (("demands", "what users ask for in public"), ("features", "what 27 other tools have")):
        counts = facts["counts"][name]
        lines.append(f"| {what} | {sum(counts.values())} | {' | '.join(str(each) for each in counts.values())} |")
    return "\n".join(lines) + "\n"


def installs() -> str:
    """What `pip install deepres` adds to torch, before and now; and how many of timm's networks are here."""
    path = HERE / "peers.json"
    facts = json.loads(path.read_text())
    lines = [f"| `pip install deepres` beside torch, [{path.name}]({LINKS}/{path.name}) | packages | MB | seconds |"]
    lines.append("| --- | ---: | ---: | ---: |")
    told = {
        "before": "with scikit-learn, tensorboard, huggingface_hub",
        "now": "these as extras",
    }
    for name, what in told.items():
        row = facts["installed_beside_torch"][name]
        lines.append(
            f"| {what} | {row['packages']} | {row['mb']:.0f} | {row['processor_seconds']:.0f} of a processor |"
        )
    counts = facts["networks"]
    lines += [
        "",
        f"Of timm's {counts['timm_has']} networks of these families {counts['in_the_catalogue']} are in the catalogue.",
    ]
    return "\n".join(lines) + "\n"


TABLES = {
    "measured": table,
    "photos": photos,
    "fast": speeds,
    "drills": drills,
    "descriptions": descriptions,
    "claims": claims,
    "trained": trained,
    "papers": papers,
    "foreign": foreign,
    "protocols": protocols,
    "tasks": tasks,
    "boxes": boxes,
    "detectors": detectors,
    "box_protocols": box_protocols,
    "localised": localised,
    "memory": memory,
    "together": together,
    "servers": servers,
    "HTTP": partial(servers, "serve_http"),
    "one_client": partial(servers, "serve_one_client"),
    "left_out": left_out,
    "in_8_bits": in_8_bits,
    "through_onnx": through_onnx,
    "demands": demands,
    "installs": installs,
}


def written(page: Path) -> str:
    """The page with the tables as the evidence has them."""
    return MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", page.read_text())


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(written(each))
        print(each)
