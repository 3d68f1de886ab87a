"""Whoever adds a function that reads what comes from outside, or writes a file, adds it to the drills."""

import ast
import io
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz
import inventory
import writers
from inventory import Function

from deepres.cli.main import run

NOT_FUZZED = {
    Function("runs/finish.py", "_stages"): "of a run in stages, bound by its manifest: tests/runs/test_stages.py",
    Function("cli/main.py", "_age"): "the system's own",
    Function("nn/environment.py", "_processor"): "the system's own",
    Function("nn/environment.py", "_driver"): "the system's own",
    Function("data/sources/digits.py", "load_digits"): "of the package",
    Function("studies/speed.py", "_machine"): "the system's own",
    Function("base/priority.py", "_lowered"): "the system's own",
    Function("base/priority.py", "_shares_by_session"): "the system's own",
    Function("base/priority.py", "free_processors"): "the system's own",
    Function("base/heap.py", "preloaded_allocator"): "the system's own",
    Function("base/files.py", "open_to_append"): "no file is read",
    Function("base/locks.py", "is_locked"): "a lock, in which nothing stands",
    Function("serve/inference_request.py", "read_request"): "a request's body: tests/serve/test_inference_protocol.py",
    Function("serve/page.py", "_page"): "of the package",
    Function("cli/streams.py", "open_closed"): "no file is read: the null device",
    Function("cli/streams.py", "leave_unwritten"): "no file is read: the null device",
    Function("runs/outputs.py", "OwnKind.is_of"): "first bytes, compared and not parsed",
    Function("runs/bench.py", "_read"): "bytes, timed and not parsed",
    Function("runs/lock.py", "alone"): "a folder and its lock, in which nothing stands",
    Function("nn/weights/hdf5.py", "_opened"): "in a process of its own: the reader HDF5",
    Function("nn/weights/hdf5.py", "_stream"): "in a process of its own: the reader Keras archive",
    Function("nn/weights/hub.py", "_from_hub.fetch"): "where huggingface_hub has just put it; parsed by said_by",
    Function("nn/weights/files.py", "_in_order"): "what was made a moment ago",
    Function("studies/report.py", "write_report"): "what was made a moment ago",
    Function("nn/weights/variants.py", "_libraries"): "of the package",
    Function("studies/study.py", "papers"): "of the package",
    Function("recipes/expected.py", "figures"): "of the package",
    Function("nn/weights/trainings.py", "trainings"): "of the package",
    Function("nn/weights/card.py", "_is_own"): "text, told by its digest and not parsed",
    Function("export/browser.py", "_in"): "bytes, told by their digest and not parsed",
    Function("export/browser.py", "write"): "of the package",
    Function("export/browser.py", "session"): "what was made a moment ago",
    Function("export/export.py", "_page.save"): "what was made a moment ago",
    Function("export/timm_folder.py", "write"): "what was made a moment ago",
    Function("export/browser.py", "_fetch"): "where npm has just put it; told by its digest",
    Function("nn/kernels/built.py", "Built.version"): "of the package",
    Function("nn/kernels/built.py", "Built.library"): "what was made a moment ago",
}
"""Function -> why no damaged file is tried on it."""

NOT_DRILLED = {
    Function("runs/stages.py", "_begin"): "of a run in stages: tests/runs/test_stages.py",
    Function("export/browser.py", "_fetch"): "a cache that npm fills",
    Function("export/browser.py", "session"): "a copy that is gone a moment later",
    Function("base/priority.py", "_lowered"): "the system's own",
    Function("data/sources/box_archives.py", "_write"): "a copy that is gone a moment later",
    Function("cli/queue.py", "_pause"): "of a queue: tests/studies/test_queue.py",
    Function("studies/evidence.py", "write_evidence"): "of a study: tests/studies/test_queue.py",
    Function("export/browser.py", "write"): "needs a runtime that is not here: tests/export/test_browser.py",
    Function("export/timm_folder.py", "write"): "of timm's networks: tests/export/test_timm_folder.py",
    Function("cli/net.py", "_kept"): "what nobody foresaw: tests/faults/test_readers.py",
    Function("train/compile.py", "_remember"): "a cache, of which none is missed",
    Function("nn/kernels/built.py", "Built.library"): "a cache, of which none is missed: tests/nn/test_kernels.py",
    Function("data/box_writing.py", "write_boxes"): "of a detector's answers: tests/data/test_box_writing.py",
    Function("report/comparison.py", "write_report"): "of runs of other tasks: tests/tasks",
    Function("studies/executor.py", "carry_out"): "trains a study: tests/studies",
    Function("studies/report.py", "write_report"): "of a study: tests/studies",
    Function("studies/results.py", "write_page"): "of all studies: tests/studies/test_results.py",
}
"""Function -> why no full disk is tried on it."""


@pytest.mark.long
def test_every_function_that_opens_or_parses_a_file_is_fuzzed(tmp_path: Path) -> None:
    ran = set[Function]()
    for number, reader in enumerate(fuzz.readers()):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = reader.write_valid(folder)
        with inventory.ran() as meanwhile:
            reader.read(file)
        ran |= meanwhile
    missing = inventory.readers() - ran - NOT_FUZZED.keys()
    assert not missing, "add a Reader to tests/faults/fuzz.py, or its reason to NOT_FUZZED"


class Gone(io.StringIO):
    """A stdout that nobody reads any more."""

    def write(self, text: str) -> int:
        if text:
            raise BrokenPipeError
        return 0


@pytest.mark.long
def test_every_function_that_writes_is_drilled_and_files_are_written_though_nobody_reads_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ran = writers.home_in(tmp_path / "home"), set[Function]()
    for writer in writers.writers():
        monkeypatch.setattr(sys, "stdout", Gone())
        with inventory.ran() as meanwhile:
            assert run(writer.words(home)) == 0, writer.name
        monkeypatch.undo()
        ran |= meanwhile
        assert all((home / name).exists() for name in writer.outputs), writer.name
    missing = inventory.writers() - ran - NOT_DRILLED.keys()
    assert not missing, "add a Writer to tests/faults/writers.py, or its reason to NOT_DRILLED"


@pytest.mark.medium
def test_reasons_are_of_functions_that_are_there() -> None:
    assert NOT_FUZZED.keys() <= inventory.readers()
    assert NOT_DRILLED.keys() <= inventory.writers()


OWN = {
    *(
        "base/heap.py",
        "base/ram.py",
        "base/priority.py",
        "base/files.py",
        "cli/main.py",
        "cli/streams.py",
        "nn/environment.py",
        "studies/speed.py",
    ),
    *(
        "nn/weights/variants.py",
        "report/html.py",
        "export/browser.py",
        "serve/page.py",
        "studies/study.py",
        "recipes/expected.py",
        "nn/weights/trainings.py",
    ),  # of the package
    *("base/manifest.py", "nn/weights/hub.py"),  # written a moment ago
}
"""Files that open what is the system's, the package's or their own."""


@pytest.mark.medium
def test_what_lies_on_a_disk_is_opened_as_a_regular_file_or_not_at_all() -> None:
    """A pipe would hang, a device never end: `base/files.py` asks first (`open_regular`, `read_bytes`, `read_text`)."""
    for path in sorted(inventory.PACKAGE.rglob("*.py")):
        name = path.relative_to(inventory.PACKAGE).as_posix()
        for where, call in inventory.calls_in(path):
            words = {each.value for each in call.args if isinstance(each, ast.Constant)}
            of = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            opens = of == "open" and words & {"rb", "a", "ab", "r+b"}
            assert name in OWN or not (opens or of in ("read_bytes", "read_text")), f"{name}: {where}"


@pytest.mark.parametrize(
    ("source", "reads", "writes"),
    [
        ("def f(p): return open(p).read()", True, False),
        ("def f(p): return p.open('rb').read()", True, False),
        ("def f(p): return p.read_bytes()", True, False),
        ("def f(p):\n def g(): return json_object(p, 'x')\n return g()", True, False),
        ("def f(p): return [row for row in csv.reader(p)]", True, False),
        ("def f(p): return np.load(p)", True, False),
        ("def f(p): return zipfile.ZipFile(p)", True, False),
        ("def f(p): p.write_text('x')", False, True),
        ("def f(p): open(p, mode='a')", False, True),
        ("def f(p): p.open('w')", False, True),
        ("def f(p): np.savez(p, x=1)", False, True),
        ("def f(p): files.write_atomic(p, '')", False, True),
        ("def f(p): return p.exists()", False, False),
        ("def f(p): return p.openness()", False, False),
    ],
)
def test_what_a_reader_and_a_writer_are(
    source: str, reads: bool, writes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.py").write_text(source)
    monkeypatch.setattr(inventory, "PACKAGE", tmp_path)
    assert bool(inventory.readers()) == reads
    assert bool(inventory.writers()) == writes
