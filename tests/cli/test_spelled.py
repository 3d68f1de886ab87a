"""Command lines of other tools: every row of the table, one by one."""

import json
from pathlib import Path

import click
import pytest

from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.cli.main import deepres, run
from deepres.cli.spelled import respelt
from deepres.data.facts import DatasetFacts
from deepres.recipes.by_name import recipe
from deepres.recipes.spellings import SPELLINGS, OtherWord

RUN = recipe("photos", DatasetFacts("x", 2, 900, 3, 128), "resnet18")
VALUES = {
    "train.precision": "float32",
    "train.optimizer": "adamw_torch",
    "train.schedule.kind": "constant",
    "augmentation.auto": "ta_wide",
    "train.patience": "3",
    "train.repeats": "4",
    "--epochs": "3",
    "--batch-size": "32",
    "--img-size": "64",
    "--top-k": "3",
    "--log": "wandb",
}
ROWS = [(verb, row) for verb, rows in SPELLINGS.items() for row in rows if verb != "data show"]


def _options(verb: str) -> set[str]:
    command: click.Command = deepres
    for word in verb.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts}


@pytest.mark.parametrize(("verb", "row"), ROWS, ids=[f"{verb}-{row.names[0]}" for verb, row in ROWS])
def test_each_spelling_is_ours_or_is_answered(verb: str, row: OtherWord) -> None:
    for name in row.names:
        flag = f"--{name}" if len(name) > 1 else f"-{name}"
        if flag in _options(verb):
            continue
        if row.answer:
            with pytest.raises(InputError, match=rf"^{flag}: .*\S"):
                respelt(deepres, [*verb.split(), "x", flag, "1"])
            continue
        value = VALUES.get(row.to, "0.5")
        typed = [flag] if row.switch is not None else [flag, value]
        said = respelt(deepres, [*verb.split(), *typed])
        assert said == respelt(
            deepres, [*verb.split(), "-" * (len(flag) - len(name)) + name.replace("-", "_"), *typed[1:]]
        )
        ours = row.switch if row.switch is not None else row.values.get(value, value)
        if row.to in ("RUN", "SOURCE"):
            assert said == [*verb.split(), value]
        elif row.to.startswith("-"):
            assert row.to in _options(verb)
            assert said[-2:] in ([row.to, ours], [verb.split()[-1], row.to])
        else:
            assert said == [*verb.split(), "--set", f"{row.to}={ours}"]
            assert edit(RUN, [said[-1]]).recipe == "photos"


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("train data=photos epochs=3 imgsz=64", "train --epochs 3 --imgsz 64 photos"),
        ("train train.clip_norm=1 digits", "train --set train.clip_norm=1 digits"),
        ("train digits --batch_size=32 --lr0 0.1", "train digits --batch-size=32 --lr 0.1"),
        ("train digits amp=True verbose=false smoke=true", "train digits --set train.precision=auto --smoke"),
        ("train digits --opt sgd --wd 1e-4", "train digits --wd 1e-4"),
        ("train digits --amp=True --model-ema=false EPOCHS=3", "train digits --set train.precision=auto --epochs 3"),
        ("train --resume --epochs 3", "train --resume --epochs 3"),
        ("train --output --amp digits", "train --output --amp digits"),
        ("train -- amp=true", "train -- amp=true"),
        ("val model=runs/one data=photos --amp", "val runs/one --precision auto photos"),
        ("predict model=runs/one source=cat.jpg --conf 0.5", "predict runs/one --above 0.5 cat.jpg"),
        ("serve cats=runs/one", "serve cats=runs/one"),
        ("describe resnet18+depths=1,1,1,1", "describe resnet18+depths=1,1,1,1"),
        ("train digits --log-wandb --epochs 3", "train digits --log wandb --epochs 3"),
        ("train digits --report_to all", "train digits --log tensorboard,wandb,mlflow"),
        ("train --data x --help", "train --data x --help"),
        (
            "train digits --lr 0.1 --set train.schedule.lr=.1",
            "train digits --lr 0.1 --set train.schedule.lr=.1",
        ),
    ],
)
def test_words_of_others(typed: str, ours: str) -> None:
    assert respelt(deepres, typed.split()) == ours.split()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("train digits --opt adam", "^--opt adam: wanted sgd, adamw or lamb"),
        ("train digits optimizer=RMSprop", "^optimizer RMSprop: wanted sgd, adamw or lamb"),
        ("train digits --sched plateau", "^--sched plateau: wanted cosine, step or constant"),
        ("train digits epoch=3", "^setting 'epoch': unknown; did you mean epochs"),
        (
            "train digits --epochs 3 --set train.epochs=5",
            "^--epochs 3 and --set train.epochs=5: two values for one field",
        ),
        ("train digits -b=16 --set train.batch_size=8", "^--batch-size 16 and --set train.batch_size=8: two values"),
        ("train digits train.schedule.lr=.2 --lr .1", "^--lr .1 and --set train.schedule.lr=.2: two values"),
        ("train digits smoke=maybe", "^smoke=maybe: wanted true or false"),
        ("train digits amp=maybe", "^amp=maybe: wanted true or false"),
        ("train digits --amp=maybe", "^--amp=maybe: wanted true or false"),
        ("train digits zzzz=3", "^setting 'zzzz': unknown; see deepres train --help"),
        ("train digits --wandb --momentum", "^--momentum: wanted a value behind it"),
        ("predict runs/one cat.jpg --imgsz 64", "^--imgsz: pictures are prepared as in training"),
    ],
)
def test_words_that_mean_nothing_here(typed: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        respelt(deepres, typed.split())


def test_what_lies_on_the_disk_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "epochs=3").mkdir()
    assert respelt(deepres, ["train", "epochs=3"]) == ["train", "epochs=3"]


FILES = {
    "flags.yaml": "data: digits\nbatch-size: 32\nlr: 0.2\namp: true\nmixup: 0\nweight_decay: 0.001\nresume: null\n",
    "fields.yaml": "source: digits\ntrain:\n  batch_size: 32\n  schedule: {lr: 0.2}\n  optimizer: {weight_decay: 0.001}\n",
    "fields.json": '{"source": "digits", "train.batch_size": 32, "lr": 0.2, "wd": 0.001}',
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_settings_stands_before_what_is_typed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(FILES[name])
    assert run(["train", "--lr", "0.3", "-c", str(tmp_path / name), "--dry-run"]) == 0
    train = json.loads(capsys.readouterr().out)["train"]
    assert (train["batch_size"], train["schedule"]["lr"], train["optimizer"]["weight_decay"]) == (32, 0.3, 0.001)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochz: 3", r"flags.yaml: setting 'epochz': unknown; did you mean epochs"),
        ("- 3", r"flags.yaml: wanted fields with names, such as train.epochs: 3; given list"),
        ("opt: rmsprop", "flags.yaml: opt rmsprop: wanted sgd, adamw or lamb"),
        ("train: {epochs: x}", "Invalid value for '--epochs'"),
        ("train: {epoch: 3}", "--set 'train.epoch': unknown; did you mean train.epochs"),
        ("a: [", "flags.yaml: not a description of a run in YAML"),
    ],
)
def test_a_file_of_settings_that_sets_nothing(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flags.yaml").write_text(text)
    assert run(["train", "digits", "--config", str(tmp_path / "flags.yaml"), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.medium
@pytest.mark.parametrize("flag", ["--config", "-c", "--recipe"])
def test_a_run_is_the_recipe_of_another(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", "digits", "--dry-run", "--seed", "3", "--batch-size", "32", "--set", "augmentation.mixup=0.2"]
    assert run(asked) == 0
    written = capsys.readouterr().out
    (tmp_path / "run.json").write_text(written)
    assert run(["train", flag, str(tmp_path / "run.json"), "--dry-run"]) == 0
    assert capsys.readouterr().out == written
    assert run(["train", "--lr", "0.3", flag, str(tmp_path), "--model", "resnet8_tiny", "--dry-run"]) == 0
    changed = json.loads(capsys.readouterr().out)
    assert (changed["model"]["name"], changed["seed"], changed["train"]["schedule"]["lr"]) == ("resnet8_tiny", 3, 0.3)


def test_a_folder_of_images_may_be_called_like_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["train", "digits", "--recipe", "small", "--dry-run"]) == 0


def test_classes_and_published_weights_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in {
        "--num-classes 9": "--num-classes 9: digits has 10",
        "--pretrained": "--pretrained: of which network",
        "--pretrained --model resnet20_cifar": "--pretrained: no weights of resnet20_cifar are published",
        "--pretrained --model resnet18 --weights x.pth": "--pretrained with --weights x.pth: either says",
    }.items():
        assert run(["train", "digits", "--dry-run", *words.split()]) == 2
        assert said in capsys.readouterr().err
    assert run(["train", "digits", "--dry-run", "--num-classes", "10"]) == 0
