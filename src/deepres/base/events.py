"""What work says of itself while it goes on: what is being done and how far it is; details for those who ask."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

OnProgress = Callable[[int, int], None]
"""Called with how much of how much is done."""


@dataclass(frozen=True)
class Doing:
    """`what` is being done now: `done` of `total` of it, 0 of 0 where it cannot be counted."""

    what: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Detail:
    """A line on how something is done, not what: shown with --verbose, and kept in the run's log."""

    text: str


UNSAID = "called from Python"
"""What is written down as the command where no command line was given."""

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets for each process of a run."""


def speaks(environment: Mapping[str, str]) -> bool:
    """Whether this process speaks: alone, or the first that torchrun started; so does one told only half of that."""
    given = [environment.get(name, "") for name in LAUNCHED]
    rank, size = given[:2]
    whole = all(given) and rank.isdecimal() and size.isdecimal() and int(rank) < int(size)
    return not whole or int(rank) == 0


def progress_of(on_event: Callable[[Any], None], what: str) -> OnProgress:
    """`on_progress(done, total)` that tells of `what`."""
    return lambda done, total: on_event(Doing(what, done, total))
