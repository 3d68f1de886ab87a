"""The exceptions that a person can meet, and the nearest names offered for a misspelt one.

A message is one line and says where, what was given, what was wanted and what to do:
`stage2.unit1: shortcut gives (256, 28, 28), branch gives (128, 28, 28); use a projection shortcut`.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

from deepres.base.wording import shown, some


class DeepresError(Exception):
    """Anything that deepres refuses or gives up; `exit_code` is what the command line returns.

    `message` is one line; where it speaks of many things at once, `table` has a line for each of the first of them.
    Names from outside are made safe to show. `shared` says that all processes of a run refuse the same, so that one
    of them has to say it.
    """

    exit_code = 1
    shared = False

    def __init__(self, message: str, table: Iterable[str] = ()) -> None:
        self.message = shown(message, "\n")
        self.table = tuple(map(shown, table))
        super().__init__(self.message)

    def __str__(self) -> str:
        return "\n".join([self.message, *self.table])


Refusal = TypeVar("Refusal", bound=DeepresError)


def shared(refusal: Refusal) -> Refusal:
    """The refusal, marked as one that all processes of a run arrive at."""
    refusal.shared = True
    return refusal


class InputError(DeepresError, ValueError):
    """What the user gave is wrong: nothing was changed, and the message names the remedy."""

    exit_code = 2


class RunError(DeepresError, RuntimeError):
    """A run that began rightly could not go on (a loader process that died, a proof that failed)."""


MOST = 30
"""Names that are told where none is near the one that was typed."""


def unknown(kind: str, name: str, known: Iterable[str], prefix: str = "", see: str = "") -> InputError:
    """`model 'resnet5': unknown; did you mean resnet50, resnet152?`, or the names that there are where none is near.

    `prefix` stands before `name` and before every name offered (`train.` in `train.epochs`); `see` is where all are
    listed, and is named in their place.
    """
    names = sorted(known)
    begun = sorted((other for other in names if name and other.startswith(name)), key=len)
    near = [*begun, *(other for other in get_close_matches(name, names, n=3, cutoff=0.6) if other not in begun)][:3]
    offered = some([prefix + other for other in near or names], MOST)
    there = f"see {see}" if see else f"known: {offered}"
    hint = f"did you mean {offered}?" if near else there if names else "leave it out"
    return InputError(f"{kind} '{prefix}{name}': unknown; {hint}")
