"""All printed figures beside ours: what stands there, why something does not, and the page of all studies."""

import json
from pathlib import Path

import pytest

from deepres.cli import main
from deepres.studies import results as module
from deepres.studies import study as studies_module
from deepres.studies.plan import cells
from deepres.studies.results import QUOTED, page, results, summary
from deepres.studies.speed import MachineSpeed
from deepres.studies.study import Paper, Study, study_named
from deepres.studies.verdict import CellResult, Outcome, outcome

RATE = MachineSpeed(hardware="a machine", network="resnet20_cifar", macs_per_second=1e11)


def _found(study: Study, home: Path, **ended: object) -> Outcome:
    """The outcome without runs, but for ResNet-20's test error where `ended` says what came out."""
    nothing = outcome(study, "full", home, absent={"cifar100": "CIFAR-100: not at hand"})
    if not ended:
        return nothing
    own = CellResult.model_validate({"row": "ResNet-20", "column": "error", **ended})
    return nothing.replace(found=tuple(own if one.column == "error" else one for one in nothing.found))


def test_each_printed_figure_stands_there_once_with_ours_or_the_reason(tmp_path: Path) -> None:
    study = study_named("resnet/table6").only(("ResNet-20", "Maxout"))
    one = results(study, _found(study, tmp_path), {})
    printed = [(row.label, name) for row in study.rows for name in row.printed]
    assert sum(bool(each.printed) for each in one.figures) == len(printed)
    by = {(each.row, each.column): each for each in one.figures}
    assert by["Maxout", "test error"].reason == QUOTED
    assert by["ResNet-20", "layers"].verdict == "reproduced"
    error = by["ResNet-20", "test error"]
    jobs = next(cell.jobs for cell in cells(study, "full") if cell.column.measure == "error")
    assert (error.printed, error.ours, error.verdict, error.wanted) == ("8.75", "", "not run", len(jobs))
    assert error.reason == "not trained yet"
    assert error.left == one.left == sum(job.macs for job in jobs)
    assert one.counts == {"reproduced": 2, "not run": 1}
    assert sum(one.counts.values()) == 3  # what is quoted from others is not counted
    assert summary([one]) == "1 study, 3 printed figures: 2 reproduced, 1 not run"


def test_what_was_trained_has_its_seeds_hours_and_verdict_and_less_is_left(tmp_path: Path) -> None:
    study = study_named("resnet/table6").only(("ResNet-20",))
    jobs = next(cell.jobs for cell in cells(study, "full") if cell.column.measure == "error")
    ended = {"values": (8.6, 8.8), "quoted": 8.7, "std": 0.14, "wanted": len(jobs), "verdict": "reproduced"}
    found = _found(study, tmp_path, runs=tuple(job.name for job in jobs[:2]), **ended)
    one = results(study, found, {jobs[0].name: 2.5, jobs[1].name: 3.0})
    error = next(each for each in one.figures if each.column == "test error")
    assert (error.verdict, error.seeds, error.hours, error.reason) == ("reproduced", 2, 5.5, "")
    assert error.ours.startswith("8.70 ± 0.14")
    assert one.hours == 5.5
    assert one.left == sum(job.macs for job in jobs[2:])
    text = page([one], RATE, "a command")
    assert "8.70 ± 0.14" in text
    assert "trained so far: 5.5 hours" in text


def test_what_cannot_be_trained_says_so_and_a_set_that_is_missing_is_named(tmp_path: Path) -> None:
    study = study_named("highway/cifar")
    one = results(study, _found(study, tmp_path), {})
    assert one.lacking
    assert f"Cannot be trained here: {one.lacking}." in page([one], RATE, "a command").replace("&#39;", "'")
    hundred = study_named("identity/table4")
    reasons = {each.reason for each in results(hundred, _found(hundred, tmp_path), {}).figures}
    assert "CIFAR-100: not at hand" in reasons


def test_the_command_writes_the_page_of_all_studies(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    papers = (Paper(name="test", citation="nobody: two of <20> layers", studies=(study,)),)
    studies_module.studies.cache_clear()
    monkeypatch.setattr(studies_module, "papers", lambda: papers)
    monkeypatch.setattr(module, "papers", lambda: papers)
    monkeypatch.setattr("deepres.studies.speed.speed", lambda _: RATE)
    words = ["reproduce", "--report-only", "--output", str(tmp_path)]
    try:
        assert main.run(words) == 0
        said = capsys.readouterr().out
        assert main.run([*words, "--json"]) == 0
        (one,) = json.loads(capsys.readouterr().out)["studies"]
        assert main.run([*words, "--only", "ResNet-20"]) == 2
        assert "--only: of which study? deepres reproduce STUDY --only" in capsys.readouterr().err
    finally:
        studies_module.studies.cache_clear()
    assert one["study"] == study.name
    assert {each["verdict"] for each in one["figures"]} == {"", "not run", "shown"}
    assert "1 study, 0 printed figures" in said
    assert f"report: {tmp_path / 'reports' / 'all.html'}" in said
    text = (tmp_path / "reports" / "all.html").read_text()
    assert "nobody: two of &lt;20&gt; layers" in text
    assert "ResNet-20 below plain-20: not known yet (shortcuts help)" in text
