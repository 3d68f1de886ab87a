"""What is told of runs and studies before anything is trained needs no torch, which takes seconds to load."""

import subprocess
import sys
from pathlib import Path

import pytest

from deepres.studies.speed import MachineSpeed, rate_file, speed

LOADED = """
import sys
{words}
loaded = [name for name in ("torch", "torchvision", "matplotlib", "sklearn") if name in sys.modules]
assert not loaded, loaded
"""


def loads_none(words: str) -> str:
    ended = subprocess.run([sys.executable, "-c", LOADED.format(words=words)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.medium
@pytest.mark.parametrize(
    "modules",
    ["train.config, deepres.data.sources.config, deepres.recipes.by_name", "studies.plan, deepres.studies.overview"],
)
def test_configurations_recipes_and_plans_load_no_torch(modules: str) -> None:
    loads_none(f"import deepres.{modules}")


@pytest.mark.medium
def test_the_help_of_no_verb_loads_torch() -> None:
    told = loads_none(
        "from deepres.cli.main import deepres, run\n"
        "verbs = deepres.list_commands(None)\n"
        "for verb in verbs: run([verb, '--help'])\n"
        "print(len(verbs), 'verbs')"
    )
    assert int(told.splitlines()[-1].split()[0]) >= 15


@pytest.mark.slow  # over a thousand runs are planned
def test_the_list_of_studies_loads_no_torch_once_the_machine_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path))
    rate_file().parent.mkdir()
    MachineSpeed(hardware="this machine", network="resnet20_cifar", macs_per_second=1e12).save(rate_file())
    assert "resnet/table6" in loads_none("from deepres.cli.main import run; run(['reproduce', '--list'])")


@pytest.mark.medium
def test_the_rate_is_measured_once_and_again_where_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path))
    rates = iter([10.0, 8.0, 12.0])
    monkeypatch.setattr("deepres.runs.autotune.step_rate", lambda *given: next(rates))
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 9.0, 9.0))
    first = speed("cpu")
    assert speed("cpu") == first
    assert speed("cpu", again=True) == first  # the best that was seen
    assert speed("cpu", again=True).macs_per_second == pytest.approx(1.2 * first.macs_per_second)
    assert [path.name for path in (tmp_path / "speed").iterdir()] == [rate_file("cpu").name]
    assert rate_file("cpu") != rate_file(None)


@pytest.mark.medium
def test_what_was_measured_beside_other_work_says_so_and_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path))
    rates, loads = iter([3.0, 10.0]), iter([1000.0, 2000.0, 0.0, 1000.0])
    monkeypatch.setattr("deepres.runs.autotune.step_rate", lambda *given: next(rates))
    monkeypatch.setattr("os.getloadavg", lambda: (next(loads), 0.0, 0.0))
    first = speed("cpu")
    assert first.note == "; measured at a load of 1000.0, so that times are too long"
    assert speed("cpu") == first  # others are in its way still
    last = speed("cpu")
    assert (last.note, last.macs_per_second) == ("", pytest.approx(first.macs_per_second * 10 / 3))
    assert speed("cpu") == last
