"""Only runs that differ in the seed alone are pooled, what is pooled is said; no temperature where none is told."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_sets import draw, trained

from deepres.base.errors import InputError
from deepres.base.manifest import MANIFEST
from deepres.cli.main import run
from deepres.tasks.classification.calibration import (
    FEWEST,
    Tempered,
    find_temperature,
    temperature_interval,
    temperature_of,
    tempered,
)
from deepres.tasks.classification.metrics import Measures, Predictions
from deepres.tasks.classification.pooling import apart, measured_with, pooled, require_different
from deepres.tasks.classification.predictions import SavedPredictions
from deepres.tasks.plans import RunPlan, plan_of

PLAN: dict[str, object] = {
    "recipe": "small", "train.epochs": 30, "data.split_seed": 0, "model.name": "resnet20_cifar", "images.train": "abc",
}  # fmt: skip


def answers(
    name: str, seed: int | None, wrong: int = 5, weights: str | None = None, **facts: object
) -> SavedPredictions:
    how = {key: str(facts.pop(key)) for key in ("protocol", "precision", "model") if key in facts}
    given = {"protocol": "center", "precision": "float32", "model": "resnet20_cifar"} | how
    changed = {name.replace("__", "."): value for name, value in facts.items()}
    return SavedPredictions(
        name,
        given["model"],
        tuple(map(str, range(100))),
        np.arange(100) >= wrong,
        given["protocol"],
        "photos, test",
        precision=given["precision"],
        weights=weights or f"sha of {name}",
        plan=None if seed is None else RunPlan(seed=seed, facts={**PLAN, **changed}),  # type: ignore[arg-type]
    )


def test_runs_equal_but_for_the_seed_are_pooled_and_it_is_said() -> None:
    three = [answers(name, seed, wrong) for name, seed, wrong in (("a", 0, 8), ("b", 1, 5), ("c", 2, 7))]
    (seeds,) = pooled(three)
    assert str(seeds) == (
        "resnet20_cifar: 6.67 ± 1.53 % over 3 runs that differ in the seed alone, "
        "median 7.00 %, best 5.00 %: a (0), b (1), c (2)"
    )
    assert apart(three) == ()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (answers("b", 1, train__epochs=60), "they differ in train.epochs"),
        (answers("b", 1, recipe="cifar_2015", data__split_seed=3), "they differ in data.split_seed, recipe"),
        (answers("b", 1, images__train="abd"), "they differ in images.train"),
        (answers("b", 1, weights_="elsewhere"), "they differ in weights_"),
        (answers("b", 1, protocol="ten-crop"), "they differ in protocol"),
        (answers("b", 1, precision="bfloat16"), "they differ in precision"),
        (answers("b", 0), "both have seed 0"),
        (answers("b", None), "how b was trained is not known"),
        (answers("b", 1, a=1, b=2, c=3, d=4, e=5, f=6), "they differ in a, b, c, d and 2 more"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_differs_in_more_is_not_pooled_and_told_why(other: SavedPredictions, reason: str) -> None:
    first = answers("a", 0)
    assert pooled([first, other]) == ()
    assert apart([first, other]) == (f"resnet20_cifar: a and b are not pooled: {reason}",)
    assert len(pooled([first, other, answers("c", 7)])) == 1


def test_two_of_which_nothing_is_known_are_not_pooled_by_their_networks_name() -> None:
    assert pooled([answers("a", None), answers("b", None)]) == ()
    assert len(apart([answers("a", None), answers("b", None), answers("c", None, model="vgg16")])) == 1


def test_the_same_weights_twice_are_refused_unless_measured_in_two_ways() -> None:
    with pytest.raises(
        InputError, match=r"^compare: a and b are the same weights \(sha256 1234567890ab\), measured in"
    ):
        require_different([answers("a", 0, weights="1234567890abcdef"), answers("b", 1, weights="1234567890abcdef")])
    require_different([answers("a", 0, weights="12"), answers("a flipped", 0, weights="12", protocol="flip")])
    require_different([answers("a", 0, weights="12"), answers("a half", 0, weights="12", precision="bfloat16")])


def test_precisions_that_differ_are_told() -> None:
    assert measured_with([answers("a", 0), answers("b", 1)]) == ()
    (told,) = measured_with([answers("a", 0), answers("b", 1, precision="bfloat16"), answers("c", 1, precision="")])
    assert told == "measured in float32: a; bfloat16: b; a precision that is not told: c"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of one plan under two seeds and another length, on 60 images."""
    home = tmp_path_factory.mktemp("home")
    photos = draw(home / "photos")
    trained(photos, home / "a")
    (home / "link").symlink_to("photos")
    trained(home / "link", home / "b", "--seed", "1", "--workers", "1")
    trained(photos, home / "longer", "--seed", "2", "--set", "train.iterations=3")
    return home


def said_of(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    capsys.readouterr()
    assert run([*map(str, arguments)]) == code
    said = capsys.readouterr()
    return said.out if code == 0 else said.err


@pytest.mark.slow
def test_compare_pools_runs_and_files_that_carry_the_facts(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    said = said_of(capsys, "compare", home / "a", home / "b", home / "longer", "--report", page)
    assert re.search(r"resnet20_cifar: .* over 2 runs that differ in the seed alone, .*: a \(0\), b \(1\)$", said, re.M)
    reason = "resnet20_cifar: a and longer are not pooled: they differ in train.iterations"
    assert f"note: {reason}" in said
    assert reason in page.read_text()
    files = [tmp_path / f"{name}.npz" for name in ("a", "b")]
    for name, file in zip(("a", "b"), files, strict=True):
        plan = json.loads((home / name / "run.json").read_text())
        plan["data"]["source"] = str(home / "photos")
        (home / name / MANIFEST).unlink(missing_ok=True)  # edited by hand, as no run writes it
        (home / name / "run.json").write_text(json.dumps(plan))
        said_of(capsys, "eval", home / name, "--predictions", file, "--device", "cpu")
    found = json.loads(said_of(capsys, "compare", *files, "--json"))
    assert [seeds["seeds"] for seeds in found["seeds"]] == [[0, 1]]
    again = said_of(capsys, "compare", home / "a", files[0], code=2)
    assert re.search(r"compare: .*a and .*a\.npz are the same weights \(sha256 ", again)
    (tmp_path / "link").symlink_to(home / "a")
    for same in (f"{home}/a/", f"{home}/b/../a", tmp_path / "link"):
        assert "named twice" in said_of(capsys, "compare", home / "a", same, code=2)
    shutil.copytree(home / "a", tmp_path / "copy")
    assert "a and copy are the same weights" in said_of(capsys, "compare", home / "a", tmp_path / "copy", code=2)
    assert "the same weights, named twice" in said_of(
        capsys, "eval", home / "a", tmp_path / "copy", "--device", "cpu", code=2
    )


def predictions(
    seed: int, count: int, temper: float = 1.0, flip: bool = False, right: bool | None = None
) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(count, 5, generator=generator)
    labels = torch.multinomial(z.softmax(1), 1, generator=generator)[:, 0]
    if right is not None:
        labels = z.argmax(1) if right else z.argmin(1)
    measures = Measures(keep_scores=True)
    measures.update((-1 if flip else 1) * temper * z, labels, torch.arange(count))
    return measures.answers()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: predictions(0, 6), rf"^temperature: 6 held-out images are too few .*, wanted at least {FEWEST}; hold more"),
        (lambda: predictions(0, FEWEST - 1), r"too few to find a temperature"),
        (lambda: predictions(0, 200, right=False), r"all 200 held-out images are answered wrongly, so none can be found; train"),
        (lambda: predictions(0, 200, flip=True), r"the search ended at its bound, 100: on the 200 .* no more than chance"),
        (lambda: nearly(0.0001), r"the search ended at its bound, 0\.01: .* is nearly always right"),
    ],
)  # fmt: skip
def test_what_tells_no_temperature_is_refused_in_words(make: Callable[[], Predictions], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_temperature(make())
    assert "\n" not in str(caught.value)


def nearly(scale: float) -> Predictions:
    """All right but one, whose logits are a little apart."""
    z = torch.eye(5, dtype=torch.float64).repeat(40, 1) * scale
    labels = torch.arange(5).repeat(40)
    labels[0] = 1
    measures = Measures(keep_scores=True)
    measures.update(z, labels, torch.arange(200))
    return measures.answers()


@pytest.mark.medium
def test_a_temperature_comes_with_the_interval_of_repeated_draws() -> None:
    found = [find_temperature(predictions(seed, 400, 2.0)) for seed in range(60)]
    spread = float(np.std(np.log(found), ddof=1))
    low, high = temperature_interval(predictions(0, 400, 2.0), found[0])
    assert low < found[0] < high
    assert float(np.log(high / low)) / (2 * 1.96) == pytest.approx(spread, rel=0.35)
    covered = [low <= 2.0 <= high for low, high in (
        temperature_interval(predictions(seed, 400, 2.0), one) for seed, one in enumerate(found)
    )]  # fmt: skip
    assert sum(covered) >= 52
    text = str(tempered(predictions(1, 300), temperature_of(predictions(0, 400, 2.0), "val")))
    assert re.match(r"temperature \d\.\d{3} \(95 % interval \d\.\d\d to \d\.\d\d\), found on 400 images of val: ", text)


def test_a_result_of_an_older_version_has_no_interval() -> None:
    now = tempered(predictions(1, 300), temperature_of(predictions(0, 400), "val"))
    fields = {
        name: value for name, value in now.model_dump().items() if name not in ("temperature_low", "temperature_high")
    }
    assert re.match(r"temperature \d\.\d{3}, found on", str(Tempered.model_validate(fields)))


@pytest.mark.slow
def test_calibrating_on_six_images_is_refused_at_the_command_line(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_of(capsys, "eval", home / "a", "--calibrate", "--device", "cpu", code=2)
    assert re.search(
        r"temperature: 6 held-out images are too few to find a temperature, wanted at least 20; hold more", said
    )


@pytest.mark.slow
def test_a_plan_is_that_of_the_files(home: Path) -> None:
    first, second, longer = (plan_of(home / name) for name in ("a", "b", "longer"))
    assert first is not None
    assert second is not None
    assert longer is not None
    assert (first.seed, second.seed) == (0, 1)
    assert first.facts == second.facts  # source spelled otherwise, other workers
    assert first.differences(longer) == ("train.iterations",)
    assert plan_of(home) is None
