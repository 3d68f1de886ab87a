"""What README and docs tell a reader to type does what they say: every block parses, and is run where its needs are met."""

import shutil
import subprocess
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from PIL import Image
from typed import NEEDS, ROOT, Block, blocks, pages, shorter

from deepres.cli.main import deepres, run
from deepres.cli.spelled import respelt
from processes import DEEPRES
from processes import run as run_process

TYPED = [block for page in pages() for block in blocks(page) if block.language in ("bash", "python")]
BASH = [block for block in TYPED if block.language == "bash"]
PAGES = sorted({block.page for block in TYPED})


def _typed(*needs: str) -> list[str]:
    return sorted({block.page for block in TYPED if block.needs in needs})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages assume it: photos, single pictures, a file of weights, two runs."""
    folder = tmp_path_factory.mktemp("desk")
    draw = np.random.default_rng(0)
    for label, colour in {"cat": (200, 60, 40), "dog": (40, 160, 60), "fox": (50, 60, 190)}.items():
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(draw.normal(colour, 60, (48, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{number}.png")
    for name in ("cat", "dog"):
        Image.open(folder / "photos" / name / "0.png").save(folder / f"{name}.jpg")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("photos/*/*.png"))
    of_two = [f"{name},{name.split('/')[1]}{';bright' if number % 2 else ''}" for number, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["path,label", *of_two]))
    (folder / "ages.csv").write_text("\n".join(["path,label", *(f"{name},{len(name)}.5" for name in names)]))
    (folder / "album").mkdir()
    Image.open(folder / "cat.jpg").save(folder / "album" / "one.jpg")
    for part, count in {"train": 20, "test": 10}.items():
        pixels = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        np.savez(folder / f"cifar10_{part}.npz", x=pixels, y=np.arange(count) % 10)
    shutil.copy(ROOT / "evidence" / "queue.json", folder)
    import deepres as library

    torch.save(library.create_model("resnet20_cifar_b").state_dict(), folder / "last.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        tiny = [
            "--recipe",
            "small",
            "--model",
            "resnet8_tiny",
            "--set",
            "model.depths=2,1,1",
            "--workers",
            "0",
            "-b",
            "12",
        ]
        for seed in ("0", "1"):
            edits = ["--set", "train.iterations=2", "--set", "train.epochs=none", "--seed", seed]
            assert run(["train", "photos", *tiny, *edits]) == 0
    return folder


@pytest.fixture
def there(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desk of one's own: no page finds what another has left."""
    shutil.copytree(desk, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path / "desk"


def test_every_page_that_tells_one_to_type_something_is_here() -> None:
    assert {"README.md", "docs/start.md", "docs/index.md"} <= set(PAGES)
    assert len(TYPED) >= 40
    assert {block.needs for block in TYPED} <= set(NEEDS)
    marked = sum(page.read_text().count("<!-- needs: ") for page in pages())
    assert marked == sum(block.needs != "nothing" for page in pages() for block in blocks(page)), "a mark without block"


@pytest.mark.parametrize("block", BASH, ids=str)
def test_every_command_exists_with_its_flags(block: Block) -> None:
    for words in block.commands():
        if "deepres" in words:
            _parse(words[words.index("deepres") + 1 :])
        elif words[0] == "make":
            told = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
            assert told.returncode == 0, told.stderr
        else:
            assert words[0] in ("export", "pip", "source"), words


def _parse(words: list[str]) -> None:
    """Flags, choices and arguments of a command as click takes them, those of others too; nothing is run."""
    words = words if "-c" in words else respelt(deepres, words)  # a file of settings is not there
    command: click.Command = deepres
    name = "deepres"
    context = click.Context(deepres, info_name=name)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, name, words = found, words[0], words[1:]
    words = words[: words.index("<")] if "<" in words else words
    command.make_context(name, list(words), parent=context)


@pytest.mark.medium
@pytest.mark.parametrize("page", _typed("nothing"))
def test_what_needs_nothing_runs(page: str, there: Path) -> None:
    for block in TYPED:
        if block.page == page and block.needs == "nothing":
            _run(block, there)


@pytest.mark.long
@pytest.mark.parametrize("page", _typed("seconds", "minutes", "cifar10"))
def test_what_takes_longer_runs(page: str, there: Path) -> None:
    for block in TYPED:
        if block.page == page and block.needs in ("nothing", "seconds", "minutes", "cifar10"):
            _run(block, there)


def _run(block: Block, folder: Path) -> None:
    if block.language == "python":
        exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
        return
    for words in block.commands():
        if words[0] == "deepres":
            _command(shorter(words[1:]) if block.needs == "minutes" else words[1:], folder, block)


def _command(words: list[str], folder: Path, block: Block) -> None:
    if "<" in words:  # what a shell does with it
        at = words.index("<")
        with (folder / words[at + 1]).open("rb") as stdin:
            done = run_process([*DEEPRES, *words[:at]], cwd=folder, stdin=stdin)
        assert done.returncode == 0, block
        return
    assert run(words) == 0, (str(block), words)
