import importlib
import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

PROGRAMS = {
    "inference": "--model resnet20_cifar --size 32 --rounds 1 --batch-sizes 2 --threads 1 --tiny",
    "doubles": "digits --rounds 1",
    "detection": "--tiny --side 64 --proposals 20 --rounds 1 --threads 1",
    "evaluation": "resnet56_cifar --sizes 2 --rounds 1",
    "gpu": "cifar --device cpu --tiny --rounds 1 --steps 1",
    "gpu_together": "--device cpu --tiny --seconds 0.1",
    "serve": "--model resnet20_cifar --clients 1 2 --seconds 0.5 --rounds 1",
    "start_up": "--rounds 1 --ours",
    "winograd": "--tiny --rounds 1 --threads 1",
    "training_step": "cifar --tiny --rounds 1 --steps 1 --warm-up 1 --images 300 --workers --threads 1",
}


@pytest.mark.long
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.filterwarnings("ignore")  # those of peers
def test_each_program_writes_its_evidence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "facts.json"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [f"bench/{name}.py", *PROGRAMS[name].split(), "--output", str(output)])
    threads = torch.get_num_threads()
    try:
        with suppress(SystemExit):  # start_up's where a busy machine is above its bar
            importlib.import_module(name).main()
    finally:
        torch.set_num_threads(threads)
    facts = json.loads(output.read_text())
    assert facts["rows"]
    assert {"claim", "command", "hardware", "versions", "n"} <= facts.keys()


@pytest.mark.slow
def test_a_day_on_a_gpu_says_what_the_studies_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"contender": "captured, compiled", "networks": 1, "steps_per_second": 400},
        {"contender": "in streams", "networks": 8, "steps_per_second": 2000},
        {"contender": "processes, multi-process service", "networks": 8, "steps_per_second": 800},
    ]
    (tmp_path / "gpu_together.json").write_text(json.dumps({"rows": rows}))
    words = ["bench/gpu_day.py", "--device", "cpu", "--dry-run", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    importlib.import_module("gpu_day").main()
    told = capsys.readouterr().out
    assert "resnet/table6" in told
    assert "at 800 steps of ResNet-20 a second" in told
