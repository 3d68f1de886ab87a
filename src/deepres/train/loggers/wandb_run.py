"""A run of Weights & Biases, online or offline as its own settings say (WANDB_MODE, WANDB_PROJECT, WANDB_DIR)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepres.base.errors import InputError
from deepres.base.extras import need, quiet
from deepres.base.records import Record, recalled
from deepres.base.wording import shown
from deepres.train.loggers.logger import About, Ended, EpochRow, numbers

TOLD = "wandb.json"
_LOCAL = ("offline", "dryrun", "disabled")


class Told(Record):
    """Which run it is there, and the step of the last row that was given: offline, nobody else knows it."""

    run: str
    step: int


class WandbRun:
    """The run's own name is its id there, so that it goes on as one; in `RUN/wandb.json` stands how far it is told."""

    def __init__(self) -> None:
        with quiet():
            self._wandb: Any = need("wandb", "--log wandb")
            local = os.environ.get("WANDB_MODE", "online") in _LOCAL
            if not local and not self._wandb.login(prompt=False, verify=False):
                raise InputError(
                    "--log wandb: not logged in; wandb login, or WANDB_MODE=offline to keep it here for wandb sync"
                )
        self._run: Any = None
        self._path, self._id, self._told = Path(), "", -1

    def begin(self, about: About) -> str:
        wandb, self._path, self._id = self._wandb, about.folder / TOLD, about.run
        with quiet():
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "deepres"),
                id=about.run,
                name=shown(about.folder.name),
                dir=os.environ.get("WANDB_DIR", str(about.folder.absolute())),  # it is another process that writes
                config=dict(about.plan),
                allow_val_change=True,  # a longer run is the same one
                resume="allow",
                reinit="create_new",  # beside one that the caller may have
                settings=wandb.Settings(silent=True, console="off", save_code=False),
            )
            known = recalled(Told, self._path)
            kept = known.step if known is not None and known.run == about.run else -1
            self._told = max(kept, self._run.starting_step - 1)
            for row in about.rows:
                self.row(row)
            if self._run.offline:
                return f"wandb: offline; to send it later: wandb sync {shown(str(Path(self._run.dir).parent))}"
            return f"wandb: {shown(str(self._run.url or self._run.id))}"

    def row(self, row: EpochRow) -> None:
        if row["step"] <= self._told:
            return
        self._told = row["step"]
        Told(run=self._id, step=self._told).save(self._path)  # before: rather none than two
        with quiet():
            self._run.log({"epoch": row["epoch"], **numbers(row)}, step=row["step"], commit=True)

    def result(self, figures: Mapping[str, float]) -> None:
        with quiet():
            self._run.summary.update(dict(figures))

    def close(self, ended: Ended) -> None:
        if self._run is not None:
            with quiet():
                self._run.finish(exit_code=int(ended == "failed"))
