"""How large the numbers of a description may be: what no network has is refused before it is written out."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

MOST = 2**24
"""Channels, classes or pixels a side that a description may have; networks have a thousandth of it."""
Count = Annotated[int, Field(ge=1, le=MOST)]
Padding = Annotated[int, Field(ge=0, le=MOST)]
Classes = Annotated[int, Field(ge=0, le=MOST)]


def _few(depths: tuple[int, ...]) -> tuple[int, ...]:
    if sum(depths) > _DEEPEST:
        raise ValueError(f"{sum(depths):,} units, wanted {_DEEPEST:,} at most (the papers' deepest have 600)")
    return depths


_DEEPEST = 10_000
Depths = Annotated[tuple[Count, ...], AfterValidator(_few)]
"""Units of each stage: refused before a description of them takes minutes and gigabytes to write out."""
Kernel = Annotated[int, Field(ge=1, le=1024)]


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"{kernel}, wanted an odd number: as many neighbours on either side")
    return kernel


OddKernel = Annotated[Kernel, AfterValidator(_odd)]

T = TypeVar("T")


def require_eps(record: T, eps: float, method: str) -> T:
    """Refuse a norm that may divide by 0: only statistics that are constants are known not to be 0."""
    if eps == 0 and method != "frozen":
        raise ValueError(f"eps 0 of a {method} norm, wanted more than 0; only frozen norms may have 0")
    return record


def require_bias(record: T, bias: bool, bias_init: float) -> T:
    """Refuse a first value of a bias that is not there."""
    if bias_init and not bias:
        raise ValueError(f"bias_init {bias_init:g} without a bias; set bias=true, or leave bias_init out")
    return record
