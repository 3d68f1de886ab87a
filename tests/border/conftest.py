"""What the tests of this folder share; sets that several of them make lie beside, in noise_sets.py."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Ten images of CIFAR's size, one a class."""
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (10, 32, 32, 3), dtype=np.uint8), np.arange(10)
    np.savez(tmp_path / "images.npz", x=x, y=y, classes=np.array(list("abcdefghij")))
    return tmp_path / "images.npz"
