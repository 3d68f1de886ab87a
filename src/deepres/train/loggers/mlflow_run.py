"""A run of MLflow, where its own settings say (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME)."""

import os
import re
from collections.abc import Mapping
from time import time
from typing import Any

from deepres.base.extras import need, quiet
from deepres.base.records import flat
from deepres.base.version import VERSION
from deepres.base.wording import shown
from deepres.train.loggers.logger import About, Ended, EpochRow, numbers

OWN = "deepres.run"
"""The tag that bears the run's own name: by it a run that goes on is found."""
_LONGEST = 5000  # letters of a value
_AT_ONCE = 100  # parameters
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Of a server that does not answer, where nothing else is set: training waits for it."""


class MlflowRun:
    """The store says which epochs it has; a field that changes on the way (a longer run) is written as a tag."""

    def __init__(self) -> None:
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        with quiet():
            self._client: Any = need("mlflow.tracking", "--log mlflow").MlflowClient()
            self._entities: Any = need("mlflow.entities", "--log mlflow")
        self._id, self._steps, self._last = "", set[int](), 0

    def begin(self, about: About) -> str:
        with quiet():
            self._id = self._found(about)
            self._steps = {each.step for each in self._client.get_metric_history(self._id, "epoch")}
            self._plan({_key(name): _cut(value) for name, value in flat(about.plan)})
        self._last = about.step
        for row in about.rows:
            self.row(row)
        return f"mlflow: run {self._id} of the experiment {shown(_experiment())}"

    def row(self, row: EpochRow) -> None:
        self._last = row["step"]
        if row["step"] not in self._steps:
            self._steps.add(row["step"])
            self._log({"epoch": float(row["epoch"]), **numbers(row)})

    def result(self, figures: Mapping[str, float]) -> None:
        self._log(figures)

    def close(self, ended: Ended) -> None:
        if self._id:
            status = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[ended]
            with quiet():
                self._client.set_terminated(self._id, status)

    def _found(self, about: About) -> str:
        client, name = self._client, _experiment()
        known = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if known is None else known.experiment_id
        found = client.search_runs([experiment], f"tags.`{OWN}` = '{about.run}'")
        if found:
            client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        tags = {OWN: about.run, "deepres.version": VERSION}
        return str(client.create_run(experiment, tags=tags, run_name=shown(about.folder.name)).info.run_id)

    def _plan(self, plan: Mapping[str, str]) -> None:
        there = self._client.get_run(self._id).data.params
        new = [self._entities.Param(name, value) for name, value in plan.items() if name not in there]
        other = [self._entities.RunTag(k, value) for k, value in plan.items() if there.get(k, value) != value]
        for start in range(0, len(new), _AT_ONCE):
            self._client.log_batch(self._id, params=new[start : start + _AT_ONCE])
        self._client.log_batch(self._id, tags=other)

    def _log(self, figures: Mapping[str, float]) -> None:
        now = int(time() * 1000)
        metrics = [self._entities.Metric(_key(name), value, now, self._last) for name, value in figures.items()]
        with quiet():
            self._client.log_batch(self._id, metrics=metrics)


def _experiment() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", "deepres")


def _key(name: str) -> str:
    """What MLflow takes as a name."""
    return re.sub(r"[^\w\-./ ]", "_", name, flags=re.ASCII)


def _cut(value: object) -> str:
    text = shown(str(value))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
