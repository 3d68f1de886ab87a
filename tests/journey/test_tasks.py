"""From a table to an answer, for each task that is not one class an image: the whole way, and what may not change it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sklearn

from deepres.cli.main import run
from processes import DEEPRES, ended_together

TASKS = {"multilabel": ("several.csv", []), "regression": ("numbers.csv", ["--task", "regression"])}
SMALL = [
    "--recipe",
    "small",
    "--model",
    "resnet20_cifar",
    "--set",
    "model.depths=1,1,1",
    "--set",
    "model.widths=16,16,16",
]
SMALL += ["--set", "data.val_fraction=0.25", "--set", "data.test_fraction=0.25", "--batch-size", "16"]
SMALL += ["--device", "cpu", "--set", "train.precision=float32", "--set", "augmentation.pad=1"]
LENGTH = ["--set", "train.iterations=12", "--set", "train.epochs=none"]
NAMES = ("bright", "left")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 grey pictures of 12 px: a square that is bright or dark, left or right, of some size; two tables of them."""
    home, draw = tmp_path_factory.mktemp("tasks"), np.random.default_rng(0)
    several, numbers = [("path", "label")], [("path", "size")]
    for number in range(80):
        bright, left, size = draw.random() < 0.4, draw.random() < 0.5, int(draw.integers(2, 7))
        pixels = draw.integers(60, 90, (12, 12), dtype=np.uint8)
        at = 0 if left else 12 - size
        pixels[3 : 3 + size, at : at + size] = 250 if bright else 10
        Image.fromarray(pixels).save(home / f"{number}.png")
        several.append((f"{number}.png", ";".join(n for n, on in zip(NAMES, (bright, left), strict=True) if on)))
        numbers.append((f"{number}.png", f"{size + 0.25}"))
    for name, rows in (("several.csv", several), ("numbers.csv", numbers)):
        with (home / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return home


@pytest.fixture(scope="module", params=list(TASKS))
def trained(request: pytest.FixtureRequest, home: Path) -> tuple[str, Path]:
    table, flags = TASKS[request.param]
    folder = home / request.param
    arguments = ["train", str(home / table), *flags, *SMALL, *LENGTH, "--seed", "1", "--output", str(folder)]
    assert run(arguments) == 0
    return request.param, folder


@pytest.mark.medium
def test_what_a_task_does_not_know_is_refused_by_the_name_of_the_run(
    trained: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    kind, folder = trained
    assert run(["analyze", "lesion", str(folder)]) == 2
    assert capsys.readouterr().err.startswith(f"deepres: {folder}: its task is {kind}, and analyze is for")


@pytest.mark.medium
def test_numbers_taken_for_classes_are_told_how_to_be_learnt(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "below.csv").write_text("path,angle\n0.png,12.5\n1.png,-20.7\n")
    assert run(["train", str(home / "below.csv"), "--dry-run"]) == 2
    assert "label '-20.7', wanted 0 or more" in (err := capsys.readouterr().err)
    assert "numbers to be learnt: data.targets=numbers" in err
    assert run(["train", str(home / "below.csv"), "--set", "data.targets=many", "--dry-run"]) == 2
    wanted = "--set data.targets: input should be 'class', 'classes', 'numbers' or 'boxes', given 'many'"
    assert wanted in capsys.readouterr().err


@pytest.mark.medium
def test_the_source_or_the_flag_says_which_task_and_the_run_keeps_it(trained: tuple[str, Path]) -> None:
    kind, folder = trained
    plan = json.loads((folder / "run.json").read_text())
    assert plan["task"]["kind"] == kind
    assert plan["data"]["targets"] == {"multilabel": "classes", "regression": "numbers"}[kind]
    if kind == "regression":
        split = (folder / "split.csv").read_text().splitlines() if (folder / "split.csv").is_file() else []
        assert not split or "size" in split[0]
        assert plan["task"]["std"][0] > 0
        assert plan["train"]["label_smoothing"] == 0


@pytest.mark.medium
def test_the_result_is_that_of_its_answers(trained: tuple[str, Path]) -> None:
    kind, folder = trained
    result = json.loads((folder / "test.json").read_text())
    with np.load(folder / "predictions.npz") as file:
        truth, answers = file["truth"], file["logits" if kind == "multilabel" else "predicted"]
    if kind == "multilabel":
        assert result["mean_average_precision"] == pytest.approx(sklearn.average_precision_score(truth, answers))
        low, high = result["mean_average_precision_low"], result["mean_average_precision_high"]
        assert low <= result["mean_average_precision"] <= high
    else:
        assert result["error"] == pytest.approx(sklearn.mean_absolute_error(truth, answers))
        assert result["per_column"][0]["r2"] == pytest.approx(sklearn.r2_score(truth, answers))
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert all("val_loss" in row and "train_loss" in row for row in history)


@pytest.mark.medium
def test_eval_says_the_same_again_and_writes_what_it_is_asked_for(
    trained: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = trained
    files = ["--report", str(tmp_path / "r.html"), "--worst", str(tmp_path / "w.csv")]
    assert run(["eval", str(folder), "--device", "cpu", "--json", *files]) == 0
    again, once = json.loads(capsys.readouterr().out), json.loads((folder / "test.json").read_text())
    volatile = ("seconds", "images_per_second", "provenance", "notes")
    assert {k: v for k, v in again.items() if k not in volatile} == {k: v for k, v in once.items() if k not in volatile}
    page = (folder / "report.html").read_text()
    assert "Class by class" in page or "Column by column" in page
    assert "<script" not in page
    assert (tmp_path / "w.csv").read_text().startswith("image,")
    assert (tmp_path / "r.html").is_file()
    flips = ["eval", str(folder), "--device", "cpu", "--protocol", "flip"]
    assert run(flips) == 0


@pytest.mark.medium
def test_predict_answers_and_writes_a_table(
    trained: tuple[str, Path], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, folder = trained
    pictures = [str(home / f"{number}.png") for number in range(3)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    code = run(["predict", str(folder), *pictures, str(broken), "--device", "cpu", "--csv", str(tmp_path / "a.csv")])
    assert code == 1  # one could not be read
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert rows[3]["problem"]
    if kind == "regression":
        value, low, high = (float(rows[0][f"size{end}"]) for end in ("", " low", " high"))
        assert low < value < high
        assert " (90 %: " in lines[0]
    else:
        assert set(rows[0]["labels"].split(";")) <= {*NAMES, ""}
    assert run(["predict", str(folder), *pictures, "--device", "cpu", "--cam", str(tmp_path / "maps")]) == 2
    assert f"its task is {kind}, and --cam is for" in capsys.readouterr().err
    assert run(["analyze", "lesion", str(folder), "--device", "cpu", "--output", str(tmp_path / "analysis")]) == 2
    assert f"its task is {kind}, and analyze is for" in capsys.readouterr().err
    student = ["train", "digits", "--teacher", str(folder), *SMALL, *LENGTH, "--output", str(tmp_path / "student")]
    assert run(student) == 2
    assert f"its task is {kind}, and --teacher is for" in capsys.readouterr().err
    assert run(["eval", str(folder), "--calibrate", "--device", "cpu"]) == 2
    assert f"its task is {kind}, and --calibrate is for" in capsys.readouterr().err


@pytest.mark.medium
def test_runs_are_compared_by_their_figure(
    trained: tuple[str, Path], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, folder = trained
    table, flags = TASKS[kind]
    other = tmp_path / "other"
    assert run(["train", str(home / table), *flags, *SMALL, *LENGTH, "--seed", "2", "--output", str(other)]) == 0
    capsys.readouterr()
    assert run(["compare", str(folder), str(other), "--json", "--report", str(tmp_path / "c.html")]) == 0
    facts = json.loads(capsys.readouterr().out)
    values = [json.loads((one / "test.json").read_text()) for one in (folder, other)]
    key = "mean_average_precision" if kind == "multilabel" else "error"
    assert list(facts["figures"].values()) == pytest.approx([value[key] for value in values])
    (pair,) = facts["pairs"]
    assert pair["low"] <= pair["difference"] <= pair["high"]
    assert 0 < pair["p_value"] <= 1
    assert run(["compare", str(folder), str(other), "--vote"]) == 2


@pytest.mark.long
@pytest.mark.parametrize("kind", list(TASKS))
def test_stopped_and_resumed_or_packed_it_is_the_same_run(kind: str, home: Path, tmp_path: Path) -> None:
    table, flags = TASKS[kind]

    def trained(folder: str, source: str, *more: str) -> bytes:
        asked = ["train", source, *flags, *SMALL, *LENGTH, "--seed", "1", *more, "--output", str(tmp_path / folder)]
        assert run(asked) == 0
        return (tmp_path / folder / "model.safetensors").read_bytes()

    whole = trained("whole", str(home / table))
    trained("short", str(home / table), "--set", "train.iterations=6", "--set", "train.schedule.kind=constant")
    constant = ["--set", "train.schedule.kind=constant"]
    straight = trained("straight", str(home / table), *constant)
    assert run(["train", "--resume", str(tmp_path / "short"), "--set", "train.iterations=12", "--device", "cpu"]) == 0
    assert (tmp_path / "short" / "model.safetensors").read_bytes() == straight
    asked = ["--set", f"targets={'classes' if kind == 'multilabel' else 'numbers'}"]
    assert run(["data", "pack", str(home / table), str(tmp_path / "packed"), *asked]) == 0
    assert trained("of_pack", str(tmp_path / "packed")) == whole


@pytest.mark.long
@pytest.mark.parametrize("kind", list(TASKS))
def test_two_processes_train_and_measure_as_one(kind: str, home: Path, tmp_path: Path) -> None:
    table, flags = TASKS[kind]
    asked = ["train", str(home / table), *flags, *SMALL, *LENGTH, "--set", "train.accumulate=2", "--compile", "off"]
    assert run([*asked, "--output", str(tmp_path / "one")]) == 0
    for code, _, errors in ended_together([*DEEPRES, *asked, "--output", str(tmp_path / "two")]):
        assert code == 0, errors
    one, two = (json.loads((tmp_path / folder / "test.json").read_text()) for folder in ("one", "two"))
    key = "mean_average_precision" if kind == "multilabel" else "error"
    assert one[key] == pytest.approx(two[key], rel=1e-3)
    histories = [(tmp_path / folder / "history.jsonl").read_text().splitlines() for folder in ("one", "two")]
    for mine, theirs in zip(*(map(json.loads, lines) for lines in histories), strict=True):
        for name in mine:
            if name.startswith(("train_", "val_")):
                assert mine[name] == pytest.approx(theirs[name], rel=1e-3), name


@pytest.mark.medium
@pytest.mark.parametrize(
    ("table", "flags", "message"),
    [
        ("several.csv", ["--task", "regression"], "which column holds the numbers"),
        ("several.csv", ["--task", "multilable"], "did you mean multilabel"),
        ("numbers.csv", [], "numbers to be learnt: data.targets=numbers"),
        (
            "numbers.csv",
            ["--task", "regression", "--balance", "loss"],
            "its task is regression, and train.balance=loss is for classification and multilabel alone; leave it out",
        ),
        ("several.csv", ["--balance", "sampler"], "its task is multilabel, and train.balance=sampler is for"),
        (
            "numbers.csv",
            ["--task", "regression", "--set", "train.label_smoothing=0.1"],
            "train.label_smoothing is for classification and multilabel alone",
        ),
        (
            "several.csv",
            ["--task", "multilabel", "--set", "train.loss=binary"],
            "its task is multilabel, and train.loss=binary is for classification alone; leave it out",
        ),
        ("numbers.csv", ["--task", "regression", "--set", "task.delta=0"], "delta"),
    ],
)
def test_what_a_task_does_not_know_is_refused_in_one_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, flags: list[str], message: str
) -> None:
    assert run(["train", str(home / table), *flags, *SMALL, *LENGTH, "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in said
    assert not (tmp_path / "run").exists()


@pytest.mark.long
@pytest.mark.parametrize("kind", list(TASKS))
def test_folds_are_pooled_measured_and_asked_as_one(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Every image by the network that has not seen it; others by the mean of both, which is no fold's own answer."""
    table, flags = TASKS[kind]
    folder = tmp_path / "run"
    given = ["train", str(home / table), *flags, *SMALL, *LENGTH, "--folds", "2", "--output", str(folder)]
    assert run(given) == 0
    out = capsys.readouterr().out
    columns = [np.load(folder / place / "predictions.npz") for place in ("", "fold-1", "fold-2")]
    shown = "predicted" if kind == "regression" else "logits"
    own = {name: row for each in columns[1:] for name, row in zip(each["name"], each[shown], strict=True)}
    assert len(own) == len(columns[0]["name"]) == 80
    assert all(np.array_equal(own[name], row) for name, row in zip(columns[0]["name"], columns[0][shown], strict=True))
    pooled, summary = (json.loads((folder / name).read_text()) for name in ("test.json", "summary.json"))
    if kind == "regression":
        error = np.abs(columns[0]["predicted"] - columns[0]["truth"]).mean()
        assert pooled["error"] == pytest.approx(error)
        each = summary["fold_mean_absolute_error_of_sizes"]
        assert f"fold 1: mean absolute error of size {each[0]:.4g}" in out
    else:
        wanted = sklearn.average_precision_score(columns[0]["truth"], columns[0]["logits"])
        assert pooled["mean_average_precision"] == pytest.approx(wanted)
        each = summary["fold_mean_average_precisions"]
    assert len(each) == 2
    assert pooled["split"] == "cross-validated"
    assert 'href="fold-2/report.html"' in (folder / "report.html").read_text()
    assert run(["eval", str(folder), "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 80
    other = tmp_path / "other.png"
    Image.fromarray(np.full((12, 12), 77, np.uint8)).save(other)
    answers = []
    for asked in (folder, folder / "fold-1", folder / "fold-2"):
        assert run(["predict", str(asked), str(other), "--json", "--device", "cpu"]) == 0
        told = json.loads(capsys.readouterr().out)
        rows = told["values"] if kind == "regression" else sorted(told["guesses"], key=lambda one: one["name"])
        answers.append([one["value" if kind == "regression" else "probability"] for one in rows])
    assert answers[0] == pytest.approx(np.mean(answers[1:], axis=0), rel=1e-5)
