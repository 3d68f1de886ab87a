"""What a person names as an output and must not be written: an input, a file of a run, a device, somebody else's file."""

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from runs_of_tasks import TASKS, pictures, run_of

import deepres
from deepres.base.errors import InputError
from deepres.base.files import write_atomic
from deepres.cli.main import run
from deepres.predict.predictor import Predictor
from deepres.runs.outputs import OWN

Made = Callable[..., Path]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photos, a table of them, weights that know them, and a run as a training leaves it, but untrained."""
    import numpy as np
    from PIL import Image

    home = tmp_path_factory.mktemp("outputs")
    draw = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (home / "photos" / label).mkdir(parents=True)
        for number in range(6):
            picture = Image.fromarray(draw.integers(0, 256, (36, 36, 3), dtype=np.uint8))
            picture.save(home / "photos" / label / f"{number}.png")
    rows = [f"photos/{label}/{number}.png,{label},me" for label in ("cat", "dog") for number in range(6)]
    (home / "t.csv").write_text("\n".join(["path,label,who", *rows, ""]))
    words = [
        "train",
        "photos",
        "--epochs",
        "1",
        "--compile",
        "off",
        "--workers",
        "0",
        "--output",
        "run",
        "--device",
        "cpu",
    ]
    tiny = ["--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16", "--recipe", "small", "-b", "4"]
    before = Path.cwd()
    os.chdir(home)
    try:
        assert run([*words, *tiny]) == 0
        assert run(["weights", "convert", "run", "weights"]) == 0
    finally:
        os.chdir(before)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def home(begun: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(begun)
    return begun


IN_PYTHON: list[tuple[Callable[[], object], str]] = [
    (lambda: deepres.train("photos", "photos/cat/run", epochs=1, progress=False), "output photos/cat/run: lies in"),
    (lambda: deepres.train("photos", "weights", epochs=1, progress=False), "output weights: exists already, as a run"),
    (lambda: deepres.train("photos", "theirs", progress=False), "output theirs: holds report.html"),
    (lambda: deepres.train("digits", "run/state", progress=False), "output run/state: belongs to the run"),
    (lambda: deepres.analyze("run", kinds=["lesion"], output="run", progress=False), "run: exists already, as a run"),
    (lambda: deepres.analyze("run", "photos", output="photos/x", progress=False), "photos/x: lies in"),
    (lambda: deepres.analyze("run", output="theirs", progress=False), "theirs/report.html: is there already, and is"),
    (lambda: deepres.analyze("run", output="run/state", progress=False), "run/state: belongs to the run"),
]


@pytest.mark.medium
@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(("call", "said"), IN_PYTHON)
def test_from_python_too(call: Callable[[], object], said: str, home: Path) -> None:
    before = _files(home)
    with pytest.raises(InputError, match=said):
        call()
    assert _files(home) == before


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_what_any_task_wrote_is_written_again(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, pictures_of = str(run_of(task)), str(pictures() / "photos")
    numbers = ["--set", "targets=numbers", "--set", "columns=path:path,label:age,size"] if task == "regression" else []
    for words in (
        ["eval", folder, "--report", "e.html", "--worst", "e.csv", "--predictions", "e.npz"],
        ["predict", folder, pictures_of, "--csv", "p.csv"],
        ["data", "split", str(pictures() / TASKS[task][0]), "--output", "s.csv", *numbers],
    ):
        given = [str(tmp_path / word) if word[1:2] == "." else word for word in words]
        for _ in range(1 if words[0] == "data" and task != "detection" else 2):  # other columns: whose table is it?
            assert run([*given, *(["--device", "cpu"] if words[0] != "data" else [])]) == 0, capsys.readouterr().err


def _files(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


REFUSED = [
    ("data split t.csv --output t.csv", "is what is read"),
    ("data split t.csv --output t.csv --overwrite", "is what is read"),
    ("data split t.csv --output link.csv", "is what is read"),
    ("data split t.csv --output hard.csv --overwrite", "is what is read"),
    ("data split t.csv --output into/split.csv --overwrite", "belongs to the run"),
    ("eval run --report into/model.safetensors --overwrite", "belongs to the run"),
    ("eval into --report link-to-split.html --overwrite", "belongs to the run"),
    ("data split ./photos/../t.csv --output photos/../t.csv", "is what is read"),
    ("data split t.csv --output photos/cat/0.png --overwrite", "is one of the images"),
    ("data split photos --output photos/cat/0.png --overwrite", "a file of what is read"),
    ("data split photos --output notes.csv", "is not a split that deepres wrote; .* --overwrite"),
    ("data split photos --output run/model.safetensors --overwrite", "belongs to the run"),
    ("data split photos --output run/split.csv", "belongs to the run"),
    ("data split photos --output nowhere/split.csv", "there is no folder nowhere"),
    ("data split photos --output photos", "a folder; wanted the name of a file"),
    ("data split photos --output /dev/full", "no regular file"),
    ("data split photos --output full.csv", "no regular file"),
    ("data split photos --output ~nobody/s.csv", "the shell has left the ~ as it is"),
    ("predict run photos --csv a/" + "x" * 300, "no name of a file"),
    ("data pack photos ~/packed", "the shell has left the ~ as it is"),
    ("data pack photos a/" + "x" * 300, "no name of a file"),
    ("data pack photos t.csv/packed", "cannot be used"),
    ("data pack photos photos/packed", "lies in .*photos, which is read"),
    ("data pack photos photos/cat/packed", "lies in .*photos, which is read"),
    ("predict run photos --cam photos/maps", "lies in .*photos, which is read"),
    ("predict run photos photos/cat/0.png --cam photos/cat", "lies in .*photos, which is read"),
    ("train --resume run --lr 3", "train.schedule: the run has trained 2 steps, and none is left .*--epochs"),
    ("train --resume run --set train.clip_norm=1", "train.clip_norm: the run has trained 2 steps, and none is left"),
    ("train --resume run --epochs 1 --set train.schedule.end=0.5", "train.schedule: the run has trained"),
    ("data pack photos dangling", "exists already"),
    ("predict run photos --every nan", "nan: wanted a number"),
    ("bench resnet20_cifar --seconds nan", "nan: wanted a number"),
    ("data show photos --output run/report.html", "belongs to the run"),
    ("data show photos --output photos/dog/1.png --overwrite", "a file of what is read"),
    ("data show photos --output page.html", "is not a page of deepres"),
    ("data pack photos run/analysis/packed", ""),
    ("data pack photos run/state/packed", "belongs to the run"),
    ("eval run --report run/model.safetensors", "belongs to the run"),
    ("eval run --report run/model.safetensors --overwrite", "belongs to the run"),
    ("eval run --report run/state/page.html", "(belongs to the run|there is no folder)"),
    ("eval run --worst run/history.jsonl --overwrite", "belongs to the run"),
    ("eval run --predictions run/digests.npz", "belongs to the run"),
    ("eval run --report other-run.html", "is not a page of deepres"),
    ("eval run --report /dev/full", "no regular file"),
    ("eval run --report pipe.html", "no regular file"),
    ("eval run --report same --worst same", "--report is written there too"),
    ("eval run --report same --worst ./photos/../same", "--report is written there too"),
    ("eval run photos --worst photos/cat/1.png --overwrite", "a file of what is read"),
    ("eval run t.csv --force --worst t.csv --overwrite", "is what is read"),
    ("eval weights/model.safetensors photos --worst weights/model.safetensors --overwrite", "is what is read"),
    ("eval weights photos --worst weights/config.json --overwrite", "belongs to the run or the weights"),
    ("compare run weights --report run/report.html", "belongs to the run"),
    ("compare run weights --report t.csv", "is not a page of deepres"),
    ("predict run photos/cat/0.png --csv photos/cat/0.png --overwrite", "is what is read"),
    ("predict run photos --csv photos/cat/0.png --overwrite", "is what is read"),
    ("predict run photos --csv t.csv", "is not a table of answers"),
    ("predict run photos --csv /dev/null", "no regular file"),
    ("predict run photos --csv run/worst.csv --overwrite", "belongs to the run"),
    ("predict run photos --cam run", "exists already, as a run, weights or a packed folder"),
    ("predict run photos --cam run/samples", "belongs to the run"),
    ("describe resnet20_cifar --svg run/model.safetensors", "belongs to the run"),
    ("describe resnet20_cifar --svg t.csv", "is not a drawing of deepres"),
    ("describe resnet20_cifar --svg /dev/full", "no regular file"),
    ("weights convert run weights", "is there already"),
    ("weights convert run run/state/new", "belongs to the run"),
    ("analyze lesion run --output run", "exists already, as a run, weights or a packed folder"),
    ("analyze lesion run photos --output photos/new", "lies in .*photos, which is read"),
    ("analyze lesion run --output weights", "exists already, as a run, weights or a packed folder"),
    ("analyze lesion run --output theirs", "is not a page of deepres"),
    ("train photos --output photos", "lies in .*photos, which is read"),
    ("train photos --output photos/cat/run", "lies in .*photos, which is read"),
    ("train photos --output weights", "exists already, as a run, weights or a packed folder"),
    ("train photos --output run/state", "belongs to the run"),
    ("train photos --output run/fold-1", "belongs to the run"),
    ("train photos --output theirs", "holds report.html, which a run would replace"),
    ("reproduce resnet/table6 --output run", "exists already, as a run, weights or a packed folder"),
]


@pytest.fixture
def others(home: Path) -> Iterator[None]:
    """Files of somebody else, a pipe, links."""
    (home / "notes.csv").write_text("name,price\nx,1\n")
    (home / "page.html").write_text("<!doctype html><p>mine")
    (home / "other-run.html").write_text("<!doctype html><p>mine")
    (home / "theirs").mkdir()
    (home / "theirs" / "report.html").write_text("<!doctype html><p>mine")
    (home / "link.csv").symlink_to("t.csv")
    (home / "full.csv").symlink_to("/dev/full")
    os.link(home / "t.csv", home / "hard.csv")
    (home / "into").symlink_to("run")
    (home / "dangling").symlink_to("nowhere")
    (home / "link-to-split.html").symlink_to("run/split.csv")
    os.mkfifo(home / "pipe.html")
    yield
    links = ("link.csv", "full.csv", "hard.csv", "into", "dangling", "link-to-split.html")
    for name in ("notes.csv", "page.html", "other-run.html", "pipe.html", *links):
        (home / name).unlink()
    shutil.rmtree(home / "theirs")


@pytest.mark.medium
@pytest.mark.usefixtures("others")
def test_what_must_not_be_written_is_refused_and_everything_stays(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    before = _files(home)
    wrong = []
    for words, said in REFUSED:
        if not said:
            continue
        code = run(words.split())
        lines = capsys.readouterr().err.splitlines()
        if code != 2 or not lines or not lines[-1].startswith("deepres: ") or not re.search(said, lines[-1]):
            wrong.append((words, code, lines[-1:]))
        if _files(home) != before:
            wrong.append((words, "files", sorted(set(_files(home).items()) ^ set(before.items()))))
            break
    assert not wrong, "\n".join(map(str, wrong))
    assert Path("/dev/full").is_char_device()


@pytest.mark.slow
def test_what_deepres_wrote_is_written_again_and_others_when_asked(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    verbs = {
        "list.csv": f"data split photos --output {out}/list.csv",
        "sheet.html": f"data show photos --output {out}/sheet.html",
        "sheet.png": f"data show photos --output {out}/sheet.png",
        "net.svg": f"describe resnet20_cifar --svg {out}/net.svg",
        "page.html": f"eval run --device cpu --report {out}/page.html --worst {out}/worst.csv --predictions {out}/p.npz",
        "answers.csv": f"predict run photos --device cpu --csv {out}/answers.csv --cam {out}/maps",
    }
    for name, words in verbs.items():
        assert run(words.split()) == 0, words
        assert run(words.split()) == 0, f"again: {words}"
        (out / name).write_text("somebody's")
        assert run(words.split()) == 2, f"somebody's: {words}"
        assert (out / name).read_text() == "somebody's"
        assert run([*words.split(), "--overwrite"]) == 0, words
        assert (out / name).stat().st_size > 20, words
        (out / name).write_bytes(b"")
        assert run(words.split()) == 0, f"empty: {words}"


@pytest.mark.medium
def test_the_names_that_a_run_keeps_are_known(home: Path) -> None:
    assert {path.name for path in (home / "run").iterdir()} - OWN == set()


@pytest.mark.medium
def test_a_new_file_in_a_run_folder_is_no_harm(home: Path) -> None:
    assert run(["eval", "run", "--device", "cpu", "--report", "run/mine.html"]) == 0
    assert (home / "run" / "mine.html").is_file()
    (home / "run" / "mine.html").unlink()


@pytest.mark.parametrize("kind", ["device", "link to a device", "pipe", "folder", "a loop"])
def test_only_a_regular_file_is_ever_replaced(kind: str, tmp_path: Path) -> None:
    place = {"device": Path("/dev/null")}.get(kind, tmp_path / "x")
    if kind == "link to a device":
        place.symlink_to("/dev/full")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "a loop":
        place.symlink_to("x")
    with pytest.raises(InputError, match=r"no regular file|cannot be used"):
        write_atomic(place, "text")
    assert os.path.lexists(place)
    assert not [left for left in tmp_path.iterdir() if left.name != "x"]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "link").symlink_to("deeper/file")
    for text in ("new", "newer"):
        write_atomic(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "deeper" / "file").read_text() == text


class Gone(io.StringIO):
    """A stdout whose reader went away after the first line."""

    def write(self, text: str) -> int:
        if self.getvalue():
            raise BrokenPipeError
        return super().write(text)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("words", "outputs"),
    [
        ("predict run photos --device cpu --precision float32 --csv {}/p.csv", ["p.csv"]),
        ("predict run photos --device cpu --precision float32 --json --cam {}", 12),
        ("describe resnet20_cifar --json --svg {}/n.svg", ["n.svg"]),
        ("eval run --device cpu --json --report {0}/e.html --worst {0}/e.csv", ["e.csv", "e.html"]),
        ("data split photos --output {}/s.csv", ["s.csv"]),
    ],
)
def test_files_are_written_though_nobody_reads_stdout(
    words: str, outputs: list[str] | int, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", Gone())
    code = run(words.format(tmp_path).split())
    monkeypatch.undo()
    assert code == 0
    made = sorted(path.name for path in tmp_path.iterdir())
    assert (len(made) if isinstance(outputs, int) else made) == outputs
    if "--csv" in words:
        assert len((tmp_path / "p.csv").read_text().splitlines()) == 1 + 12


@pytest.mark.medium
def test_where_nothing_is_written_work_ends_with_its_reader(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Predictor.answers
    given = []

    def counted(*words: Any, **named: Any) -> Iterator[object]:
        for answer in answers(*words, **named):
            given.append(answer)
            yield answer

    monkeypatch.setattr("sys.stdout", Gone())
    monkeypatch.setattr(Predictor, "answers", counted)
    code = run(["predict", "run", "photos", "--device", "cpu", "--precision", "float32"])
    monkeypatch.undo()
    assert code == 0
    assert len(given) == 2
