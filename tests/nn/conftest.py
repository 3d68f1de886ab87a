"""Where kernels can be built they have to be right: only a machine that is not made for them lets their tests go."""

import platform
import shutil
import sys

import pytest

from deepres.nn.kernels import batch_norm, strided, winograd


@pytest.fixture
def built_kernels() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("g++") is None:
        pytest.skip("kernels want Linux on x86-64, and g++")
    for kernels in (winograd.KERNELS, strided.KERNELS, batch_norm.KERNELS):
        assert kernels.lacking() is None
