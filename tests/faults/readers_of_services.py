"""Readers of what the server, the queue and a start are given, a valid file for each: part of `fuzz.readers()`."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzz import Reader

from deepres.recipes.written import read_written
from deepres.serve.limits import token_in
from deepres.serve.served import _measured
from deepres.studies.queue import load_queue
from deepres.studies.queue_status import _came, _history

_QUEUE = {"folder": "runs/full", "runs": [{"study": "resnet/table6", "rows": ["ResNet-20"], "seeds": [1], "turn": 1}]}
_SUMMARY = {"weights_sha256": "ab", "source": "digits", "split": "test", "num_images": 3, "error": 0.5}
_HISTORY = '{"step": 3, "seconds": 1.5}\n{"step": 6, "seconds": 1.25}\n'


def readers_of_services() -> list[Reader]:
    """Files of people, and those of runs that are only asked in passing."""
    return [
        Reader("fields of a run (JSON)", _written("c.json", '{"train.epochs": 3, "model": "resnet18"}'), _fields),
        Reader("fields of a run (YAML)", _written("c.yaml", "train:\n  epochs: 3\nmodel: resnet18\n"), _fields),
        Reader("queue of runs", _written("queue.json", json.dumps(_QUEUE)), load_queue),
        Reader("token", _written("token", "0123456789abcdef\n"), token_in),
        Reader(
            "summary of what is served",
            _written("summary.json", json.dumps(_SUMMARY)),
            lambda file: _measured(str(file.parent), "ab"),
        ),
        Reader(
            "history of a queue's run", _written("history.jsonl", _HISTORY), lambda file: list(_history(file.parent))
        ),
        Reader(
            "evidence of a queue's run",
            _written("run.json", '{"claim": "x"}'),
            lambda file: _came(_job(file), file.parent),
        ),
    ]


def _written(name: str, text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return write


def _job(file: Path) -> Any:
    return SimpleNamespace(evidence=lambda home: file)


def _fields(file: Path) -> object:
    return read_written(str(file))
