"""A plain answer loads nothing that it does not need: asked in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from small_run import run_folder

NEEDLESS = {
    "torchvision",
    "torch._dynamo",
    "sympy",
    "matplotlib",
    "sklearn",
    "scipy",
    "tensorboard",
    "jinja2",
    "pandas",
    "onnx",
    "openvino",
    "onnxruntime",
}
ASKED = f"""
import sys
from deepres.cli.main import run
code = run(sys.argv[1:])
print(code, sorted({NEEDLESS!r} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.long
@pytest.mark.parametrize("images", [1, 20])
def test_a_plain_answer_loads_nothing_needless(tmp_path: Path, images: int) -> None:
    run = run_folder(tmp_path / "run")
    for number in range(images):
        Image.new("RGB", (20, 20), (10 * number, 0, 0)).save(tmp_path / f"{number}.png")
    words = [sys.executable, "-c", ASKED, "predict", str(run), str(tmp_path / "0.png"), "--device", "cpu"]
    words += [str(tmp_path / f"{number}.png") for number in range(1, images)]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert told.stderr.splitlines()[-1] == "0 []"
    assert len(told.stdout.splitlines()) >= images
