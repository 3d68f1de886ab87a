"""Readers of exported files: ONNX, torch programs, OpenVINO's folders, and what lies beside them."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from fuzz import Reader

from deepres.export import bundle, openvino_folder, torch_program
from deepres.export.export import origin_of
from deepres.export.onnx_file import read, session

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from small_run import SMALL, noise, small_onnx

PARITY = (
    '{"images": 64, "max_difference": 0.1, "mean_difference": 0.1, "agreement": 1.0, "differing": [], "unread": [], '
    '"runtime": "x", "versions": {"torch": "1"}, "hardware": "y", "run": null}'
)


def readers_of_exports() -> list[Reader]:
    """Each is asked about pictures, too, where it can be read."""
    return [
        Reader("ONNX", lambda folder: small_onnx(folder / "model.onnx"), lambda file: session(file)(noise(2)), 4),
        Reader("torch program", _program, lambda file: torch_program.read(file)(noise(2)), 20),
        Reader("OpenVINO's graph", _openvino, lambda file: openvino_folder.read(file)(noise(2)), 8),
        Reader("parity.json", _written("parity.json", PARITY), origin_of),
        Reader("licence of weights", _written("config.json", '{"license": "mit"}'), lambda file: bundle._license(file)),
    ]


def _written(name: str, text: str) -> Any:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return write


class _Small(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float().mean((2, 3)).softmax(1)


@cache
def _exported() -> Any:
    example = torch.zeros(2, *SMALL.shape, dtype=torch.uint8)
    found = torch.export.export(_Small(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    return torch_program.bare(found)


def _program(folder: Path) -> Path:
    torch_program.write(folder / "model.pt2", _exported(), SMALL)
    return folder / "model.pt2"


def _openvino(folder: Path) -> Path:
    model, _, _ = read(small_onnx(folder / "model.onnx"))
    return openvino_folder.write(folder, openvino_folder.converted(model), SMALL)
