"""From digits to a server that others ask: trained, served, asked by curl, page and protocol, exchanged, ended."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from deepres.cli.main import run
from processes import DEEPRES, Popen

CURL = shutil.which("curl")
TRAIN = ["train", "digits", "--model", "resnet20_cifar", "--device", "cpu", "--batch-size", "64"]
TRAIN += ["--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16", "--set", "train.precision=float32"]
TRAIN += ["--set", "train.iterations=20", "--set", "train.epochs=none"]

pytestmark = pytest.mark.slow


class Server(NamedTuple):
    process: "subprocess.Popen[str]"
    url: str
    log: Path

    def curl(self, path: str, *words: str) -> bytes:
        """What `curl` prints."""
        if CURL is None:
            pytest.skip("no curl here")
        done = subprocess.run([CURL, "-sS", *words, f"{self.url}{path}"], capture_output=True, timeout=60, check=True)
        return done.stdout

    def asked(self, path: str, *words: str) -> Any:
        return json.loads(self.curl(path, *words))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`old` and `new`: two runs on digits, of other seeds."""
    home = tmp_path_factory.mktemp("home")
    for seed, name in enumerate(("old", "new")):
        assert run([*TRAIN, "--seed", str(seed), "--output", str(home / name)]) == 0
    return home


@pytest.fixture
def server(home: Path, tmp_path: Path) -> Iterator[Server]:
    """`deepres serve` of a copy of the old run, which takes up what changes."""
    shutil.copytree(home / "old", tmp_path / "digits")
    words = ["serve", str(tmp_path / "digits"), "--port", "0", "--device", "cpu", "--precision", "float32", "--reload"]
    with (tmp_path / "log").open("w") as log:
        process = Popen([*DEEPRES, *words], stdout=log, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        if found := re.search(r"ready at (http://\S+) in [\d.]+ s", line):
            url = found[1]
            break
    yield Server(process, url, tmp_path / "log")
    process.kill()
    process.wait()
    process.stderr.close()


def _predicted(folder: Path, files: list[Path], capsys: pytest.CaptureFixture[str]) -> list[Any]:
    capsys.readouterr()
    assert run(["predict", str(folder), *map(str, files), "--json", "--device", "cpu", "--precision", "float32"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _same(told: list[Any], wanted: list[Any]) -> None:
    assert len(told) == len(wanted)
    for one, other in zip(told, wanted, strict=True):
        assert [guess["name"] for guess in one["guesses"]] == [guess["name"] for guess in other["guesses"]]
        np.testing.assert_allclose(
            [guess["probability"] for guess in one["guesses"]],
            [guess["probability"] for guess in other["guesses"]],
            atol=1e-5,
        )


def test_digits_are_trained_served_asked_exchanged_and_ended(
    server: Server, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted((home / "old" / "samples").iterdir())[:5]
    wanted = _predicted(home / "old", files, capsys)
    alone = server.asked("/v1/predict", "--data-binary", f"@{files[0]}")
    _same(alone["answers"], wanted[:1])
    assert alone["answers"][0]["guesses"][0]["probability"] == pytest.approx(
        wanted[0]["guesses"][0]["probability"], abs=1e-6
    )
    (tmp_path / "broken.png").write_bytes(b"no picture")
    several = [word for path in [*files, tmp_path / "broken.png"] for word in ("-F", f"file=@{path}")]
    answers = server.asked("/v1/models/digits/predict", *several)["answers"]
    _same(answers[:-1], wanted)
    assert "not an image that can be read" in answers[-1]["problem"]
    facts = server.asked("/v1/models")["models"][0]
    assert facts["measured"]["error"] == json.loads((home / "old" / "summary.json").read_text())["error"]
    (tmp_path / "map.png").write_bytes(server.curl("/v1/cam?class=3", "--data-binary", f"@{files[0]}"))
    with Image.open(tmp_path / "map.png") as image:
        assert image.format == "PNG"
    assert b"<!doctype html>" in server.curl("/")

    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in files])
    tensor = {"name": "image", "datatype": "UINT8", "shape": [*pixels.shape], "data": pixels.reshape(-1).tolist()}
    (tmp_path / "body.json").write_text(json.dumps({"inputs": [tensor]}))
    outputs = server.asked("/v2/models/digits/infer", "--data-binary", f"@{tmp_path / 'body.json'}")["outputs"]
    assert outputs[1]["data"] == [one["guesses"][0]["name"] for one in wanted]
    assert server.asked("/v2/health/ready") == {"ready": True}

    shutil.copytree(home / "new", tmp_path / "next")
    (tmp_path / "digits").rename(tmp_path / "before")
    (tmp_path / "next").rename(tmp_path / "digits")
    until = time.monotonic() + 60
    while (now := server.asked("/v1/models/digits")["sha256"]) == facts["sha256"] and time.monotonic() < until:
        time.sleep(0.2)
    assert now != facts["sha256"]
    _same(
        [server.asked("/v1/predict", "--data-binary", f"@{path}")["answers"][0] for path in files],
        _predicted(home / "new", files, capsys),
    )

    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert lines[-1]["event"] == "ended"
    assert {line["status"] for line in lines if line["event"] == "request"} == {200}
    assert [line["outcome"] for line in lines if line["event"] == "reload"] == ["done"]
