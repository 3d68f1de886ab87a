"""`python traced.py VERB …` is `deepres VERB …`, and appends each loss that is differentiated to $TRACE/losses-RANK.txt.

It knows no name of the package but `python -m deepres`, so that it traces the code of any time.
"""

import os
import runpy
from pathlib import Path
from typing import Any

import torch

backward = torch.Tensor.backward


def traced(loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """`loss.backward()`, the loss written down first, every bit of it."""
    path = Path(os.environ["TRACE"]) / f"losses-{os.environ.get('RANK', '0')}.txt"
    with path.open("a") as file:
        file.write(f"{loss.detach().double().item()!r}\n")
    backward(loss, *args, **kwargs)


if __name__ == "__main__":
    torch.Tensor.backward = traced  # type: ignore[method-assign,assignment]
    runpy.run_module("deepres", run_name="__main__", alter_sys=True)
