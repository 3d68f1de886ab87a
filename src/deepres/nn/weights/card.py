"""What a network is, as a model card: README.md with the YAML head that hubs read. Nothing in it is guessed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from deepres.base.errors import InputError
from deepres.base.files import explained, read_text, write_atomic
from deepres.base.wording import counted, shown, some

CARD = "README.md"
UNKNOWN = "unknown"
"""The licence where nobody has said one; hubs know the word."""

_TASKS = {
    "features": ("image-feature-extraction", "", "gives features of a picture"),
    "class": ("image-classification", "accuracy", "names one class of a picture"),
    "classes": ("image-classification", "mean_average_precision", "names all classes that a picture shows"),
    "numbers": ("image-regression", "mae", "tells numbers of a picture"),
    "boxes": ("object-detection", "mean_average_precision", "finds objects in a picture, with their boxes"),
}
"""Form of the targets (`data/forms.py`), or features -> the hub's words for task and figure, and what it does."""

NAMING = ("classification", "multilabel", "detection")
"""Tasks whose outputs are classes, which hubs number."""
_PIPELINES = ("image-feature-extraction", "image-classification", "object-detection")
_HUB = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
}
_MOST = 100
"""Classes that are named one by one."""

_SEAL = re.compile(r"\n<!-- written by deepres, sha256 ([0-9a-f]{64}): once changed, it is left as it is -->\n?\Z")


@dataclass(frozen=True)
class Measured:
    """What was measured: the figure that stands first, with its 95 % interval, as a number and as a person reads it.

    `detail` is of what the figure is; `figures` are all that there are, `notes` what has to be known beside them.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    text: str
    interval: str
    detail: str
    images: int
    split: str
    protocol: str
    precision: str
    figures: Mapping[str, float]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class CardFacts:
    """What a card says; texts from outside are cleaned here.

    `network` is the network's name, `timm` whether timm opens the folder; `names` are what its outputs are called;
    `splits` how many images each split has and how it came to be; `training` what is told of how it was trained, by
    what it is; `measured` None: nothing was. `limits` are sentences. `answers`: the folder says all that answers need.
    """

    network: str
    form: str
    names: tuple[str, ...] = ()
    timm: bool = False
    license: str | None = None
    dataset: str = ""
    splits: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    input: Sequence[int] = ()
    parameters: int | None = None
    measured: Measured | None = None
    training: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[str] = ()
    answers: bool = True


def card(facts: CardFacts) -> str:
    """The whole of README.md; the same facts give the same text."""
    head = yaml.safe_dump(_head(facts), sort_keys=False, allow_unicode=True, width=10_000)
    title = f"{facts.network} on {facts.dataset}" if facts.dataset else facts.network
    sections = [
        _is(facts),
        *([_data(facts)] if facts.splits else []),
        _figures(facts),
        _use(facts),
        *([_table("How it was trained", facts.training)] if facts.training else []),
        _limits(facts),
    ]
    return f"---\n{head}---\n\n# {_text(title)}\n\n" + "\n\n".join(sections) + "\n"


def write_card(folder: Path, text: str) -> str | None:
    """Write it, but over a card that somebody has changed, or that is no file; then a line says that it is not.

    The last line seals what stands before it, so that a change is known.
    """
    path = folder / CARD
    if path.exists() and not _is_own(path):
        return f"{path}: changed by hand, and left as it is; remove it to have it written anew"
    body = text.rstrip("\n") + "\n"
    seal = f"\n<!-- written by deepres, sha256 {_digest(body)}: once changed, it is left as it is -->\n"
    with explained(path):
        write_atomic(path, body + seal)
    return None


def _is_own(path: Path) -> bool:
    """Whether it is as `write_card` wrote it, or empty."""
    try:
        text = read_text(path, "model card")
    except InputError:
        return False
    seal = _SEAL.search(text)
    return not text or (seal is not None and seal[1] == _digest(text[: seal.start()]))


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _head(facts: CardFacts) -> dict[str, Any]:
    task, metric, _ = _TASKS[facts.form]
    library, dataset = "timm" if facts.timm else "deepres", shown(facts.dataset)
    return {
        "license": facts.license or UNKNOWN,
        "library_name": library,
        **({"pipeline_tag": task} if task in _PIPELINES else {}),
        "tags": list(dict.fromkeys([task, "deepres", *(["timm"] if facts.timm else [])])),
        **({"datasets": [_HUB.get(dataset, dataset)]} if dataset else {}),
        **({} if facts.measured is None else {"metrics": [metric], "model-index": [_index(facts, facts.measured)]}),
    }


def _index(facts: CardFacts, result: Measured) -> dict[str, Any]:
    task, metric, _ = _TASKS[facts.form]
    dataset = shown(facts.dataset) or UNKNOWN
    value, low, high, name = result.value, result.low, result.high, result.name
    if metric == "accuracy":  # what is measured is the error
        value, name = 1 - value, "accuracy"
        low, high = (None if high is None else 1 - high), (None if low is None else 1 - low)
    measured: dict[str, Any] = {"type": metric, "name": shown(name), "value": round(value, 6)}
    if low is not None and high is not None:
        measured["args"] = {"interval_95": [round(low, 6), round(high, 6)], "images": result.images}
    of = {"name": dataset, "type": _HUB.get(dataset, dataset), "split": result.split}
    return {"name": facts.network, "results": [{"task": {"type": task}, "dataset": of, "metrics": [measured]}]}


def _is(facts: CardFacts) -> str:
    _, _, does = _TASKS[facts.form]
    size = f", of {facts.parameters:,} parameters" if facts.parameters is not None else ""
    sees = f" It sees {' x '.join(map(str, facts.input))} (channels, height, width)." if facts.input else ""
    lines = ["## What it is", "", f"`{facts.network}`{size}: it {does}.{sees}"]
    if facts.names:
        what = "numbers" if facts.form == "numbers" else "classes"
        where = " (`config.json`)" if len(facts.names) > _MOST else ""
        lines += ["", f"Its {len(facts.names):,} {what}: {some(map(_text, facts.names), _MOST)}{where}."]
    if facts.license is None:
        lines += ["", "Under which licence the weights may be used nobody has said."]
    return "\n".join(lines)


def _data(facts: CardFacts) -> str:
    rows = [f"| {split} | {number:,} | {_text(how)} |" for split, (number, how) in facts.splits.items()]
    of = f"Images of {_text(facts.dataset)}." if facts.dataset else ""
    return "\n".join(["## Data", "", of, "", "| split | images | how it came to be |", "| --- | ---: | --- |", *rows])


def _figures(facts: CardFacts) -> str:
    result = facts.measured
    if result is None:
        return "## Figures\n\nNothing was measured."
    interval = f" (95 % interval {result.interval})" if result.interval else ""
    detail = f", {result.detail}" if result.detail else f" of {counted(result.images, 'image')}"
    lines = ["## Figures", "", f"**{_text(result.name)} {result.text}**{interval}{detail}, split `{result.split}`."]
    how = f"Protocol: {_text(result.protocol)}"
    lines += ["", f"{how}{f', computed in {_text(result.precision)}' if result.precision else ''}.", ""]
    lines += ["| figure | value |", "| --- | ---: |"]
    lines += [f"| {_text(name)} | {value:.6g} |" for name, value in result.figures.items()]
    lines += [text for note in result.notes for text in ("", _text(note))]
    return "\n".join(lines)


def _use(facts: CardFacts) -> str:
    lines = ["## How to use it", "", "In this folder, with `pip install deepres`:", ""]
    if not facts.answers:
        lines += ["```python", "import deepres", "", 'network = deepres.load(".")', "```"]
        return "\n".join([*lines, *_by_timm(facts)])
    lines += ["```bash", "deepres predict . photo.jpg", "```", ""]
    lines += ["```python", "import deepres", "", 'predictor = deepres.Predictor.load(".")']
    lines += ['for answer in predictor.answers(["photo.jpg"]):', "    print(answer.line())", "```"]
    return "\n".join([*lines, *_by_timm(facts)])


def _by_timm(facts: CardFacts) -> list[str]:
    call = 'network = timm.create_model("local-dir:.", pretrained=True).eval()'
    told = ["", "The network alone, by timm:", "", "```python", "import timm", "", call, "```"]
    return told if facts.timm else []


def _table(title: str, rows: Mapping[str, str]) -> str:
    told = [f"| {_text(name)} | {_text(value)} |" for name, value in rows.items()]
    return "\n".join([f"## {title}", "", "| what | value |", "| --- | --- |", *told])


def _limits(facts: CardFacts) -> str:
    result, limits = facts.measured, [*facts.limits]
    if result is None:
        limits.append("How good it is was not measured.")
    elif result.split == "val":
        limits.append("It was measured on the images that also chose its weights: the figures flatter it a little.")
    elif result.split != "test":
        limits.append(f"It was measured on the split {result.split}.")
    limits.append("The figures are of pictures like those it was measured on; of others they say nothing.")
    if facts.form == "class":
        limits.append("It answers with one of its classes also where a picture shows none of them.")
    return "\n".join(["## Limits", "", *(f"- {_text(limit)}" for limit in limits)])


def _text(text: str) -> str:
    """Safe to show, and plain text to Markdown and HTML."""
    safe = shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#~$!])", r"\\\1", safe)
