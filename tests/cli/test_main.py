import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from deepres.cli.main import ALIASES, VERBS, Verbs, deepres, run

# every flag that a person can type; a new one is a decision, not an accident
FLAGS = {
    "train": "--balance --batch-size --compile --config --device --dry-run --epochs --folds --ignore --img-size --log --lr --mean --memory --minutes --model --no-scale-lr --num-classes --on-bad-image --output --preprocessing --pretrained --recipe "
    "--resume --seed --set --smoke --std --task --teacher --variant --verbose --weight-decay --weights --workers",
    "eval": "--backend --calibrate --classes-of --device --force --ignore --json --mean --measure --model --on-bad-image --overwrite --precision --predictions --preprocessing --protocol --report "
    "--select --set --split --std --unknown --variant --worst",
    "analyze": "--cam --class --device --draws --force --ignore --images --json --layer --mean --model --on-bad-image --output --overwrite --points --preprocessing --seed --set "
    "--std --variant",
    "compare": "--force --json --overwrite --pairs --report --vote",
    "slim": "--accept-uncertain --device --drop-blocks --finetune-epochs --int8 --max-loss --output --source --target-ms",
    "predict": "--above --backend --cam --class --csv --device --every --format --ignore --json --mean --model --output --overwrite --precision --preprocessing --reject --set --show --std --top-k --uncalibrated --variant",
    "serve": "--batch-size --batch-wait-ms --device --drain --host --max-bytes --max-pixels --port --precision --queue --reload --timeout --token-file",
    "export": "--accept-uncertain --check-images --format --ignore --input --int8 --max-loss --mean --model --no-check --output --overwrite --preprocessing --runtime --set --std --variant",
    "models": "--json",
    "describe": "--batch-size --json --overwrite --svg",
    "weights convert": "--classes --ignore --mean --model --names --preprocessing --set --std --variant",
    "weights inspect": "--all --ignore --json",
    "data check": "--json --set --workers",
    "data pack": "--format --quality --set --size --workers",
    "data show": "--balance --batch-size --batches --config --epochs --ignore --img-size --lr --mean --model --no-scale-lr --num-classes --on-bad-image --output --overwrite --preprocessing --pretrained --recipe --seed --set --smoke "
    "--std --task --variant --weight-decay --weights",
    "data split": "--output --overwrite --set",
    "bench": "--batch-size --data --device --json --seconds",
    "reproduce": "--at-once --data --descriptions --device --dry-run --hours --json --list --on --only --output --pause --queue --report-only --scale --seeds --set --share "
    "--status --unpause --weights",
    "doctor": "--source --verify-resume",
}


def _commands() -> dict[str, click.Command]:
    assert isinstance(deepres, Verbs)
    found = {}
    for verb in VERBS:
        command = deepres.get_command(click.Context(deepres), verb)
        inner = command.commands if isinstance(command, click.Group) else {}
        found.update({f"{verb} {name}": part for name, part in inner.items()} or {verb: command})
    return found


def test_the_command_line_is_frozen() -> None:
    flags = {
        name: " ".join(sorted(max(p.opts, key=len) for p in command.params if isinstance(p, click.Option)))
        for name, command in _commands().items()
    }
    assert flags == FLAGS


def test_every_command_and_option_says_what_it_is() -> None:
    for name, command in _commands().items():
        assert command.help, name
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (name, parameter.name)


LIGHT = (
    ["--help"],
    ["models"],
    ["describe", "resnet50"],
    ["describe", "fasterrcnn_resnet101_c4"],
    ["train", "--help"],
    ["--version"],
)


@pytest.fixture(scope="module")
def loaded() -> dict[str, tuple[int, bool, list[str]]]:
    """By step of one process: its exit code, whether it printed anything, and what heavy was loaded at its end."""
    program = (
        "import contextlib, io, json, sys\nimport deepres\ndeepres.list_models()\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'matplotlib', 'scipy', 'sklearn'}\n"
        "found = {'the package': (0, True, sorted(heavy & set(sys.modules)))}\n"
        "from deepres.cli.main import run\n"
        f"for words in {LIGHT!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as said: code = run(words)\n"
        "    found[' '.join(words)] = (code, bool(said.getvalue()), sorted(heavy & set(sys.modules)))\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {step: tuple(found) for step, found in json.loads(done.stdout).items()}


@pytest.mark.medium
@pytest.mark.parametrize("step", ["the package", *map(" ".join, LIGHT)])
def test_what_needs_no_torch_loads_none(step: str, loaded: dict[str, tuple[int, bool, list[str]]]) -> None:
    assert loaded[step] == (0, True, [])


def test_the_alias_is_the_command() -> None:
    context = click.Context(deepres)
    for alias, verb in ALIASES.items():
        assert deepres.get_command(context, alias) is deepres.get_command(context, verb)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], r"command 'trian': unknown; did you mean train\?"),
        (["train", "--epoch", "3"], "No such option '--epoch'. .*--epochs"),
        (
            ["train", "--epochs", "0"],
            "Invalid value for '--epochs': 0 is not in the range x>=1; see deepres train --help",
        ),
        (["describe"], "Missing argument 'NET'; see deepres describe --help"),
        (["train", "digits", "--fast", "off"], r"^deepres: --fast is called --compile now; see deepres train --help$"),
        (["predict", "--fast=max", "run", "x"], r"^deepres: --fast is called --precision now; see deepres predict -"),
        (["eval", "--fast", "run"], "No such option '--fast'"),
        (["describe", "resnet5"], r"model 'resnet5': unknown; did you mean resnet50"),
        (["models", "vit*"], "model 'vit.*': unknown"),
        (
            ["train", "--resume", "x", "--model", "resnet18"],
            "--model resnet18 with --resume: a run keeps what it began",
        ),
        (["train", "--device", "tpu"], "--device tpu: "),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert run(arguments) == 2
    said = capsys.readouterr()
    assert re.search(message, said.err), said.err
    assert said.err.count("\n") == 1
    assert said.err.startswith("deepres: ")
    assert said.out == ""


@pytest.mark.medium
def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m deepres describe resnet152 --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{\n"
    assert [line for line in done.stderr.splitlines() if not line.endswith(" so far")] == []  # of a busy machine


def test_a_working_folder_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run(["models", "resnet20*"]) == 2
    assert capsys.readouterr().err == (
        "deepres: the working folder is gone (No such file or directory); change into one that is there: cd\n"
    )


def test_interrupted_while_it_begins_it_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deepres.__main__ import main

    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "deepres.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "deepres.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "deepres: interrupted\n"
