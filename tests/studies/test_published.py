"""What is printed in the papers: every figure has a source, every network its size, every value is the reference's."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepres.arch import variants
from deepres.arch.catalogue.lookup import entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.cost import cost
from deepres.recipes.by_name import RECIPES
from deepres.studies.plan import DATASETS, cells, network_of, run_of
from deepres.studies.study import Study, papers, studies
from deepres.studies.verdict import described
from deepres.tasks.protocols import protocol_named, require_fitting


@pytest.fixture(params=sorted(studies()))
def study(request: pytest.FixtureRequest) -> Study:
    return studies()[request.param]


def test_there_is_every_table_and_figure_that_is_promised() -> None:
    names = set(studies())
    wanted = {f"resnet/table{n}" for n in range(1, 15)} | {f"resnet/fig{n}" for n in (1, 3, 4, 6, 7)}
    wanted |= {f"identity/table{n}" for n in range(1, 6)} | {f"identity/fig{n}" for n in (1, 3, 6)}
    wanted |= {"densenet/table2", "densenet/table3", "densenet/fig3", "densenet/fig4", "densenet/fig5"}
    wanted |= {"veit/fig3", "veit/fig4", "veit/fig5a", "veit/fig5b", "veit/fig6", "veit/fig7", "veit/fig8"}
    wanted |= {"veit/paths", "veit/effective", "highway/cifar", "highway/accuracy", "highway/lesion"}
    wanted |= {
        "stochastic_depth/table1",
        "stochastic_depth/quoted",
        "wrn/cifar",
        "wrn/table4",
        "wrn/table6",
        "wrn/table7",
        "wrn/table8",
    }
    assert wanted <= names, wanted - names
    assert [paper.name for paper in papers()] == [
        "highway", "resnet", "identity", "stochastic_depth", "wrn", "veit", "densenet",
    ]  # fmt: skip
    assert all("arXiv" in paper.citation for paper in papers())


def _alone(study: Study) -> bool:
    """Whether there is nothing to compare within it: two rows at most, or one alone that is not another's."""
    return len(study.rows) <= 2 or sum(row.trained for row in study.rows) == 1


def test_a_study_says_where_it_comes_from_and_what_it_takes(study: Study) -> None:
    assert "arXiv" in study.source
    assert study.name.startswith(f"{study.paper}/")
    assert study.dataset in DATASETS
    measured = any(cell.jobs for cell in cells(study, "full"))
    assert not measured or study.recipe in RECIPES
    assert study.lacking or study.claims or study.shows != "table" or not measured or _alone(study)
    trained = {cell.column.name for cell in cells(study, "full") if cell.jobs}
    if any(row.trained and trained & row.printed.keys() for row in study.rows):
        assert "olerance" in study.note, "why this tolerance"


@pytest.mark.medium
def test_its_networks_build_and_where_their_size_is_not_as_printed_it_says_why(study: Study) -> None:
    for one in described(study):
        assert one.verdict != "not reproduced" or one.reason, (one.row, one.column, one.values)
    for row in study.rows:
        if row.network is not None:
            assert cost(network_of(study, row, study.columns[0])).parameters > 0


def test_claims_compare_what_can_be_measured(study: Study) -> None:
    if study.lacking:
        return
    known = {(cell.row.label, cell.column.name) for cell in cells(study, "full") if not cell.lacking}
    for claim in study.claims:
        assert (claim.better, claim.column) in known, claim
        assert (claim.worse, claim.column) in known, claim


def test_printed_claims_hold_in_the_paper_itself(study: Study) -> None:
    for claim in study.claims:
        better = study.row(claim.better).printed.get(claim.column)
        worse = study.row(claim.worse).printed.get(claim.column)
        if better is not None and worse is not None:
            higher = study.column(claim.column).higher_is_better
            assert better.value > worse.value if higher else better.value < worse.value, claim


GROUPS = {
    ("v1.t1.flops",): ("resnet/table1", "macs"),
    ("v1.t2",): ("resnet/table2", "top1"),
    ("v1.t3.top-1",): ("resnet/table3", "top1"),
    ("v1.t3.top-5",): ("resnet/table3", "top5"),
    ("v1.t4.top-1",): ("resnet/table4", "top1"),
    ("v1.t4.top-5",): ("resnet/table4", "top5"),
    ("v1.t5",): ("resnet/table5", "top5"),
    ("v1.t6",): ("resnet/table6", "error"),
    ("v1.t7.07",): ("resnet/table7", "07"),
    ("v1.t7.12",): ("resnet/table7", "12"),
    ("v1.t8.50",): ("resnet/table8", "50"),
    ("v1.t8.all",): ("resnet/table8", "all"),
    ("v1.t9.val50",): ("resnet/table9", "val50"),
    ("v1.t9.valall",): ("resnet/table9", "valall"),
    ("v1.t9.td50",): ("resnet/table9", "td50"),
    ("v1.t9.tdall",): ("resnet/table9", "tdall"),
    ("v1.t10",): ("resnet/table10", "map"),
    ("v1.t11",): ("resnet/table11", "map"),
    ("v1.t12.val2",): ("resnet/table12", "val2"),
    ("v1.t12.test",): ("resnet/table12", "test"),
    ("v1.t13.gt",): ("resnet/table13", "gt"),
    ("v1.t13.pred",): ("resnet/table13", "pred"),
    ("v1.t14.val",): ("resnet/table14", "val"),
    ("v1.t14.test",): ("resnet/table14", "test"),
    ("v2.t1",): ("identity/table1", "error"),
    ("v2.t2.ResNet-110", "v2.t2.ResNet-164"): ("identity/table2", "error"),
    ("v2.t3.CIFAR-10",): ("identity/table3", "c10"),
    ("v2.t3.CIFAR-100",): ("identity/table3", "c100"),
    ("v2.t4.c10",): ("identity/table4", "c10"),
    ("v2.t4.c100",): ("identity/table4", "c100"),
}


def _printed(name: str, column: str) -> list[tuple[float, float | None, float | None]]:
    rows = [row.printed[column] for row in studies()[name].rows if column in row.printed]
    return sorted((one.value, one.mean, one.std) for one in rows)


def _figure(fact: dict[str, Any]) -> tuple[float, float | None, float | None]:
    value = 20.0 if fact["value"] == "fail" else float(fact["value"])
    return value, fact.get("mean"), fact.get("std")


@pytest.mark.parametrize("groups", GROUPS, ids=lambda groups: groups[0])
def test_every_figure_of_both_resnet_papers_is_the_references(groups: tuple[str, ...], shared: Path) -> None:
    facts = json.loads((shared / "reference" / "facts.json").read_text())["facts"]
    wanted = sorted(_figure(fact) for fact in facts if fact["group"] in groups)
    assert wanted
    assert _printed(*GROUPS[groups]) == wanted


def test_every_figure_of_identity_table_5_is_the_references(shared: Path) -> None:
    facts = json.loads((shared / "reference" / "facts.json").read_text())["facts"]
    for group, column in (("v2.t5.top-1", "top1"), ("v2.t5.top-5", "top5")):
        wanted = sorted(float(fact["value"]) for fact in facts if fact["group"] == group)
        printed = _printed("identity/table5", column) + _printed("identity/table5-224", column)
        assert sorted(value for value, _, _ in printed) == wanted


COLUMNS = {
    ("CIFAR-10", True): "c10",
    ("CIFAR-10", False): "c10+",
    ("CIFAR-100", True): "c100",
    ("CIFAR-100", False): "c100+",
}


def test_every_figure_of_densenets_tables_is_the_references(shared: Path) -> None:
    facts = json.loads((shared / "reference" / "facts_family.json").read_text())["facts"]
    wanted: dict[tuple[str, str], list[float]] = {}
    for fact in facts:
        if not fact["paper"].startswith("DenseNet") or "error" not in fact["metric"]:
            continue
        if fact["table"] in ("Table 2", "Table 2 (baseline row)"):
            bare = fact["protocol"].startswith("no aug")
            column = "svhn" if fact["dataset"] == "SVHN" else COLUMNS[fact["dataset"], bare]
            wanted.setdefault(("densenet/table2", column), []).append(float(fact["value"]))
        if fact["table"] == "Table 3":
            column = ("top1" if "top-1" in fact["metric"] else "top5") + "-10" * fact["protocol"].startswith("10-crop")
            wanted.setdefault(("densenet/table3", column), []).append(float(fact["value"]))
    assert len(wanted) == 9
    for (name, column), values in wanted.items():
        assert [value for value, _, _ in _printed(name, column)] == sorted(values), (name, column)


def _row(name: str, label: str, column: str) -> float:
    return studies()[name].row(label).printed[column].value


def test_every_figure_of_the_wide_networks_is_the_references(shared: Path) -> None:
    facts = json.loads((shared / "reference" / "facts_family.json").read_text())["facts"]
    labels = {"WRN-28-10-dropout": "WRN-28-10, dropout 0.3", "WRN-40-10-dropout": "WRN-40-10, dropout 0.3"}
    wide = [fact for fact in facts if fact["paper"].startswith("WRN") and "error" in fact["metric"]]
    assert len(wide) >= 24
    for fact in wide:
        label = labels.get(fact["model"], fact["model"])
        if fact["dataset"] == "ImageNet val":
            first_page = " (the repository's first page)" if fact["table"] == "README" else ""
            column = "top1" if "top-1" in fact["metric"] else "top5"
            assert _row("wrn/table8", label + first_page, column) == float(fact["value"]), fact
        elif fact["dataset"] == "SVHN":
            assert _row("wrn/table6", "WRN-16-8, dropout", "svhn") == float(fact["value"])
        else:
            column = {"CIFAR-10": "c10", "CIFAR-100": "c100"}[fact["dataset"]]
            assert _row("wrn/cifar", label, column) == float(fact["value"]), fact


def test_the_figures_of_stochastic_depth_and_of_effective_paths_are_the_references(shared: Path) -> None:
    facts = json.loads((shared / "reference" / "facts_family.json").read_text())["facts"]
    errors = [fact for fact in facts if "test error %" in fact["metric"]]
    veit = {fact["model"]: float(fact["value"]) for fact in errors if fact["paper"].startswith("Veit")}
    assert veit == {"effective-path training": 5.96, "full ResNet-110 pre-act": 6.1}
    assert [_row("veit/effective", label, "error") for label in ("all units", "23 of 54 units a batch")] == [6.10, 5.96]
    quoted = {
        (fact["model"], fact["dataset"], fact["protocol"].startswith("no aug")): float(fact["value"])
        for fact in errors
        if fact["table"] == "Table 2 (baseline row)"
    }
    rows = {
        "ResNet-110 (stochastic-depth authors' run)": "ResNet-110, constant depth",
        "ResNet-110 stochastic depth": "ResNet-110, stochastic depth",
        "ResNet-1202 stochastic depth": "ResNet-1202, stochastic depth",
    }
    found = 0
    for (model, dataset, bare), value in quoted.items():
        if model in rows:
            column = "svhn" if dataset == "SVHN" else COLUMNS[dataset, bare]
            assert _row("stochastic_depth/quoted", rows[model], column) == value, (model, column)
            found += 1
    assert found == 11
    own = {fact["model"]: float(fact["value"]) for fact in errors if fact["paper"].startswith("Stochastic Depth")}
    labels = {
        "ResNet-110 p_L=0.5 linear decay": ("ResNet-110, stochastic depth", "c10+"),
        "ResNet-110 constant depth": ("ResNet-110, constant depth", "c10+"),
        "ResNet-152 (N=25) p_L=0.5": ("ResNet-152 (N = 25), stochastic depth", "svhn"),
    }
    assert {model: _row("stochastic_depth/table1", *place) for model, place in labels.items()} == own


def test_the_edits_of_both_tables_of_identity_mappings_are_the_variants() -> None:
    study = studies()["identity/table1"]
    base = entry("resnet110_cifar").config
    assert isinstance(base, ResNetConfig)
    known = [variants.with_mixing(base, mixing).architecture() for mixing in variants.SHORTCUTS.values()]
    for row in study.rows:
        if row.label not in ("exclusive gating, b_g init 0..-5", "1x1 conv shortcut"):
            assert network_of(study, row, study.columns[0]) in known, row.label
    study = studies()["identity/table2"]
    for row in study.rows:
        label, _, depth = row.label.partition(", ")
        base = entry(f"resnet{depth.split()[0]}_cifar").config
        assert isinstance(base, ResNetConfig)
        order = variants.ORDERS[label.replace("original residual unit", "original")]
        built = run_of(study, row, study.columns[0]).model
        assert isinstance(built, ResNetConfig)
        assert built.style.order == order
        assert order == "pre" or built.architecture() == variants.with_order(base, order).architecture()


@pytest.mark.parametrize(
    ("name", "label"),
    [("identity/table4", "ResNet-1001 pre-act, batch 64"), ("densenet/fig4", "pre-act ResNet-1001")],
)
def test_the_best_figure_of_the_second_paper_is_its_torch_codes(name: str, label: str) -> None:
    study = studies()[name]
    train = run_of(study, study.row(label), study.columns[-1]).train
    assert (train.epochs, train.batch_size, train.accumulate, train.optimizer.decay_parameters) == (200, 64, 2, "all")
    assert (train.schedule.milestones, train.schedule.warmup_lr) == ((0.4, 0.605), None)


def test_the_guide_counts_them() -> None:
    text = (Path(__file__).parents[2] / "docs" / "guides" / "reproduce.md").read_text()
    assert len(papers()) == 7
    assert f"names {len(studies())} tables and figures of seven papers" in text


def test_its_protocols_are_known_and_fit(study: Study) -> None:
    for cell in cells(study, "full"):
        if cell.jobs and cell.column.measure in ("error", "top5_error"):
            run = cell.jobs[0].run
            protocol = protocol_named(cell.column.protocol or study.protocol, run.preparation)
            require_fitting(protocol, run.model.architecture())
