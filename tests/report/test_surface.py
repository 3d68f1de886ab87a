"""The loss around weights is drawn as it is told: contours with the network in the middle, slices beside them."""

import pytest

from deepres.analyze.surface import Surface, SurfacePoint
from deepres.report import surface

STEPS = (-1.0, 0.0, 1.0)


def _found(*, hole: bool = False, flat: bool = False, draws: int = 2) -> Surface:
    def point(a: float, b: float) -> SurfacePoint:
        loss = 0.5 if flat else 0.1 + a * a + 2 * b * b
        return SurfacePoint(cross_entropy=None if hole and a + b == 2 else loss, num_wrong=int(not flat and a + b > 0))

    plane = [[point(a, b) for a in STEPS] for b in STEPS] if draws > 1 else []
    slices = [[point(a, 0) for a in STEPS], [point(0, b) for b in STEPS]][:draws]
    return Surface(
        network="net", num_images=4, seed=0, steps=STEPS, slices=tuple(map(tuple, slices)),
        plane=tuple(map(tuple, plane)), num_filters=3, num_moved=10, num_parameters=12, cosine=None,
    )  # fmt: skip


@pytest.mark.medium
@pytest.mark.parametrize("odd", [{}, {"hole": True}, {"flat": True}])
def test_a_plane_has_the_network_in_its_middle(odd: dict[str, bool]) -> None:
    entropy, error = surface.plane(_found(**odd)).axes
    assert entropy.get_title() == "cross-entropy (nats)"
    assert error.get_title() == "error (%)"
    for axes in (entropy, error):
        assert [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()] == [([0], [0])]  # type: ignore[arg-type]
        assert axes.get_xlim() == (-1, 1)
        assert bool(axes.collections) != bool(odd.get("flat"))


def test_slices_are_entropy_and_percent() -> None:
    left, right = surface.slices(_found()).axes
    drawn = {str(line.get_label()): list(line.get_ydata()) for line in left.get_lines()}  # type: ignore[arg-type]
    assert drawn["direction 1"] == pytest.approx([1.1, 0.1, 1.1])
    assert drawn["direction 2"] == pytest.approx([2.1, 0.1, 2.1])
    assert left.get_yscale() == "log"
    assert list(right.get_lines()[0].get_ydata()) == [0, 0, 25]  # type: ignore[arg-type]
