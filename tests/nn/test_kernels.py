import _ctypes
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from deepres.base.errors import InputError
from deepres.nn.kernels import batch_norm, strided, winograd
from deepres.nn.kernels.built import Built
from deepres.nn.kernels.step import lacks, lacks_norms, version

CPU = torch.device("cpu")
EVERY = [winograd.KERNELS, strided.KERNELS, batch_norm.KERNELS]
BROKEN = {
    "winograd": ("4.f * d[0] - 5.f * d[2]", "4.f * d[0] - 4.f * d[2]"),
    "strided": ("shape.line() + k", "shape.line() + k + 1"),
    "batch_norm": ("sum += double(blocks.rows_of(d))", "sum += double(blocks.deep)"),
}
needs_kernels = pytest.mark.usefixtures("built_kernels")
of_each = pytest.mark.parametrize("kernels", EVERY, ids=lambda kernels: kernels.source.stem)


def anew(kernels: Built, source: Path | None = None) -> Built:
    return Built(kernels.name, source or kernels.source, kernels.functions, kernels.require_right)


def test_why_a_step_is_not_taken_by_them() -> None:
    for asked, layer, other in (
        (lacks, nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 1)),
        (lacks_norms, nn.BatchNorm2d(8), nn.BatchNorm2d(12)),
    ):
        assert asked(layer, torch.device("cuda"), torch.float32) == "only in float32 on a CPU"
        assert asked(layer, CPU, torch.bfloat16) == "only in float32 on a CPU"
        assert asked(other, CPU, torch.float32) == "no layer that fits"
    assert lacks(nn.Conv2d(3, 64, 7, stride=2), CPU, torch.bfloat16) == "only in float32 on a CPU"
    assert lacks(nn.Conv2d(3, 64, 1, stride=2), CPU, torch.float32) == "no layer that fits"


def test_the_version_is_of_what_is_used() -> None:
    assert version() == f"{winograd.KERNELS.version()}, {strided.KERNELS.version()}"
    assert version(norms=True) == f"{version()}, {batch_norm.KERNELS.version()}"
    assert version(convolutions=False, norms=True) == batch_norm.KERNELS.version()
    assert version(convolutions=False) == ""


@of_each
def test_without_a_compiler_that_works_there_is_a_reason(
    kernels: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    assert anew(kernels).lacking() is not None
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert kernels.name in str(anew(kernels).lacking())


@pytest.mark.medium
@needs_kernels
def test_a_cache_that_cannot_be_written_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "file"))
    assert "cannot be built here" in str(anew(batch_norm.KERNELS).lacking())


@pytest.mark.medium
@needs_kernels
@of_each
def test_kernels_that_compute_something_else_are_refused(
    kernels: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right, wrong = BROKEN[kernels.source.stem]
    source = tmp_path / kernels.source.name
    shutil.copy(kernels.source.with_name("vectors.h"), tmp_path)
    assert right in kernels.source.read_text()
    source.write_text(kernels.source.read_text().replace(right, wrong))
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="as built here do not compute"):
        assert anew(kernels, source).library


@pytest.mark.medium
@needs_kernels
@pytest.mark.parametrize("damage", ["cut", "of something else"])
def test_kernels_that_are_damaged_in_the_cache_are_built_anew(
    damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "first"))
    assert anew(batch_norm.KERNELS).lacking() is None
    (whole,) = (tmp_path / "first/kernels").iterdir()
    damaged = whole.read_bytes()[:1000] if damage == "cut" else Path(_ctypes.__file__).read_bytes()
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "second"))
    kept = tmp_path / "second/kernels" / whole.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(damaged)
    assert anew(batch_norm.KERNELS).library.parts_of is not None
    assert kept.read_bytes() != damaged
