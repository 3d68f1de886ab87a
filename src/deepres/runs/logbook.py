"""What a run keeps of how it went: all that was said (`log.txt`), and each start or resume (`sessions.jsonl`)."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from deepres.base.errors import InputError
from deepres.base.events import Detail
from deepres.base.files import explained, open_to_append, read_bytes
from deepres.base.reading import parse_json
from deepres.base.wording import shown
from deepres.nn.environment import hardware, versions

LOG = "log.txt"
SESSIONS = "sessions.jsonl"


def logged(folder: Path, on_event: Callable[[Any], None]) -> Callable[[Any], None]:
    """`on_event`, which also writes lines and details into the run's log."""

    def log(event: Any) -> None:
        text = event.text if isinstance(event, Detail) else event
        if isinstance(text, str):
            _append(folder / LOG, f"{_now()}  {shown(text)}\n")
        on_event(event)

    return log


def begin_session(folder: Path, step: int, device: torch.device, command: str) -> None:
    """The run begins, or goes on from `step`: which command, software and hardware do it from here."""
    facts = {
        "began": _now(),
        "step": step,
        "command": command,
        "versions": dict(versions()),
        "hardware": hardware(device),
    }
    _append(folder / SESSIONS, json.dumps(facts) + "\n")


def sessions(folder: Path) -> list[dict[str, Any]]:
    """What `begin_session` wrote, from the first start on; a line cut off by a crash is left out."""
    found: list[dict[str, Any]] = []
    path = folder / SESSIONS
    with explained(path):
        lines = read_bytes(path).splitlines() if path.is_file() else []
    for line in lines:
        with suppress(InputError):
            facts = parse_json(line, path)
            found += [facts] if isinstance(facts, dict) and isinstance(facts.get("step"), int) else []
    return found


def _append(path: Path, text: str) -> None:
    with explained(path), open_to_append(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _now() -> str:
    return datetime.now().astimezone().isoformat(" ", "seconds")
