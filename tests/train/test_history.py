import json
from pathlib import Path

from deepres.tasks.validation import by_error
from deepres.train.history import HistoryWriter, read_history
from deepres.train.loop import Epoch
from deepres.train.state import EpochTotals


def _epoch(number: int, step: int) -> Epoch:
    tally = EpochTotals(loss=50.0, counts={"wrong": 20}, seen=100, seconds=2.0, waited=0.5)
    return Epoch(number, step, tally, 0.1, by_error(0.25, 0.5), best=True)


def test_a_row_divides_the_sums_once(tmp_path: Path) -> None:
    HistoryWriter(tmp_path, 0).write(_epoch(1, 10))
    (row,) = read_history(tmp_path)
    assert row["train_loss"] == 0.5
    assert row["train_error"] == 0.2
    assert row["images_per_second"] == 50
    assert row["data_wait_fraction"] == 0.25
    assert (row["val_error"], row["epoch"], row["step"]) == (0.25, 1, 10)


def test_a_resumed_run_drops_the_rows_that_it_will_write_again(tmp_path: Path) -> None:
    journal = HistoryWriter(tmp_path, 0)
    for number in (1, 2, 3):
        journal.write(_epoch(number, 10 * number))
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 4, "st')  # cut off by a crash
    assert [row["epoch"] for row in read_history(tmp_path)] == [1, 2, 3]
    HistoryWriter(tmp_path, 20).write(_epoch(3, 30))
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
