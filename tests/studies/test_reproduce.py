"""A study from its name to its report, through the front door."""

import json
from pathlib import Path

import pytest

from deepres.cli import main
from deepres.studies import study as studies_module
from deepres.studies.study import Paper, Row, Study


@pytest.fixture(autouse=True)
def known(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's study is the only one."""
    counts = study.replace(name="test/table2", columns=study.columns[2:], rows=study.rows[1:], claims=())
    detection = study.replace(name="test/table9", lacking="detection is not built yet")
    several = study.replace(
        name="test/table3",
        columns=(*study.columns, study.columns[1].replace(name="c100", dataset="cifar100")),
    )
    paper = Paper(name="test", citation="nobody", studies=(study, counts, several, detection))
    studies_module.studies.cache_clear()
    monkeypatch.setattr(studies_module, "papers", lambda: (paper,))


@pytest.fixture(autouse=True)
def forgotten() -> object:
    yield
    studies_module.studies.cache_clear()


def _run(*words: object) -> int:
    return main.run(["reproduce", *map(str, words)])


@pytest.mark.slow
def test_a_study_is_trained_compared_and_drawn_and_the_second_time_only_drawn(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("test/table1", "--scale", "short", "--data", images, "--output", tmp_path, "--device", "cpu")
    assert _run(*words) == 0
    first = capsys.readouterr()
    assert "2 of 2 runs" in first.err
    assert "ResNet-20" in first.out
    assert "9.00" in first.out
    assert " 0.2697" in first.out
    assert "test/table1 (short: 0.00469 % of the steps; order and sign only)" in first.out
    folder = tmp_path / "reports" / "test-table1-short"
    facts = json.loads((folder / "report.json").read_text())
    assert [run["done"] for run in facts["runs"]] == [3, 3]
    assert {one["verdict"] for one in facts["outcome"]["found"]} == {"shown"}
    assert facts["outcome"]["claims"][0]["better"] is not None
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "Short scale: 0.00469 % of the paper's steps" in page
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert "| Others | " in (folder / "report.md").read_text()
    assert _run(*words) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "runs:" not in again.err
    assert _run("test/table1", "--scale", "short", "--report-only", "--output", tmp_path, "--data", images) == 0


@pytest.mark.slow
def test_the_list_says_what_each_study_costs_and_how_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("--list", "--output", tmp_path, "--device", "cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["test/table1", "4", "256,000"]
    assert "needs no run" in lines[2]
    study = lines[4].split()[0]
    assert "not trained " in lines[4]
    assert f"{study}: not trained: detection is not built yet" in lines, "a reason widens no column"
    assert _run("--list", "--json", "--output", tmp_path, "--device", "cpu") == 0
    facts = json.loads(capsys.readouterr().out)["studies"]
    assert [one["runs_full"] for one in facts] == [4, 0, 8, 0]
    assert facts[0]["hours_full"] > facts[0]["hours_short"] > 0


def test_what_is_read_from_descriptions_needs_no_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("test/table2", "--output", tmp_path, "--device", "cpu") == 0
    assert "2 figures: 2 shown" in capsys.readouterr().out


@pytest.mark.slow
def test_a_dry_run_prints_the_runs_and_trains_none(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("test/table1", "--dry-run", "--data", images, "--output", tmp_path / "none", "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert out.count("64,000") == 4
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("test/table8",), "study 'test/table8': unknown; did you mean test/table"),
        (("test/table9",), "test/table9: cannot be run: detection is not built yet"),
        (("test/table1", "--data", "cifar100=x"), "--data cifar100: test/table1 does not use it; it uses cifar10"),
        (("test/table1", "--data", "no/such.npz"), "(studies without images: test/table2)"),
        (("test/table1",), "test/table1: cifar10 is not here; unpack cifar-10-python.tar.gz in ./data, or"),
        (
            ("test/table1", "--only", "ResNet-21", "--data", "IMAGES"),
            "row 'ResNet-21': unknown; did you mean ResNet-20?",
        ),
        (
            ("test/table1", "--share", "0.1", "--data", "IMAGES"),
            "--share 0.1: at full scale nothing of the paper's recipe may be changed",
        ),
        (("test/table1", "--report-only", "--data", "IMAGES"), "--report-only: no run of test/table1 at full scale"),
        (("--only", "ResNet-20"), "--only: of which study? deepres reproduce STUDY --only"),
        (("--scale", "short", "--json"), "--scale: of which study? deepres reproduce STUDY --scale"),
        (("--dry-run",), "--dry-run: of which study? deepres reproduce STUDY --dry-run"),
        (("--report-only", "--seeds", "2"), "--seeds: of which study?"),
        (("--list", "--seeds", "2"), "--seeds: not with --list, which has no use for it; leave one of them out"),
        (("test/table1", "--list", "--dry-run"), "--dry-run: not with --list"),
        (("test/table1", "--dry-run", "--json"), "--json: not with --dry-run"),
        (
            ("test/table1", "--report-only", "--at-once", "2"),
            "--at-once: not with --report-only, which has no use for it",
        ),
        (("test/table1", "--report-only", "--on", "ray"), "--on: not with --report-only"),
        (("test/table1", "--dry-run", "--report-only"), "--report-only: not with --dry-run"),
        (("test/table2", "--descriptions", "--scale", "short"), "--scale: not with --descriptions"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    words: tuple[str, ...],
    told: str,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = tuple(str(images) if word == "IMAGES" else word for word in words)
    monkeypatch.chdir(tmp_path)
    assert _run(*words, "--output", tmp_path, "--device", "cpu") == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_of_several_sets_those_that_are_missing_are_left_out_and_said(
    images: Path, tmp_path: Path, study: Study
) -> None:
    from deepres.studies.reproduce import planned

    plan = planned(studies_module.study_named("test/table3"), "short", tmp_path, data={"cifar10": str(images)})
    assert {job.dataset for job in plan.jobs} == {"cifar10"}
    assert list(plan.absent) == ["cifar100"]
    assert isinstance(plan.study.rows[0], Row)


@pytest.mark.slow
def test_some_rows_alone_and_another_share_have_a_report_of_their_own(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("test/table1", "--scale", "short", "--share", "0.00003", "--only", "ResNet-20")
    words += ("--set", "train.batch_size=64", "--set", "train.accumulate=1")
    assert _run(*words, "--data", images, "--output", tmp_path, "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert "plain-20" not in out
    facts = json.loads(
        (
            tmp_path
            / "reports"
            / "test-table1-short-0.003-train.batch_size_64-train.accumulate_1-ResNet-20"
            / "report.json"
        ).read_text()
    )
    assert [(run["network"], run["done"]) for run in facts["runs"]] == [("resnet20_cifar", 2)]
    assert facts["outcome"]["claims"] == []
