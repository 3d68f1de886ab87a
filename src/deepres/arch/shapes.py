"""Shapes of one image's tensors, (C, H, W) or (C,), and what a sliding window makes of them."""

from math import prod

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """An atom cannot take the shape that it is given; the fold adds the dotted name."""


def elements(shape: Shape) -> int:
    """The number of values in one image's tensor of that shape."""
    return prod(shape)


def map_of(given: Shape, what: str) -> tuple[int, int, int]:
    """(C, H, W); ShapeError where `what` is given something else."""
    if len(given) != 3:
        raise ShapeError(f"{what} takes (C, H, W), given {given}; place it before the global pool")
    return given[0], given[1], given[2]


def windows(side: int, window: int, stride: int, padding: int, given: Shape, ceil: bool = False) -> int:
    """How many places a window has along a side; with `ceil` one more that begins within it."""
    room = side + 2 * padding - window
    if room < 0:
        raise ShapeError(f"a window of {window} does not fit {given} with padding {padding}; use a larger image")
    if not ceil:
        return room // stride + 1
    found = -(-room // stride) + 1
    return found if (found - 1) * stride < side + padding else found - 1  # none that lies in the padding alone
