"""The promise of exact resuming, shown: a run that is killed and resumed ends with bitwise the same weights."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from deepres.base.errors import RunError
from deepres.base.files import digest
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find
from deepres.data.targets import form_of
from deepres.nn.weights.files import WEIGHTS

SETTINGS = ("--batch-size", "32", "--set", "train.epochs=2", "--set", "train.save_every_seconds=0.05")
OF_BOXES = (
    *("--batch-size", "2", "--set", "train.epochs=none", "--set", "train.iterations=16"),
    *("--set", "preparation.resize=96", "--set", "preparation.longest=192", "--set", "augmentation.scale=96,96"),
    *("--set", "train.save_every_seconds=0.05"),
)
"""Of pictures with boxes: small ones, and few of them."""
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class ResumeCheck:
    """SHA-256 of the final weights of the run without and with the interruption, and after which step that was."""

    uninterrupted: str
    resumed: str
    killed_after_step: int

    @property
    def equal(self) -> bool:
        """Whether every bit agrees."""
        return self.uninterrupted == self.resumed


def verify_resume(
    folder: Path, source: str, on_event: Callable[[str], None], settings: tuple[str, ...] | None = None
) -> ResumeCheck:
    """Train twice on `source` under `folder`: once through, once killed (SIGKILL) in the middle and resumed.

    Raises:
        RunError: one of the runs failed, or ended before it could be killed.
    """
    if settings is None:
        found = find(DataConfig(source=source))
        moves = any(form_of(images.targets).moves for images in found.splits.values())
        settings = OF_BOXES if moves else SETTINGS
    on_event("1/3 training without interruption")
    _deepres("train", source, *settings, "--output", str(folder / "through"))
    on_event("2/3 training again, killed in the middle of an epoch")
    killed = _kill(folder / "killed", "train", source, *settings, "--output", str(folder / "killed"))
    on_event(f"3/3 killed after the state of step {killed}; resuming")
    _deepres("train", "--resume", str(folder / "killed"))
    return ResumeCheck(digest(folder / "through" / WEIGHTS), digest(folder / "killed" / WEIGHTS), killed)


def _deepres(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "deepres", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(
            f"deepres {' '.join(arguments)}: ended with code {done.returncode}: {done.stderr.strip()[-300:]}"
        )


def _kill(folder: Path, *arguments: str) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", "deepres", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    began = monotonic()
    try:
        while monotonic() - began < PATIENCE_SECONDS and process.poll() is None:
            step = max((int(path.name.removeprefix("step-")) for path in folder.glob("state/step-*")), default=0)
            if step >= 5:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return step
            sleep(0.01)
    finally:
        process.kill()
        process.wait()
    raise RunError(
        f"deepres {' '.join(arguments)}: ended, or wrote no state, before it could be killed; use more images"
    )
