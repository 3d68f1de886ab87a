"""Tasks of which held-out images decide nothing in the end: no temperature, threshold or interval is found on them."""

from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from deepres.tasks.result import Evaluation


class NothingSettled:
    """The part of `Task` that is about settling."""

    settles: ClassVar[bool] = False

    def settled(self, held_out: "Evaluation | None") -> tuple[Self, str]:
        return self, ""

    @property
    def settled_on(self) -> str | None:
        return None

    def settled_text(self) -> str | None:
        return None

    def measured_as(self, *, own_protocol: bool, found_here: bool) -> Self:
        return self

    def unsettled(self) -> Self:
        return self
