"""The 1,797 handwritten digits that come with the package: `digits.npz`, bitwise scikit-learn's `load_digits`.

The test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak 1998, UCI Machine Learning
Repository, https://doi.org/10.24432/C50P49), under the licence CC BY 4.0; here its 17 levels are kept as bytes.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FILE = Path(__file__).with_name("digits.npz")


@lru_cache(maxsize=1)
def load_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Levels 0 to 16 as float64 (1797, 64), and the digits that they show (1797,); not to be written to."""
    with np.load(_FILE, allow_pickle=False) as found:
        levels, labels = found["levels"].reshape(-1, 64).astype(np.float64), found["labels"].astype(np.int64)
    for array in (levels, labels):
        array.flags.writeable = False
    return levels, labels
