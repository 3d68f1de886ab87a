"""Where random numbers of the input path come from: a seed that says what for and where, never a generator's past."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from deepres.base.seeds import derive


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator that starts at `derive(seed, *names)`."""
    return torch.Generator().manual_seed(derive(seed, *names))


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Inside, torch's global CPU generator starts at `derive(seed, *names)`; outside, it is as it was.

    For library transforms, which know no other generator. Those of an accelerator are not touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, *names))
        yield
