"""What is printed in the papers, as it is printed there; what descriptions alone give of it; what is not known."""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepres.cli import main
from deepres.studies.overview import DescribedFigure, descriptions, overview
from deepres.studies.plan import cells, network_of, run_of
from deepres.studies.readings import decimals, is_read, rounds_to
from deepres.studies.study import Quantity, Study, studies

ROOT = Path(__file__).parents[2]

PRINTED: dict[tuple[str, str], dict[str, list[float | None]]] = {
    ("resnet/fig3", "layers, macs"): {"VGG-19": [19, 19.6], "plain-34": [34, 3.6], "ResNet-34": [34, 3.6]},
    ("resnet/section4.1", "macs"): {"VGG-16": [15.3], "VGG-19": [19.6], "ResNet-152": [11.3]},
    ("resnet/table4", "top1, top5"): {"VGG (ILSVRC'14), test images": [None, 8.43], "VGG (v5)": [24.4, 7.1]},
    ("resnet/table6", "layers, parameters, error"): {
        "FitNet": [19, 2.5, 8.39],
        "Highway-19": [19, 2.3, 7.54],
        "Highway-32": [32, 1.25, 8.8],
        "ResNet-20": [20, 0.27, 8.75],
        "ResNet-1202": [1202, 19.4, 7.93],
    },
    ("resnet/table10", "map, aero, bottle, person, plant, tv"): {
        "baseline VGG-16 (07+12)": [73.2, 76.5, 52.1, 76.7, 38.8, 72.6],
        "baseline ResNet-101 (07+12)": [76.4, 79.8, 55.9, 78.4, 41.7, 72.0],
        "baseline+++ ResNet-101 (COCO+07+12)": [85.6, 90.0, 76.1, 88.7, 65.4, 86.8],
    },
    ("resnet/table11", "map, aero, bottle, person, plant, tv"): {
        "baseline VGG-16 (07++12)": [70.4, 84.9, 49.8, 79.6, 40.1, 61.5],
        "baseline ResNet-101 (07++12)": [73.8, 86.5, 51.0, 80.7, 48.1, 65.6],
        "baseline+++ ResNet-101 (COCO+07++12)": [83.8, 92.1, 71.4, 89.6, 67.9, 80.0],
    },
    ("identity/section4", "top1, top5"): {
        "ResNet-101 original": [23.6, 7.1],
        "ResNet-101, BN after addition": [24.6, 7.5],
    },
    ("identity/table4", "parameters, c10, c100"): {
        "ResNet-110 original": [1.7, 6.61, None],
        "ResNet-1001 pre-act": [10.2, 4.92, 22.71],
        "ResNet-164 original": [1.7, None, 25.16],
    },
    ("highway/accuracy", "layers, c10, c100"): {"Highway, 19 layers": [19, 7.6, 32.24]},
    ("highway/lesion", "hidden, idle, hurting"): {
        "50 layers on MNIST": [50, 60, None],
        "50 layers on CIFAR-100": [50, None, 40],
    },
    ("stochastic_depth/table1", "layers, c10+, svhn"): {
        "ResNet-110, constant depth": [110, 6.41, None],
        "ResNet-110, stochastic depth": [110, 5.25, None],
        "ResNet-152 (N = 25), stochastic depth": [None, None, 1.75],
    },
    ("stochastic_depth/section4", "layers, c10+"): {
        "ResNet-1202, constant depth": [1202, 6.67],
        "ResNet-1202, stochastic depth": [1202, 4.91],
    },
    ("stochastic_depth/quoted", "layers, c10+, c100+, svhn"): {
        "ResNet-110, constant depth": [110, 6.41, 27.22, 2.01],
        "ResNet-110, stochastic depth": [110, 5.23, 24.58, 1.75],
        "ResNet-1202, stochastic depth": [1202, 4.91, None, None],
    },
    ("wrn/cifar", "layers, parameters, c10, c100"): {
        "WRN-40-4": [40, 8.9, 4.53, 21.18],
        "WRN-16-8": [16, 11.0, 4.27, 20.43],
        "WRN-16-4": [16, 2.7, 5.02, 24.03],
        "WRN-28-10": [28, 36.5, 4.0, 19.25],
        "WRN-28-10, dropout 0.3": [28, 36.5, 3.89, 18.85],
        "WRN-40-10, dropout 0.3": [40, None, 3.8, 18.3],
    },
    ("wrn/table4", "parameters, c10, c100"): {
        "WRN-40-8": [35.7, 4.66, None],
        "WRN-28-12": [52.5, 4.33, 20.43],
        "WRN-22-10": [26.8, 4.44, 20.75],
    },
    ("wrn/table6", "c10, c100, svhn"): {
        "WRN-16-4": [5.02, 24.03, 1.85],
        "WRN-16-4, dropout": [5.24, 23.91, 1.64],
        "WRN-52-1, dropout": [6.28, 29.78, 1.7],
        "WRN-16-8, dropout": [None, None, 1.54],
    },
    ("wrn/table7", "parameters, top1, top5"): {
        "WRN-18, width 3.0": [101.8, 24.06, 7.33],
        "WRN-34, width 2.0": [86.0, 23.39, 7.0],
    },
    ("wrn/table8", "parameters, top1, top5"): {
        "ResNet-50": [25.6, 24.01, 7.02],
        "WRN-50-2-bottleneck": [68.9, 21.9, 6.03],
        "pre-ResNet-200": [64.7, 21.66, 5.79],
        "WRN-50-2-bottleneck (the repository's first page)": [None, 21.9, 5.79],
    },
    ("veit/effective", "error"): {"all units": [6.1], "23 of 54 units a batch": [5.96]},
    ("veit/paths", "units, left10, mean, short, long, trained"): {
        "ResNet-110, pre-activation": [54, 44, 55, 10, 34, None],
        "23 of its 54 units": [None, None, None, None, None, 11.5],
    },
    ("veit/fig3", "error"): {"ResNet-110, pre-activation": [None], "VGG, one path": [None]},
    ("veit/fig4", "error"): {"ResNet-200, pre-activation": [None]},
    ("veit/fig5a", "error"): {"ResNet-110, pre-activation": [None]},
    ("veit/fig5b", "error"): {"ResNet-110, pre-activation": [None]},
    ("veit/fig6", "error, most, effective"): {"ResNet-110, pre-activation": [None, 95, 0.45]},
    ("veit/fig7", "left"): {"ResNet-110, pre-activation": [0.5], "VGG, one path": [0.0]},
    ("veit/fig8", "error"): {"trained whole": [None], "trained with stochastic depth": [None]},
    ("densenet/table2", "layers, parameters, c100+"): {
        "FractalNet depth 21": [21, 38.6, 23.3],
        "Wide ResNet-16": [16, 11.0, 22.07],
        "DenseNet-BC L=190 k=40": [190, 25.6, 17.18],
    },
    ("densenet/fig3", "parameters, top1"): {
        "DenseNet-201": [20, 22.58],
        "ResNet-101": [40, None],
    },
    ("densenet/released", "layers, top1"): {"DenseNet-161": [161, 22.2], "DenseNet-169": [None, 23.6]},
    ("densenet/wide", "parameters, c10+, c100+"): {
        "Wide-DenseNet-BC L=40 k=36": [1.5, 4.58, 22.3],
        "Wide-DenseNet-BC L=40 k=60": [4.3, 4.01, 19.99],
    },
}
"""Study and columns -> row -> what the paper prints there; None: nothing, and nothing may be printed."""


@pytest.mark.parametrize(("name", "columns"), PRINTED, ids=lambda text: text.split(",")[0])
def test_a_figure_stands_where_the_paper_prints_it_and_nowhere_else(name: str, columns: str) -> None:
    for label, values in PRINTED[name, columns].items():
        printed = studies()[name].row(label).printed
        found = [printed[column].value if column in printed else None for column in columns.split(", ")]
        assert found == values, label


def test_figures_that_nobody_has_verified_are_named_as_such_and_not_printed() -> None:
    study = studies()["stochastic_depth/table1"]
    assert "unverified" in study.note
    for value in (27.76, 24.98, 1.8, 21.78, 21.98):
        assert f"{value:.2f}" in study.note
        stochastic = [study for name, study in studies().items() if name.startswith("stochastic_depth/")]
        assert all(value != one.value for study in stochastic for row in study.rows for one in row.printed.values())


def test_the_mean_of_the_classes_is_the_printed_map() -> None:
    for name in ("resnet/table10", "resnet/table11"):
        for row in studies()[name].rows:
            classes = [one.value for column, one in row.printed.items() if column != "map"]
            assert len(classes) == 20
            assert abs(sum(classes) / 20 - row.printed["map"].value) <= 0.05 + 1e-9, (name, row.label)


def test_shared_facts_and_published_figures_name_the_same_classes(shared: Path) -> None:
    facts = json.loads((shared / "reference" / "facts.json").read_text())["facts"]
    for group, name in (("v1.t10", "resnet/table10"), ("v1.t11", "resnet/table11")):
        for fact in (fact for fact in facts if fact["group"] == group):
            printed = studies()[name].row(fact["row"]).printed
            assert {key: printed[key].value for key in fact["per_class_AP"]} == fact["per_class_AP"]


def _facts(shared: Path, paper: str, table: str) -> list[dict[str, Any]]:
    facts = json.loads((shared / "reference" / "facts_family.json").read_text())["facts"]
    return [fact for fact in facts if fact["paper"].startswith(paper) and fact["table"].startswith(table)]


def _millions(text: str) -> float:
    return float(text.partition("M")[0])


def test_sizes_that_tables_print_are_the_references(shared: Path) -> None:
    places = (
        ("DenseNet", "Table 2", "densenet/table2", lambda model: model.replace(" (ZCA v1)", "")),
        ("DenseNet", "repo README", "densenet/wide", str),
        ("WRN", "pretrained/README", "wrn/table8", str),
        ("WRN", "paper table", "wrn/cifar", str),
    )
    seen = 0
    for paper, table, name, label in places:
        for fact in _facts(shared, paper, table):
            if fact["metric"] == "params":
                printed = studies()[name].row(label(fact["model"])).printed["parameters"]
                assert printed.value == _millions(fact["value"]), fact
                seen += 1
    assert seen >= 29
    facts = json.loads((shared / "reference" / "facts.json").read_text())["facts"]
    for fact in facts:
        if fact["group"] == "v1.t6" and "layers" in fact:
            printed_here = studies()["resnet/table6"].row(fact["row"]).printed
            assert (printed_here["layers"].value, printed_here["parameters"].value) == (
                fact["layers"],
                _millions(fact["params"]),
            )
        if fact["group"] in ("v2.t4.c10", "v2.t4.c100") and "params" in fact:
            assert studies()["identity/table4"].row(fact["row"]).printed["parameters"].value == _millions(
                fact["params"]
            )


def test_what_is_printed_of_paths_and_of_gates_is_the_references(shared: Path) -> None:
    veit = {fact["metric"]: fact["value"] for fact in _facts(shared, "Veit", "") if fact["model"] != "VGG-type"}
    paths = studies()["veit/paths"].rows[0].printed
    assert paths["units"].value == veit["number of residual modules"]
    assert f"{paths['short'].value:.0f}-{paths['long'].value:.0f}" == veit["effective path length (layers)"]
    assert f"2^{paths['left10'].value:.0f}" == veit["paths left after deleting 10 modules"]
    assert studies()["veit/fig6"].rows[0].printed["effective"].value == veit["effective paths as % of all paths"]
    released = {row.label: row.printed["top1"].value for row in studies()["densenet/released"].rows}
    for fact in _facts(shared, "DenseNet", "repo README"):
        name = fact["model"].partition(" k")[0]
        if fact["dataset"] == "ImageNet val" and name in released:
            assert released.pop(name) == fact["value"], fact
        if fact["metric"] == "test error %":
            column = {"CIFAR-10": "c10+", "CIFAR-100": "c100+"}[fact["dataset"]]
            assert studies()["densenet/wide"].row(fact["model"]).printed[column].value == fact["value"]
    assert not released


RECIPES = [
    ("identity/table5", "ResNet-152 original, 320 px", "top1", "imagenet_2015"),
    ("identity/table5", "ResNet-152 pre-act, 320 px", "top1", "imagenet_2016"),
    ("identity/table5-224", "ResNet-152 original, 224 px", "top1", "imagenet_2015"),
    ("identity/section4", "ResNet-101 original", "top1", "imagenet_2015"),
    ("densenet/fig3", "ResNet-50", "top1", "densenet_imagenet"),
    ("densenet/fig3", "ResNet-152", "top1", "densenet_imagenet"),
    ("veit/fig4", "ResNet-200, pre-activation", "error", "imagenet_2016"),
]


@pytest.mark.parametrize(("name", "label", "column", "recipe"), RECIPES)
def test_a_row_is_trained_by_the_recipe_that_its_figure_comes_from(
    name: str, label: str, column: str, recipe: str
) -> None:
    study = studies()[name]
    assert run_of(study, study.row(label), study.column(column)).recipe == recipe


DROPS = [
    ("stochastic_depth/table1", "ResNet-110, stochastic depth", "c10+", 500, (249, 374)),
    ("densenet/table2", "DenseNet L=40 k=12", "c10+", 300, (149, 224)),
    ("wrn/cifar", "WRN-28-10", "c10", 200, (59, 119, 159)),
    ("identity/table4", "ResNet-1001 pre-act, batch 64", "c10", 200, (80, 121)),
    ("densenet/table3", "DenseNet-121", "top1", 90, (30, 60)),
    ("identity/table5", "ResNet-200 pre-act, 320 px", "top1", 90, (30, 60)),
]
"""Epochs that are over when the rate falls: the authors' Torch codes drop when epochs 250, 150, 60, 81 begin."""


@pytest.mark.parametrize(("name", "label", "column", "epochs", "drops"), DROPS)
def test_the_rate_falls_when_it_fell_in_the_authors_code(
    name: str, label: str, column: str, epochs: int, drops: tuple[int, ...]
) -> None:
    study = studies()[name]
    train = run_of(study, study.row(label), study.column(column)).train
    assert train.epochs == epochs
    assert [drop * epochs for drop in train.schedule.milestones] == pytest.approx(drops)


@pytest.mark.medium
def test_1202_layers_of_stochastic_depth_hold_a_low_rate_at_first() -> None:
    study = studies()["stochastic_depth/section4"]
    for row in study.rows:
        schedule = run_of(study, row, study.column("c10+")).train.schedule
        assert (schedule.warmup_lr, schedule.warmup_steps) == ((0.01, 3516) if "1202" in row.label else (None, None))


OTHERWISE = {
    ("highway/cifar", "Highway, 19 layers", "parameters (million)"): 2.032138,
    ("highway/cifar", "Highway, 32 layers", "parameters (million)"): 3.600714,
    ("resnet/table1", "50-layer", "multiply-adds (1e9)"): 3.857973248,
    ("resnet/section4.1", "VGG-16", "multiply-adds (1e9)"): 15.47026432,
    ("identity/table4", "ResNet-1001 pre-act", "parameters (million)"): 10.327706,
    ("identity/table4", "ResNet-1001 pre-act, batch 64", "parameters (million)"): 10.327706,
    ("identity/table4", "ResNet-1001 original", "parameters (million)"): 10.328602,
    ("wrn/table4", "WRN-40-1", "convolutions"): 39,
    ("wrn/table6", "WRN-52-1", "convolutions"): 51,
    ("wrn/table6", "WRN-52-1, dropout", "convolutions"): 51,
    ("densenet/table2", "FractalNet depth 21", "parameters (million)"): 33.714314,
    ("densenet/table2", "FractalNet depth 21 + dropout/drop-path", "parameters (million)"): 33.714314,
    ("densenet/table2", "ResNet-1202 stochastic depth", "parameters (million)"): 19.421274,
    ("densenet/table2", "pre-act ResNet-1001", "parameters (million)"): 10.327706,
    ("densenet/fig4", "pre-act ResNet-1001", "parameters (million)"): 10.327706,
    ("densenet/table3", "DenseNet-264", "layers"): 265,
}
"""The figures that do not come out of a description, and what does."""


@pytest.fixture(scope="module")
def found() -> list[DescribedFigure]:
    return descriptions()


@pytest.mark.medium
def test_what_descriptions_give_comes_out_but_for_these_and_they_say_why(found: list[DescribedFigure]) -> None:
    wrong = {(one.study, one.row, one.column): one for one in found if one.verdict != "reproduced"}
    assert {key: one.value for key, one in wrong.items()} == pytest.approx(OTHERWISE)
    assert all(one.reason and one.verdict == "not reproduced" for one in wrong.values())
    assert len(found) - len(wrong) >= 200
    assert len({one.study for one in found}) >= 24


@pytest.mark.medium
def test_the_evidence_is_what_the_program_gives_now(found: list[DescribedFigure]) -> None:
    spec = importlib.util.spec_from_file_location("descriptions", ROOT / "evidence" / "descriptions.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    kept = json.loads((ROOT / "evidence" / "descriptions.json").read_text())
    now = [one.model_dump(mode="json", exclude={"source"}) for one in found]
    assert kept["figures"] == now, "run: python evidence/descriptions.py"
    assert program.PATH == ROOT / "evidence" / "descriptions.json"
    assert kept["verdicts"] == dict(Counter(one.verdict for one in found))
    assert kept["command"] == "python evidence/descriptions.py"
    came_out = f"[{kept['verdicts']['reproduced']} of {kept['n']} figures](../../evidence/descriptions.json)"
    assert came_out in (ROOT / "docs" / "results" / "papers.md").read_text()


@pytest.mark.parametrize(
    ("value", "printed", "same"),
    [
        (0.269722, 0.27, True),
        (0.2649, 0.27, False),
        (1.727962, 1.7, True),
        (10.327706, 10.2, False),
        (27.249082, 27.2, True),
        (27.25, 27.2, True),  # as near to 27.2 as to 27.3
        (54, 54, True),
        (53, 54, False),
        (0.4537, 0.45, True),
        (6.98, 7.0, True),
        (6.94, 7.0, False),
    ],
)
def test_a_rounded_figure_is_reproduced_where_ours_rounds_to_it(value: float, printed: float, same: bool) -> None:
    assert rounds_to(value, printed) is same


def test_a_printed_figure_has_its_decimals() -> None:
    assert [decimals(value) for value in (0.27, 1.7, 7.0, 1202)] == [2, 1, 1, 1]


READINGS: list[tuple[str, Quantity, dict[str, Any], float]] = [
    ("resnet20_cifar", "layers", {}, 20),
    ("resnet20_cifar", "layers", {"parts": ("stem", "stage1")}, 7),
    ("resnet50_v1", "convolutions", {}, 53),
    ("resnet50_v1", "layers", {}, 50),
    ("seresnet50", "layers", {}, 50),
    ("densenet121", "layers", {}, 121),
    ("vgg16_bn", "layers", {}, 16),
    ("highway32_cifar", "layers", {}, 32),
    ("fractalnet20_cifar", "layers", {}, 21),
    ("preresnet110_cifar", "units", {"parts": ("stage2",)}, 18),
    ("resnet18", "pixels", {"parts": ("stem.conv",)}, 112),
    ("resnet50", "channels", {"parts": ("stage4",)}, 2048),
    ("preresnet110_cifar", "path_mean", {}, 27),
    ("preresnet110_cifar", "path_share", {"lengths": (0, 54)}, 100),
    ("preresnet164_cifar", "path_layers", {"lengths": (5,)}, 15),
    ("preresnet110_cifar", "paths_log2", {}, 54),
    ("preresnet110_cifar", "paths_log2", {"left_out": 54}, 0),
    ("plain20_cifar", "paths_left", {}, 0),
    ("densenet40_k12_cifar", "paths_left", {}, 0.5),
]


@pytest.mark.parametrize(("name", "measure", "fields", "wanted"), READINGS)
def test_a_description_is_read(name: str, measure: Quantity, fields: dict[str, Any], wanted: float) -> None:
    from deepres.arch.catalogue.lookup import architecture
    from deepres.studies.readings import reading
    from deepres.studies.study import Column

    column = Column(name="x", measure=measure, title="x", **fields)
    assert reading(architecture(name), column, measure) == pytest.approx(wanted)


def test_every_network_that_is_read_builds_as_its_row_says() -> None:
    for study in studies().values():
        for row in study.rows:
            if row.network is not None and row.edits:
                architecture = network_of(study, row, study.columns[0])
                assert architecture.num_classes > 0, (study.name, row.label)


def _run(*words: object) -> int:
    return main.run(["reproduce", *map(str, words)])


@pytest.mark.medium
def test_table6_has_verdicts_without_images_and_says_what_waits_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run("resnet/table6", "--output", tmp_path, "--device", "cpu") == 0
    told = capsys.readouterr()
    assert "18 figures: 12 reproduced, 6 not run; none of 5 claims known yet" in told.out
    assert "left out: cifar10: cifar10 is not here" in told.err
    page = (tmp_path / "reports" / "resnet-table6-full" / "report.html").read_text()
    assert "no run" not in page.replace("not run", "")
    assert "Not run: cifar10 is not here" in page
    assert "Read from the descriptions, without a run: layers, parameters (million)." in page
    assert "26 of 26 have not begun." in page
    assert "0 of 64,000" not in page


def test_of_a_study_that_cannot_be_trained_the_descriptions_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("wrn/table4", "--output", tmp_path, "--device", "cpu") == 0
    told = capsys.readouterr().out
    assert "39 figures: 19 reproduced, 1 not reproduced, 19 not run" in told
    assert "✗ WRN-40-1: convolutions: without widening the first stage needs no projection" in told
    assert _run("resnet/table11", "--output", tmp_path, "--device", "cpu") == 2
    assert "cannot be run: the labels of VOC 2012's test pictures lie on its server" in capsys.readouterr().err


@pytest.mark.medium
def test_images_that_were_named_and_are_not_there_are_refused_although_something_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("resnet/table6", "--data", "no/such.npz", "--output", tmp_path, "--device", "cpu") == 2
    assert "no/such.npz" in capsys.readouterr().err


@pytest.mark.medium
def test_one_command_shows_them_all(capsys: pytest.CaptureFixture[str], found: list[DescribedFigure]) -> None:
    assert _run("--descriptions") == 0
    told = capsys.readouterr().out
    right = sum(one.verdict == "reproduced" for one in found)
    assert f"{len(found)} printed figures from descriptions alone: {right} reproduced, {len(found) - right} not" in told
    assert _run("resnet/table6", "--descriptions", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["figures"]) == 12
    assert _run("resnet/table6", "--descriptions", "--only", "ResNet-20") == 0
    assert "2 printed figures from descriptions alone: 2 reproduced, 0 not" in capsys.readouterr().out
    assert _run("--descriptions", "--only", "ResNet-20") == 2
    assert "--only ResNet-20: of which study?" in capsys.readouterr().err
    assert _run("resnet/fig1", "--descriptions") == 2
    assert "a description gives none of its figures" in capsys.readouterr().err


@pytest.mark.slow
def test_the_overview_counts_what_is_read_and_does_not_call_it_not_run(tmp_path: Path) -> None:
    lines = {line.study: line for line in overview(tmp_path)}
    assert (lines["resnet/table6"].read, lines["resnet/table6"].reproduced) == (12, 12)
    for line in lines.values():
        assert not (line.read and line.stands.startswith("not run")), line


def test_a_study_that_is_read_says_when_a_figure_counts_as_reproduced() -> None:
    for study in studies().values():
        if any(is_read(column) for column in study.columns):
            assert "rounded as far as the printed one" in study.note, study.name
            assert all(column.tolerance is None for column in study.columns if is_read(column)), study.name


def test_a_figure_of_others_asks_for_no_run() -> None:
    study: Study = studies()["densenet/table2"]
    trained = {cell.row.label for cell in cells(study, "full", seeds=1) if cell.jobs}
    assert trained == {row.label for row in study.rows if row.label.startswith("DenseNet")}
