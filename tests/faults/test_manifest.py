"""A run's folder damaged, mixed with another's, edited by hand, cut off while it is written: refused by the file's name."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.base import manifest
from deepres.base.errors import InputError
from deepres.base.files import digest
from deepres.base.manifest import (
    MADE_AGAIN,
    MANIFEST,
    begin,
    is_bound,
    manifest_of,
    release,
    require_own,
    require_vouched,
    writing,
)
from deepres.cli.main import run as deepres
from deepres.train.history import read_history

SHORT = ["--model", "resnet20_cifar", "--set", "model.depths=1,1,1", "--batch-size", "8", "--device", "cpu"]
SHORT += ["--set", "train.epochs=none", "--set", "train.iterations=3", "--set", "train.save_every_seconds=0.001"]
Harm = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a` and `b`, runs of one plan but for the seed, on the same few pictures; `n`, of fewer layers."""
    home = tmp_path_factory.mktemp("home")
    draw = np.random.default_rng(0)
    for name in ("bright", "dark"):
        (home / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(0, 128, (8, 8, 3), dtype=np.uint8) + 127 * (name == "bright")
            Image.fromarray(pixels.astype(np.uint8)).save(home / "pictures" / name / f"{number}.png")
    for name, *more in (("a",), ("b", "--seed", "1"), ("n", "--set", "model.depths=2,1,1")):
        arguments = ["train", str(home / "pictures"), "--output", str(home / name), *SHORT, *more]
        assert deepres(arguments) == 0
    return home


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "a", tmp_path / "run"))


def flipped(name: str) -> Harm:
    def harm(run: Path, home: Path) -> None:
        (path,) = run.glob(name)
        content = bytearray(path.read_bytes())
        content[len(content) * 2 // 3] ^= 1
        path.write_bytes(content)

    return harm


def others(name: str, other: str = "b") -> Harm:
    def harm(run: Path, home: Path) -> None:
        if (run / name).is_dir():
            shutil.rmtree(run / name)
            shutil.copytree(home / other / name, run / name)
        else:
            shutil.copy(home / other / name, run / name)

    return harm


def gone(name: str) -> Harm:
    return lambda run, home: (run / name).unlink()


def edited(name: str, old: str, new: str) -> Harm:
    def harm(run: Path, home: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))

    return harm


def both(*harms: Harm) -> Harm:
    return lambda run, home: [harm(run, home) for harm in harms] and None


NOT = "not what this run wrote: damaged, changed by hand, or another run's; bring it back, or remove manifest.json"
ANEW = r"deepres train --resume \S+ writes it anew; or bring it back, or remove manifest.json"
NOT_YET = f"not what this run wrote: damaged, changed by hand, or another run's; {ANEW}"
RESUME, PREDICT, EVAL, COMPARE = "resume", "predict", "eval", "compare"
BEGINS, TEACHES, SHOWN, ANALYSED, WEIGHTS = "weights of", "teacher", "data show", "analyze", "weights"
CASES: dict[str, tuple[Harm, str, str]] = {
    "a bit of the statistics": (flipped("statistics.safetensors"), RESUME, rf"statistics\.safetensors: {NOT}"),
    "statistics, predict": (flipped("statistics.safetensors"), PREDICT, rf"statistics\.safetensors: {NOT}"),
    "no statistics, predict": (gone("statistics.safetensors"), PREDICT, r"statistics\.safetensors: missing; bring"),
    "statistics, data show": (flipped("statistics.safetensors"), SHOWN, rf"statistics\.safetensors: {NOT}"),
    "plan of another seed": (others("run.json"), RESUME, r"run\.json: not as this run wrote it: .*seed from 0 to 1"),
    "plan of another seed, eval": (
        others("run.json"),
        EVAL,
        r"run\.json: not as this run wrote it: .*seed from 0 to 1",
    ),
    "an edited lr": (
        edited("run.json", '"lr": ', '"lr": 1'),
        RESUME,
        r"train\.schedule\.lr from \S+ to \S+; changed by hand, .*change what may change with deepres train --resume",
    ),
    "an edited recipe, data show": (
        edited("run.json", '"small"', '"large"'),
        SHOWN,
        r"run\.json: not as this run wrote",
    ),
    "an edited path": (edited("run.json", "pictures", "picture"), RESUME, r"data\.source from .* to "),
    "a plan that is no JSON": (edited("run.json", "{", "["), RESUME, rf"run\.json: {NOT}"),
    "no plan": (gone("run.json"), EVAL, r"run\.json: missing; bring it back"),
    "another's states": (others("state"), RESUME, r"nothing to resume from \(.*its state\.json is of another run"),
    "states of another shape": (others("state", "n"), RESUME, r"nothing to resume from .*of another run"),
    "… and nobody says whose": (
        both(others("state", "n"), lambda run, home: (run / MANIFEST).unlink()),
        RESUME,
        r"weights\.safetensors: of another network than run\.json describes",
    ),
    "a bit of the split": (flipped("split.csv"), RESUME, rf"split\.csv: {NOT}"),
    "a bit of the images' record": (flipped("data.json"), RESUME, rf"data\.json: {NOT}"),
    "a bit of the digests": (flipped("digests.npz"), EVAL, rf"digests\.npz: {NOT}"),
    "no digests": (gone("digests.npz"), EVAL, r"digests\.npz: missing"),
    "a bit of the weights": (flipped("model.safetensors"), PREDICT, rf"model\.safetensors: {NOT_YET}"),
    "a bit of the weights, eval": (flipped("model.safetensors"), EVAL, rf"model\.safetensors: {NOT_YET}"),
    "a bit of the weights, begun with": (flipped("model.safetensors"), BEGINS, rf"model\.safetensors: {NOT_YET}"),
    "a bit of the weights, as a teacher's": (flipped("model.safetensors"), TEACHES, rf"model\.safetensors: {NOT_YET}"),
    "a bit of the weights, taken apart": (flipped("model.safetensors"), ANALYSED, rf"model\.safetensors: {NOT_YET}"),
    "a bit of the weights, given as a file": (flipped("model.safetensors"), WEIGHTS, rf"model\.safetensors: {NOT_YET}"),
    "another's weights": (others("model.safetensors"), PREDICT, rf"model\.safetensors: {NOT_YET}"),
    "another's weights and configuration": (
        both(others("model.safetensors"), others("config.json")),
        PREDICT,
        rf"model\.safetensors: {NOT_YET}",
    ),
    "no weights": (gone("model.safetensors"), PREDICT, rf"model\.safetensors: missing; {ANEW}"),
    "classes renamed": (edited("config.json", "bright", "blight"), PREDICT, rf"config\.json: {NOT_YET}"),
    "a bit of a state's weights, given": (
        flipped("state/step-000000003/weights.safetensors"),
        "state's weights",
        r"weights\.safetensors: not what the run wrote, says .*state\.json",
    ),
    "a bit of the answers": (flipped("predictions.npz"), COMPARE, rf"predictions\.npz: {NOT_YET}"),
    "another's answers": (others("predictions.npz"), COMPARE, rf"predictions\.npz: {NOT_YET}"),
    "another's result": (others("test.json"), COMPARE, rf"test\.json: {NOT_YET}"),
    "a bit of the manifest": (
        flipped(MANIFEST),
        PREDICT,
        r"manifest\.json: damaged, or changed by hand; bring it back, or",
    ),
    "no JSON": (edited(MANIFEST, "{", ""), RESUME, r"manifest\.json: damaged, or changed by hand"),
    "another's manifest": (others(MANIFEST), RESUME, r"run\.json: not as this run wrote it: .*seed from 1 to 0"),
}
"""What is done to a run's folder, which verb meets it, and what it says."""


@pytest.mark.medium
@pytest.mark.parametrize(("harm", "verb", "said"), CASES.values(), ids=CASES)
def test_what_is_not_the_runs_is_refused_by_name(
    run: Path, home: Path, capsys: pytest.CaptureFixture[str], harm: Harm, verb: str, said: str
) -> None:
    harm(run, home)
    pictures, before = str(home / "pictures"), {path: digest(path) for path in run.rglob("*.safetensors")}
    out = ["--output", str(run.parent / "out"), "--smoke"]
    arguments = {
        RESUME: ["train", "--resume", str(run)],
        PREDICT: ["predict", str(run), f"{pictures}/dark/0.png"],
        EVAL: ["eval", str(run), pictures],
        COMPARE: ["compare", str(run), str(home / "b")],
        BEGINS: ["train", pictures, "--weights", str(run), *out],
        TEACHES: ["train", pictures, "--teacher", str(run), *out],
        SHOWN: ["data", "show", str(run), "--output", str(run.parent / "sheet.png")],
        ANALYSED: ["analyze", "lesion", str(run), "--output", str(run.parent / "analysis")],
        WEIGHTS: ["predict", str(run / "model.safetensors"), f"{pictures}/dark/0.png", "--preprocessing", "0.5"],
        "state's weights": ["weights", "inspect", str(run / "state" / "step-000000003" / "weights.safetensors")],
    }[verb]
    assert deepres(arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("deepres: ")]
    assert re.search(said, line)
    assert {path: digest(path) for path in run.rglob("*.safetensors")} == before


HARMLESS: dict[str, tuple[Harm, str]] = {
    "untouched": (lambda run, home: None, ""),
    "without a manifest": (gone(MANIFEST), "no manifest.json in"),
    "the plan in one line": (
        lambda run, home: (
            (run / "run.json").write_text(json.dumps(json.loads((run / "run.json").read_text()))) and None
        ),
        "",
    ),
    "the newest state another's": (others("state/step-000000003"), "its state.json is of another run"),
    "a number of the newest state": (
        edited("state/step-000000003/state.json", '"epochs_since_best": 0', '"epochs_since_best": 1'),
        "its state.json is not what was written",
    ),
    "damaged results, written anew": (flipped("summary.json"), ""),
    "damaged weights, written anew": (flipped("model.safetensors"), ""),
}


@pytest.mark.medium
@pytest.mark.parametrize(("harm", "said"), HARMLESS.values(), ids=HARMLESS)
def test_a_run_that_is_whole_goes_on_to_the_same_weights(
    run: Path, home: Path, capsys: pytest.CaptureFixture[str], harm: Harm, said: str
) -> None:
    harm(run, home)
    assert deepres(["train", "--resume", str(run)]) == 0
    assert said in capsys.readouterr().err
    assert digest(run / "model.safetensors") == digest(home / "a" / "model.safetensors")
    assert deepres(["predict", str(run), str(home / "pictures" / "dark" / "0.png")]) == 0


@pytest.mark.long
@pytest.mark.parametrize("harm", [flipped, gone])
@pytest.mark.parametrize("name", [name for name in MADE_AGAIN if name != "ensemble.json"])  # of folds alone
def test_what_resuming_is_said_to_write_anew_it_does(
    name: str, harm: Callable[[str], Harm], run: Path, home: Path
) -> None:
    harm(name)(run, home)
    with pytest.raises(InputError, match=rf"{re.escape(name)}: .*; {ANEW}"):
        require_own(run, name)
    assert deepres(["train", "--resume", str(run)]) == 0
    require_own(run, *manifest_of(run).files)
    assert digest(run / "model.safetensors") == digest(home / "a" / "model.safetensors")


@pytest.mark.medium
def test_what_it_does_not_write_is_not_promised(run: Path, home: Path) -> None:
    others = sorted(set(manifest_of(run).files) - set(MADE_AGAIN))
    assert "statistics.safetensors" in others
    for name in others:
        flipped(name)(run, home)
        with pytest.raises(InputError, match=re.escape(name)) as refused:
            require_own(run, name)
        assert "writes it anew" not in refused.value.message
    shutil.rmtree(run / "state")  # nor where there is nothing to write it from
    gone("test.json")(run, home)
    with pytest.raises(InputError, match=r"test\.json: missing; bring it back"):
        require_own(run, "test.json")


HISTORY_CASES: dict[str, tuple[Harm, list[str]]] = {
    "another error, resume": (
        edited("history.jsonl", '"train_error": 0.', '"train_error": 0.1'),
        ["train", "--resume"],
    ),
    "another error, report": (edited("history.jsonl", '"train_error": 0.', '"train_error": 0.1'), ["eval"]),
    "another's, resume": (others("history.jsonl"), ["train", "--resume"]),
    "cut short": (lambda run, home: (run / "history.jsonl").write_text("") and None, ["train", "--resume"]),
}


@pytest.mark.medium
@pytest.mark.parametrize(("harm", "words"), HISTORY_CASES.values(), ids=HISTORY_CASES)
def test_the_history_of_a_run_that_has_ended_is_its_own(
    harm: Harm, words: list[str], run: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(run, home)
    more = ["--report", str(run.parent / "r.html")] if words == ["eval"] else []
    assert deepres([*words, str(run), *more]) == 2
    assert re.search(
        r"history\.jsonl: not what this run wrote: .* or remove it: the curves are lost", capsys.readouterr().err
    )
    (run / "history.jsonl").unlink()
    assert deepres([*words, str(run), *more]) == 0


@pytest.mark.medium
def test_a_history_grows_and_is_bound_again(run: Path) -> None:
    assert is_bound(run, "history.jsonl")
    release(run, "history.jsonl")
    assert not is_bound(run, "history.jsonl")
    (run / "history.jsonl").write_text("")  # it was killed, and a crash of the machine lost the rows
    assert deepres(["train", "--resume", str(run), "--set", "train.iterations=4"]) == 0
    require_own(run, *manifest_of(run).files)
    assert [row["step"] for row in read_history(run)][-1] == 4


@pytest.mark.medium
def test_a_change_by_set_is_the_runs_own(run: Path, home: Path) -> None:
    assert deepres(["train", "--resume", str(run), "--set", "train.iterations=4"]) == 0
    plan = manifest_of(run).plan
    assert (plan["train"]["iterations"], plan) == (4, json.loads((run / "run.json").read_text()))
    assert deepres(["compare", str(run), str(home / "b")]) == 0


@pytest.mark.medium
def test_weights_without_a_manifest_are_taken_as_they_are(run: Path, home: Path) -> None:
    bundle = run.parent / "bundle"
    bundle.mkdir()
    for name in ("model.safetensors", "config.json", "statistics.safetensors"):
        shutil.copy(run / name, bundle / name)
    others("model.safetensors")(bundle, home)
    assert deepres(["predict", str(bundle), str(home / "pictures" / "dark" / "0.png")]) == 0


@pytest.mark.medium
def test_states_that_another_run_left_are_neither_used_nor_dropped(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(home / "b" / "state", folder / "state")
    (folder / "state" / "step-000000003").rename(folder / "state" / "step-000000900")
    arguments = ["train", str(home / "pictures"), "--output", str(folder), *SHORT]
    assert deepres(arguments) == 0
    assert (folder / "state" / "step-000000900").is_dir()
    assert digest(folder / "model.safetensors") == digest(home / "a" / "model.safetensors")
    assert (folder / "state" / "step-000000003").is_dir()


def _group(folder: Path, value: str) -> None:
    with writing(folder, outdates={"one": ("late",)}) as new:
        for name in ("one", "two", "run.json"):
            (new / name).write_text(json.dumps({"value": value}))


@pytest.mark.medium
@pytest.mark.parametrize("step", range(1, 12))
def test_a_group_cut_off_at_any_moment_is_old_new_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    begin(tmp_path, ())
    _group(tmp_path, "old")
    (tmp_path / "late").write_text("of old weights")
    with writing(tmp_path) as new:
        shutil.copy(tmp_path / "late", new / "late")
    count = 0

    def cut(what: Callable[..., object]) -> Callable[..., object]:
        def counted(*values: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                raise SystemExit  # no handler for errors may mend it
            return what(*values, **named)

        return counted

    with monkeypatch.context() as patched:
        for owner, name in ((Path, "replace"), (Path, "unlink"), (manifest, "write_atomic"), (manifest, "flush")):
            patched.setattr(owner, name, cut(getattr(owner, name)))
        patched.setattr(manifest.shutil, "rmtree", lambda *args, **named: None)
        with suppress(SystemExit):
            _group(tmp_path, "new")
    held = {name: (tmp_path / name).read_text() for name in ("one", "two", "run.json")}
    for name in held:
        require_own(tmp_path, name)
    if len(set(held.values())) == 1:
        require_own(tmp_path, *held)
    else:
        with pytest.raises(
            InputError, match="of two times, the run was cut off as it wrote them; deepres train --resume"
        ):
            require_own(tmp_path, *held)
    _group(tmp_path, "newest")
    require_own(tmp_path, *held)
    assert not (tmp_path / "late").exists()
    assert manifest_of(tmp_path).coming == {}


@pytest.mark.medium
def test_a_link_to_a_file_of_a_run_is_that_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link.safetensors").symlink_to(run / "model.safetensors")
    require_vouched(tmp_path / "link.safetensors")
    flipped("model.safetensors")(run, run)
    with pytest.raises(InputError, match=r"model\.safetensors: not what this run wrote"):
        require_vouched(tmp_path / "link.safetensors")
