import csv
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepres.base.errors import InputError
from deepres.base.events import Detail
from deepres.base.files import digest
from deepres.base.manifest import name_of
from deepres.cli.main import run
from deepres.train.config import TrainConfig
from deepres.train.history import read_history
from deepres.train.loggers.logger import About, Ended, EpochRow, Logger
from deepres.train.loggers.logs import AllLoggers, loggers
from deepres.train.loggers.names import KNOWN
from processes import DEEPRES, ended_together

TRAIN = [
    "--model",
    "resnet8_tiny",
    "--device",
    "cpu",
    "--compile",
    "off",
    "--workers",
    "0",
    "--batch-size",
    "256",
    "--set",
    "preparation.crop=8",
]


def _row(epoch: int, val: float | None = 0.25) -> dict[str, Any]:
    return {"epoch": epoch, "step": 10 * epoch, "train_loss": 0.5 / epoch, "val_error": val, "best": True, "lr": 0.1}


def _about(folder: Path, step: int = 0, rows: int = 0, run: str = "abc") -> About:
    return About(folder, run, {"seed": 3, "train": {"epochs": 4}}, step, [_row(epoch) for epoch in range(1, rows + 1)])


class Failing:
    """Raises where it is told to."""

    def __init__(self, at: str = "") -> None:
        self.at, self.heard = at, list[str]()

    def _hear(self, what: str) -> None:
        self.heard.append(what)
        if self.at == what:
            raise RuntimeError("no more room\non the server\x1b[2J")

    def begin(self, about: About) -> str:
        self._hear("begin")
        return "seen at \x1b]0;there"

    def row(self, row: EpochRow) -> None:
        self._hear("row")

    def result(self, figures: Mapping[str, float]) -> None:
        self._hear("result")

    def close(self, ended: Ended) -> None:
        self._hear(ended)


@pytest.mark.parametrize("at", ["begin", "row", "result", "finished"])
def test_a_logger_that_fails_is_told_of_once_and_left_out(at: str, tmp_path: Path) -> None:
    failing, whole, said = Failing(at), Failing(), list[Any]()
    with AllLoggers({"one": failing, "other": whole}, said.append) as logs:
        logs.begin(_about(tmp_path))
        logs.row(_row(1))
        logs.row(_row(2))
        logs.result({"test_error": 0.1})
    assert whole.heard == ["begin", "row", "row", "result", "finished"]
    lines = [line for line in said if isinstance(line, str)]
    assert lines == ["--log one: no more room; the run goes on without it, history.jsonl has every epoch"]
    assert failing.heard.index(at) >= len(failing.heard) - 2  # then it is closed, and hears no more
    assert all("\x1b" not in event.text for event in said if isinstance(event, Detail))


@pytest.mark.parametrize(
    ("error", "ended"), [(KeyboardInterrupt, "stopped"), (OSError, "stopped"), (ValueError, "failed")]
)
def test_loggers_are_closed_however_a_run_ends(error: type[BaseException], ended: str) -> None:
    one = Failing()
    with suppress(error), AllLoggers({"one": one}, print, OSError):
        raise error
    assert one.heard == [ended]


def test_a_csv_has_the_rows_of_the_history_and_goes_on(tmp_path: Path) -> None:
    (table,) = loggers(["csv"]).values()
    table.begin(_about(tmp_path))
    for epoch in (1, 2, 3):
        table.row(_row(epoch, None if epoch == 2 else 0.25))
    assert _read(tmp_path) == [_texts(_row(epoch, None if epoch == 2 else 0.25)) for epoch in (1, 2, 3)]
    (table,) = loggers(["csv"]).values()
    table.begin(_about(tmp_path, 20, rows=2))  # the third is learnt again
    table.row({**_row(3), "=sum": 1.0})
    assert [row["epoch"] for row in _read(tmp_path)] == ["1", "2", "3"]
    assert (tmp_path / "history.csv").read_text().splitlines()[0].endswith(",'=sum")


def _texts(row: EpochRow) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in row.items()}


def _read(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.medium
def test_tensorboard_reads_the_events_also_those_before_it_was_asked_for(tmp_path: Path) -> None:
    _show(loggers(["auto"]), _about(tmp_path / "new"), [_row(1)])
    events = EventAccumulator(str(tmp_path / "new" / "events")).Reload()
    assert [event.value for event in events.Scalars("val/error")] == [0.25]
    assert events.Scalars("train/loss")[0].step == 10
    _show(loggers(["tensorboard"]), _about(tmp_path / "late", 20, rows=2), [_row(3)])
    assert _steps(tmp_path / "late") == [10, 20, 30]
    _show(loggers(["tensorboard"]), _about(tmp_path / "late", 20, rows=2), [_row(3), _row(4)])
    assert _steps(tmp_path / "late") == [10, 20, 30, 40]


def _steps(folder: Path) -> list[int]:
    return [event.step for event in EventAccumulator(str(folder / "events")).Reload().Scalars("train/loss")]


def _show(
    each: Mapping[str, Logger], about: About, rows: list[EpochRow], result: dict[str, float] | None = None
) -> None:
    def fails(event: object) -> None:
        assert not isinstance(event, str), event

    about.folder.mkdir(exist_ok=True)
    with AllLoggers(each, fails) as logs:
        logs.begin(about)
        for row in rows:
            logs.row(row)
        if result:
            logs.result(result)


def test_what_is_asked_for_is_named_once_and_known() -> None:
    assert TrainConfig(epochs=1).log == ("auto",)
    assert TrainConfig(epochs=1, log=("csv", "wandb", "csv")).log == ("csv", "wandb")  # type: ignore[arg-type]
    assert TrainConfig(epochs=1, log=("none",)).log == ()  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"log: 'wnadb' is no logger; wanted some of tensorboard,csv,wandb,mlflow"):
        TrainConfig(epochs=1).replace(log=("wnadb",))


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "csv"])
def test_a_library_that_is_not_there_is_refused_before_anything_is_done(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in (name, f"{name}.tracking", "torch.utils.tensorboard"):
        monkeypatch.setitem(__import__("sys").modules, each, None)
    assert run(["train", "digits", *TRAIN, "--log", f"csv,{name}", "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == f"deepres: --log {name}: needs {name}; pip install 'deepres[{name}]'\n"
    assert not (tmp_path / "run").exists()
    assert not loggers(["auto"]) or name != "tensorboard"


@pytest.mark.medium
def test_a_run_shows_its_rows_and_its_weights_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deepres.train.loggers import logs

    monkeypatch.setattr(logs, "CsvTable", lambda: Failing("row"))
    for name, flags in {"shown": ["--log", "tensorboard"], "not": ["--log", "none"], "fails": ["--log", "csv"]}.items():
        assert run(["train", "digits", *TRAIN, "--epochs", "2", "--output", str(tmp_path / name), *flags]) == 0
    assert len({digest(tmp_path / name / "model.safetensors") for name in ("shown", "not", "fails")}) == 1
    said = capsys.readouterr().err
    assert said.count("--log csv: no more room") == 1
    assert "no more room" in (tmp_path / "fails" / "log.txt").read_text()
    assert not (tmp_path / "not" / "events").exists()
    monkeypatch.undo()
    on = ["train", "--resume", str(tmp_path / "not"), "--epochs", "3", "--log", "csv"]
    assert run(on) == 0
    assert [row["epoch"] for row in _read(tmp_path / "not")] == ["1", "2", "3"]
    assert _read(tmp_path / "not") == [_texts(row) for row in read_history(tmp_path / "not")]


# with the libraries themselves

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not here: pip install 'deepres[wandb]'")
needs_mlflow = pytest.mark.skipif(
    find_spec("mlflow") is None, reason="mlflow is not here: pip install 'deepres[mlflow]'"
)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _of_wandb(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any], set[str], dict[str, Any]]:
    """Rows, summary, ids and settings that all offline runs in the folder hold, as `wandb sync` would send them."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, summary, ids, config = list[dict[str, Any]](), dict[str, Any](), set[str](), dict[str, Any]()
    for file in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        ends = monotonic() + 20
        while not (found := [Record.FromString(each) for each in _records(file.read_bytes())]) or (
            not found[-1].HasField("exit") and monotonic() < ends
        ):  # another process writes it, and ends a moment later
            sleep(0.05)
        for record in found:
            if record.HasField("history"):
                rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
            if record.HasField("summary"):
                summary |= {i.key: json.loads(i.value_json) for i in record.summary.update if i.key}
            if record.HasField("run"):
                ids.add(record.run.run_id)
                config |= {i.key: json.loads(i.value_json) for i in record.run.config.update if i.key}
    return rows, summary, ids, config


def _records(content: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format: blocks of 32 KiB, each piece with checksum, length and kind before it."""
    at, whole = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


@needs_wandb
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_is_told_each_row_once_and_goes_on_under_the_same_id(offline: Path) -> None:
    folder = offline / "run"
    _show(loggers(["wandb"]), _about(folder), [_row(1), _row(2)])
    _show(loggers(["wandb"]), _about(folder, 10, rows=1), [_row(2), _row(3)], {"test_error": 0.125})
    rows, summary, ids, config = _of_wandb(folder)
    assert [(row["_step"], row["epoch"]) for row in rows] == [(10, 1), (20, 2), (30, 3)]
    assert rows[0]["val/error"] == 0.25
    assert (ids, summary["test_error"], config["seed"]) == ({"abc"}, 0.125, 3)
    _show(loggers(["wandb"]), _about(folder, 20, rows=2, run="other"), [_row(3)])  # its record is another run's
    assert [row["_step"] for row in _of_wandb(folder)[0]] == [10, 20, 30, 10, 20, 30]


@needs_wandb
@pytest.mark.medium
def test_wandb_without_a_login_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert run(["train", "digits", *TRAIN, "--log", "wandb", "--output", str(tmp_path / "run")]) == 2
    assert "--log wandb: not logged in; wandb login, or WANDB_MODE=offline" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@needs_mlflow
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_is_told_each_row_once_and_goes_on_in_the_same_run(offline: Path) -> None:
    folder = offline / "run"
    _show(loggers(["mlflow"]), _about(folder), [_row(1), _row(2)])
    longer = About(folder, "abc", {"seed": 3, "train": {"epochs": 9}}, 10, [_row(1)])
    _show(loggers(["mlflow"]), longer, [_row(2), _row(3)], {"test_error": 0.125, "été: x": 1.0})
    (one,) = _of_mlflow()
    assert (one.info.status, one.info.run_name) == ("FINISHED", "run")
    assert one.data.params == {"seed": "3", "train.epochs": "4"}
    assert one.data.tags["train.epochs"] == "9"
    assert (one.data.metrics["test_error"], one.data.metrics["_t__ x"]) == (0.125, 1.0)
    assert _mlflow_steps(one) == [10, 20, 30]


def _of_mlflow() -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    return list(client.search_runs([client.get_experiment_by_name("deepres").experiment_id]))


def _mlflow_steps(one: Any) -> list[int]:
    from mlflow.tracking import MlflowClient

    return [metric.step for metric in MlflowClient().get_metric_history(one.info.run_id, "train/loss")]


@needs_wandb
@needs_mlflow
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_of_two_processes_one_logs_and_a_run_that_goes_on_is_the_same_one(offline: Path) -> None:
    words = [*DEEPRES, "train", "digits", *TRAIN, "--set", "train.accumulate=2", "--output", "run"]
    for code, _, errors in ended_together([*words, "--epochs", "2", "--log", "wandb,mlflow"]):
        assert code == 0, errors
    assert run([*words[len(DEEPRES) : -1], "alone", "--epochs", "2", "--log", "none"]) == 0
    assert digest(offline / "run" / "model.safetensors") == digest(offline / "alone" / "model.safetensors")
    assert run(["train", "--resume", "run", "--epochs", "3"]) == 0
    steps = [row["step"] for row in read_history(offline / "run")]
    rows, summary, ids, _ = _of_wandb(offline / "run")
    assert [row["_step"] for row in rows] == steps
    assert ids == {name_of(offline / "run")}
    (one,) = _of_mlflow()
    assert _mlflow_steps(one) == steps
    wanted = json.loads((offline / "run" / "summary.json").read_text())["error"]
    assert summary["test_error"] == one.data.metrics["test_error"] == wanted
