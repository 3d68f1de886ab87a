"""Published tables are those that the evidence gives."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from deepres.studies.queue import load_queue, queued

ROOT = Path(__file__).parents[1]


def _table() -> Any:
    return _program("table")


def _program(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "evidence" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_pages_are_generated_from_the_evidence() -> None:
    module = _table()
    marked = []
    for page in module.PAGES:
        assert page.read_text() == module.written(page), "run: python evidence/table.py"
        marked += [found[2] for found in module.MARKED.finditer(page.read_text())]
    assert sorted(marked) == sorted(module.TABLES)


def test_every_claim_carries_command_hardware_versions_seeds_and_n() -> None:
    for path in (ROOT / "evidence").glob("*.json"):
        if path.name.startswith("queue"):  # what is to be trained: no claim yet
            continue
        facts = json.loads(path.read_text())
        assert facts.keys() >= {"claim", "command", "hardware", "versions", "n"}, path
        assert not re.search(r"/(tmp|root|work|home)/", path.read_text()), path


@pytest.mark.medium
def test_every_run_trained_at_full_length_is_one_that_the_published_queue_asks_for() -> None:
    facts = json.loads((ROOT / "evidence" / "trained.json").read_text())
    queue = load_queue(ROOT / facts["command"].removeprefix("deepres reproduce --queue "))
    assert {run["name"] for run in facts["runs"]} <= {each.job.name for each in queued(queue, {})}


@pytest.mark.slow
def test_the_page_of_all_studies_is_generated_from_the_evidence() -> None:
    module = _program("overview")
    found = module.collect()
    assert module.PAGE.read_text() == module.page(found, module.rate(), module.COMMAND), (
        "run: python evidence/overview.py"
    )
    assert module.TEXT.read_text() == module.text(found, module.rate()), "run: python evidence/overview.py"


@pytest.mark.medium
def test_what_is_said_of_other_tools_demands_names_nothing_that_is_gone() -> None:
    module = _program("peers_demands")
    facts = json.loads(module.FILE.read_text())
    assert module.faults(facts) == []
    assert module.counted(facts) == facts, "run: python evidence/peers_demands.py"
    gone = (
        "deepres train --no-such-flag, deepres no-such-verb, deepres describe resnet0, train.no_such, tests/test_no.py"
    )
    assert module.lacking(f"deepres train --minutes, {gone}; README.md") == gone.split(", ")


def test_the_table_of_photos_has_a_cell_a_contender_and_says_what_was_wanted(tmp_path: Path) -> None:
    def row(error: float, spread: float | None, seconds: float) -> dict[str, Any]:
        return {"test_error": {"mean": error, "std": spread}, "wall_seconds": {"mean": seconds}}

    fast = {"plain": {"median": 3.214, "min": 3, "max": 4}}
    verdict = {"error_at_most_the_best": True, "spread_no_larger": None, "fast_enough": False, "times_as_fast": fast}
    case = {"photos": "p", "images": {"train": 1800}, "told": "from w", "size": 32, "epochs": 5}
    cases = {
        "one": {**case, "rows": {"ours": row(0.014, 0.003, 90), "plain": row(0.02, None, 270)}, "verdict": verdict},
        "two": {**case, "told": "n from scratch", "rows": {"timm": row(0.5, 0.1, 6)}, "verdict": None},
    }
    names = {"ours": "deepres train", "plain": "torchvision", "timm": "timm"}
    path = tmp_path / "photos.json"
    assert _table().photos(path) == ""
    path.write_text(json.dumps({"n": 3, "hardware": "h", "contenders": names, "cases": cases}))
    lines = _table().photos(path).splitlines()
    assert lines[2] == (
        "| p (1,800 photos), from w, 32 px, 5 epochs | **1.4 ± 0.3 %**, 1.5 min | 2.0 %, 4.5 min |  | torchvision 3.21 |"
    )
    assert lines[3] == "| p (1,800 photos), n from scratch, 32 px, 5 epochs |  |  | **50.0 ± 10.0 %**, 0.1 min |  |"
    assert "within its spread: 1 of 1; spread no larger than that one's: 0 of 0; 2.5 times" in lines[5]


@pytest.mark.slow
def test_what_a_queue_has_trained_is_a_table_of_figures_with_verdicts(tmp_path: Path) -> None:
    from deepres.studies.study import study_named
    from deepres.studies.verdict import CellResult, CheckedClaim, Outcome

    study = study_named("resnet/table6").only(("ResNet-20", "ResNet-32"))
    found = {"row": "ResNet-20", "column": "error", "wanted": 5, "verdict": "reproduced", "runs": ("a", "b")}
    figures = (
        CellResult(**found, values=(8.5, 8.9), quoted=8.7, std=0.28),
        CellResult(**{**found, "row": "ResNet-32", "verdict": "not run", "runs": ()}),
        CellResult(**{**found, "column": "layers", "runs": ()}, values=(20.0,), quoted=20.0),
    )
    claims = tuple(
        CheckedClaim(claim=claim, title="test error", better=worse, worse=8.7)
        for claim, worse in zip(study.claims, (7.6, None), strict=False)
    )
    outcome = Outcome(study=study.name, scale="full", found=figures, claims=claims)
    (tmp_path / "reports" / "one").mkdir(parents=True)
    (tmp_path / "evidence").mkdir()
    report = {"study": json.loads(study.to_json()), "outcome": json.loads(outcome.to_json())}
    (tmp_path / "reports" / "one" / "report.json").write_text(json.dumps(report))
    for seed, name in enumerate(("a", "b")):
        run = {
            "name": name,
            "scale": "full",
            "seed": seed,
            "minutes": 120,
            "hardware": "h",
            "versions": {},
            "figures": [],
        }
        run |= {"command": "deepres reproduce --queue q.json --data cifar10=/tmp/x.npz --output /tmp/full"}
        (tmp_path / "evidence" / f"{name}.json").write_text(json.dumps(run))
    facts = _program("trained").collect(tmp_path, "a note")
    (kept,) = facts["outcomes"]
    assert [each["row"] for each in kept["outcome"]["found"]] == ["ResNet-20"]
    assert not kept["in_float32"]
    assert facts["n"] == 2
    assert facts["seeds"] == [0, 1]
    assert {run["command"] for run in facts["runs"]} == {"deepres reproduce --queue q.json"}
    path = tmp_path / "trained.json"
    assert _table().trained(path) == "No run at full length has ended yet.\n"
    path.write_text(json.dumps(facts))
    lines = _table().trained(path).splitlines()
    assert lines[2] == "| resnet/table6 | ResNet-20 | test error | 8.75 | 8.70 ± 0.28 | 2 of 5 | reproduced | 4.0 |"
    assert lines[6] == "| resnet/table6 | test error: ResNet-32 below ResNet-20 | 7.60 | 8.70 | yes |"
    assert lines[-1] == "a note"
    assert "1 of 1 within tolerance or spread: ResNet-20 8.75 % printed, 8.70 % here" in _table().papers(path)
    (table6,) = _program("overview").collect(path, [study])
    error = next(each for each in table6.figures if (each.row, each.column) == ("ResNet-20", "test error"))
    assert (error.ours, error.verdict, error.seeds, error.hours) == ("8.70 ± 0.28 (2 of 5)", "reproduced", 2, 4.0)
    assert table6.claims[0][1]
    row = study.rows[0].replace(edits=(*study.rows[0].edits, "train.precision=float32"))
    exact = outcome.replace(found=(figures[0].replace(values=(8.4,), quoted=8.4, std=None, runs=("a",)),))
    (tmp_path / "reports" / "two").mkdir()
    report = {"study": json.loads(study.replace(rows=(row, *study.rows[1:])).to_json())}
    (tmp_path / "reports" / "two" / "report.json").write_text(
        json.dumps({**report, "outcome": json.loads(exact.to_json())})
    )
    facts = _program("trained").collect(tmp_path, "")
    assert [one["in_float32"] for one in facts["outcomes"]] == [False, True]
    for outcomes, ours in ((facts["outcomes"], "8.70"), (facts["outcomes"][1:], "8.40")):  # float32 where it is alone
        path.write_text(json.dumps({**facts, "outcomes": outcomes}))
        (again,) = _program("overview").collect(path, [study])
        assert (
            next(each.ours for each in again.figures if each.column == "test error" and each.row == "ResNet-20")[:4]
            == ours
        )
