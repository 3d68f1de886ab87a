"""Plots show the numbers that they are given, in the papers' layout; the same numbers give the same bytes."""

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepres.analyze.ablation import AblationScores
from deepres.analyze.equivariance import StageError
from deepres.analyze.faithfulness import Curve, Faithfulness
from deepres.analyze.lesion import Deletion, Lesions
from deepres.analyze.paths import EffectiveRange, LengthGradient, PathGradients
from deepres.analyze.propagation import Propagation, UnitFlow
from deepres.report import analysis

WHOLE = AblationScores(num_wrong=10, error=0.1, error_low=0.05, error_high=0.2, cross_entropy=0.3)


def _lines(axes: Axes) -> dict[str, list[float]]:
    return {str(line.get_label()): [float(y) for y in line.get_ydata()] for line in axes.get_lines()}  # type: ignore[union-attr]


def _shown(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


def test_deletions_are_percent_and_units_that_change_the_shape_are_marked() -> None:
    units = ("stage1.unit1", "stage1.unit2", "stage2.unit1", "stage2.unit2")
    costs = {**dict(WHOLE), "error_high": 0.9}
    found = [Deletion(**{**costs, "error": 0.2 + place / 10}, units=(unit,)) for place, unit in enumerate(units)]
    lesions = Lesions(
        network="net", num_images=100, units=units, fixed=(), shaping=units[2:3], intact=WHOLE, deletions=tuple(found), units_run=10,
        units_alone=20,
    )  # fmt: skip
    (axes,) = analysis.deletions(lesions).axes
    told = _lines(axes)
    assert told["… which changes the shape"] == pytest.approx([40.0])
    assert told["whole network"] == pytest.approx([10.0, 10.0])


def test_paths_have_the_papers_three_panels() -> None:
    rows = tuple(
        LengthGradient(length=k, num_paths=n, num_measured=2, mean_norm=0.5**k, spread=0, total=n * 0.5**k, share=s)
        for k, n, s in ((0, 1, 0.4), (1, 2, 0.4), (2, 1, 0.2))
    )
    found = PathGradients(
        network="net", num_units=2, num_batches=1, statistics="batch", seed=0, whole_norm=1, lengths=rows
    )
    effective = EffectiveRange(shortest=0, longest=1, gradient_share=0.8, paths_share=0.75)
    count, one, every = analysis.gradient_by_length(found, effective).axes
    assert [bar.get_height() for bar in count.patches] == [25, 50, 25]  # type: ignore[attr-defined]
    assert one.get_yscale() == "log"
    assert _lines(one)["_child0"] == [1, 0.5, 0.25]
    assert [bar.get_height() for bar in every.patches[:3]] == pytest.approx([40, 40, 20])  # type: ignore[attr-defined]


def test_responses_are_shown_in_order_and_by_size() -> None:
    above, below = analysis.responses({"trained": [0.3, 0.9, 0.5], "untrained": [1, 1, 1]}).axes
    assert _lines(above)["trained"] == [0.3, 0.9, 0.5]
    assert _lines(below)["trained"] == [0.9, 0.5, 0.3]


def _flow(variant: str, unit: int, gradient: float, direct: float) -> UnitFlow:
    return UnitFlow(
        variant=variant, unit=f"unit{unit}", mean_square=1, branch_square=1, shortcut_square=1, added_square=2,
        gradient=gradient, factor=1, factor_from="equation", product=1, direct=direct,
    )  # fmt: skip


@pytest.mark.medium
def test_each_variant_has_a_panel_with_measurement_and_prediction() -> None:
    names = ("original", "scaling 0", "dropout 0.5")
    rows = [_flow(name, unit, 0.1 * unit, 0.0 if name[-1] == "0" else 0.2) for name in names for unit in (1, 2)]
    found = Propagation(
        network="net", num_images=4, statistics="batch", seed=0, variants=names, loss=(1, 1, 1),
        last_gradient=(1, 1, 1), rows=tuple(rows),
    )  # fmt: skip
    panels = _shown(analysis.flows(found, "gradient"))
    assert [axes.get_title() for axes in panels] == list(names)
    assert _lines(panels[0]) == {
        "measured": pytest.approx([0.1, 0.2]),
        "by the equations": pytest.approx([0.2, 0.2]),
    }
    assert list(_lines(panels[1])) == ["measured"]
    assert panels[1].texts[0].get_text() == "by the equations: 0"
    assert _lines(_shown(analysis.flows(found, "signal"))[0])["by the equations"] == [2, 2]


def test_shifts_are_on_their_own_axis_and_ringed_where_they_are_no_multiple() -> None:
    def one(part: str, shift: int, stride: int, error: float | None) -> StageError:
        return StageError(
            part=part, shift_px=shift, stride=stride, multiple=shift % stride == 0, relative_error=error, border_px=0,
            border_free=False,
        )  # fmt: skip

    stages = [one("stem", 1, 1, 0.0), one("stem", 2, 1, 0.0), one("stage2", 1, 2, 0.5), one("stage2", 2, 2, 0.1)]
    (axes,) = analysis.stage_errors([*stages, one("dead", 1, 1, None)]).axes
    rings = [line for line in axes.get_lines() if line.get_markerfacecolor() == "none" and len(line.get_xdata())]  # type: ignore[arg-type]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in rings] == [([1], [0.5])]  # type: ignore[arg-type]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]


@pytest.mark.medium
def test_maps_carry_their_boxes_and_curves_their_areas() -> None:
    image = torch.zeros(1, 6, 8, dtype=torch.uint8)
    figure = analysis.pictures({"1: cat": (image, image, (1, 2, 5, 6)), "2: dog": (image, image, None)})
    boxes = [[patch.get_bbox().bounds for patch in axes.patches] for axes in figure.axes]  # type: ignore[attr-defined]
    assert [set(each) for each in boxes] == [set(), set(), {(0.5, 1.5, 4.0, 4.0)}, set()]
    curve = Curve(probability=(1.0, 0.5), area=0.75, area_std=None)
    found = Faithfulness(
        num_images=1, method="cam", background="blur", seed=0, share=(0, 1), deletion=curve, insertion=curve,
        random_deletion=curve, random_insertion=curve,
    )  # fmt: skip
    left, _ = analysis.faithfulness(found).axes
    assert _lines(left)["in the map's order: area 0.75"] == [1.0, 0.5]


@pytest.mark.medium
def test_the_same_plot_gives_the_same_bytes_and_bears_no_date() -> None:
    drawn = [analysis.responses({"net": [1.0, 2.0]}) for _ in range(2)]
    first, again = (analysis.svg(figure) for figure in drawn)
    assert first == again
    assert first.startswith("<svg ")
    assert "date" not in first.lower()
    assert analysis.png(drawn[0]) == analysis.png(drawn[1])
