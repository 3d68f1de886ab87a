"""A run in folds, one of which is damaged, gone, another's or changed for its neighbour: refused by name, or mended."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deepres.base.errors import InputError
from deepres.base.files import digest
from deepres.base.manifest import is_whole
from deepres.cli.main import run as deepres
from deepres.runs.fold_plan import plan_in

SHORT = [
    "--device",
    "cpu",
    "--compile",
    "off",
    "--recipe",
    "small",
    "--workers",
    "0",
    "--batch-size",
    "4",
    "--epochs",
    "1",
]
SHORT += ["--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16", "--set", "preparation.crop=8"]
Harm = Callable[[Path, Path], None]
NOT = "not what this run wrote: damaged, changed by hand, or another run's; "


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a` and `b`, runs in two folds, equal but for the seed."""
    from PIL import Image

    home = tmp_path_factory.mktemp("home")
    for number in range(16):
        path = home / "pictures" / ("bright", "dark")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((8, 8), 20 + 100 * (number % 2)).convert("RGB").save(path)
    for name, seed in (("a", "0"), ("b", "1")):
        words = ["train", str(home / "pictures"), "--folds", "2", "--seed", seed, "--output", str(home / name)]
        assert deepres([*words, *SHORT]) == 0
    return home


@pytest.fixture
def folds(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "a", tmp_path / "folds"))


def flipped(name: str) -> Harm:
    def harm(folds: Path, home: Path) -> None:
        content = bytearray((folds / name).read_bytes())
        content[len(content) * 2 // 3] ^= 1
        (folds / name).write_bytes(content)

    return harm


def gone(name: str) -> Harm:
    return lambda folds, home: shutil.rmtree(folds / name) if (folds / name).is_dir() else (folds / name).unlink()


def others(folds: Path, home: Path) -> None:
    shutil.rmtree(folds / "fold-1")
    shutil.copytree(home / "b" / "fold-1", folds / "fold-1")


def exchanged(name: str) -> Harm:
    def harm(folds: Path, home: Path) -> None:
        one, two, aside = folds / "fold-1" / name, folds / "fold-2" / name, folds / "aside"
        one.rename(aside)
        two.rename(one)
        aside.rename(two)

    return harm


REFUSED: dict[str, tuple[Harm, str]] = {
    "a bit of a fold's statistics": (
        flipped("fold-2/statistics.safetensors"),
        rf"fold-2/statistics\.safetensors: {NOT}",
    ),
    "a bit of a fold's plan": (flipped("fold-1/run.json"), r"fold-1/run\.json: not "),
    "a fold's plan gone": (gone("fold-1/run.json"), r"fold-1/run\.json: missing"),
    "a bit of a fold's history": (flipped("fold-1/history.jsonl"), r"fold-1/history\.jsonl: not what this run wrote"),
    "a bit of a fold's manifest": (flipped("fold-2/manifest.json"), r"fold-2/manifest\.json: damaged"),
    "a fold's manifest gone": (gone("fold-2/manifest.json"), r"fold-2/manifest\.json: not of fold 2"),
    "another run's fold": (others, r"fold-1/manifest\.json: not of fold 1 of the run in"),
    "folds exchanged": (exchanged(""), r"fold-1/manifest\.json: not of fold 1 of the run in"),
    "manifests exchanged": (exchanged("manifest.json"), r"fold-1/manifest\.json: not of fold 1 of the run in"),
    "a bit of the plan": (flipped("folds.json"), rf"folds\.json: ({NOT}|not JSON)"),
    "a bit of the manifest": (flipped("manifest.json"), r"manifest\.json: damaged"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("harm", "said"), REFUSED.values(), ids=REFUSED)
def test_what_no_resuming_can_mend_is_refused_by_name(
    harm: Harm, said: str, folds: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(folds, home)
    before = {path: digest(path) for path in folds.rglob("*.safetensors")}
    assert deepres(["train", "--resume", str(folds)]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert {path: digest(path) for path in folds.rglob("*.safetensors")} == before


MENDED: dict[str, Harm] = {
    "weights of a fold": flipped("fold-1/model.safetensors"),
    "weights exchanged": exchanged("model.safetensors"),
    "a fold's result": flipped("fold-2/test.json"),
    "a fold's answers gone": gone("fold-2/predictions.npz"),
    "a whole fold gone": gone("fold-1"),
    "the pooled result": flipped("test.json"),
    "the pooled answers gone": gone("predictions.npz"),
    "the summary": flipped("summary.json"),
}


@pytest.mark.slow
@pytest.mark.parametrize("harm", MENDED.values(), ids=MENDED)
def test_what_resuming_can_mend_it_does(harm: Harm, folds: Path, home: Path) -> None:
    harm(folds, home)
    assert deepres(["train", "--resume", str(folds)]) == 0
    for fold in ("fold-1", "fold-2"):
        assert is_whole(folds / fold)
        assert digest(folds / fold / "model.safetensors") == digest(home / "a" / fold / "model.safetensors")
    assert is_whole(folds)
    assert digest(folds / "predictions.npz") == digest(home / "a" / "predictions.npz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            flipped("fold-1/model.safetensors"),
            rf"fold-1/model\.safetensors: {NOT}deepres train --resume \S+/fold-1 writes",
        ),
        (exchanged("model.safetensors"), rf"fold-1/model\.safetensors: {NOT}deepres train --resume \S+/fold-1 writes"),
        (others, r"fold-1/manifest\.json: not of fold 1"),
        (exchanged(""), r"fold-1/manifest\.json: not of fold 1"),
        (gone("fold-2"), r"fold-2: missing; deepres train --resume \S+folds trains it anew; or bring it back"),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "eval"])
def test_answers_of_folds_that_are_not_the_runs_are_refused(
    verb: str, harm: Harm, said: str, folds: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(folds, home)
    asked = [str(home / "pictures" / "dark" / "1.png")] if verb == "predict" else []
    assert deepres([verb, str(folds), *asked]) == 2
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.slow
def test_a_fold_is_mended_by_itself_too(folds: Path, home: Path) -> None:
    flipped("fold-1/model.safetensors")(folds, home)
    assert deepres(["train", "--resume", str(folds / "fold-1")]) == 0
    assert deepres(["predict", str(folds), str(home / "pictures" / "dark" / "1.png")]) == 0


@pytest.mark.parametrize("run", [5, None, [], "x", {"format": "2"}, {"format": 99}, {}])
def test_a_plan_whose_run_is_none_is_refused_in_one_line(tmp_path: Path, run: object) -> None:
    (tmp_path / "folds.json").write_text(json.dumps({"folds": 2, "run": run, "done": []}))
    with pytest.raises(InputError, match=r"folds\.json"):
        plan_in(tmp_path)
