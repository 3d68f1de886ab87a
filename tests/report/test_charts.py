"""Figures: the same bytes each time, no foreign address, colours from the page, shades and sizes by their rule."""

import io
import re
import xml.etree.ElementTree as ElementTree
from base64 import b64decode

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.report.charts import agreement, chart, curve, intervals, thumbnail
from deepres.report.matrix import confusion_picture, matrix, shades
from deepres.tasks.blocks import Chart, Matrix, Series

HISTORY = [{"epoch": e, "train_error": 0.5 / e, "val_error": None if e == 2 else 0.6 / e, "lr": 0.1} for e in (1, 2, 3)]
ERRORS = {"train_error": "training", "val_error": "validation"}


def picture(address: str) -> Image.Image:
    kind, _, content = address.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(b64decode(content)))


@pytest.mark.medium
def test_a_curve_repeats_bitwise_and_is_whole_svg_without_foreign_addresses_or_fixed_colours() -> None:
    svg = curve(HISTORY, ERRORS, "Error (%) <&", chosen_epoch=2, kind="percent")
    assert svg is not None
    assert svg == curve(HISTORY, ERRORS, "Error (%) <&", chosen_epoch=2, kind="percent")
    ElementTree.fromstring(svg)
    assert set(re.findall(r'https?://[^" ]+', svg)) <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}
    assert not re.search(r"#[0-9a-f]{6}\b", svg)
    for part in ("var(--wrong)", "var(--right)", "training", "validation", "chosen: epoch 2"):
        assert part in svg


@pytest.mark.medium
@pytest.mark.parametrize("name", [r"a$\frac{$b", "$5 or $6", "$x$", r"$\foo$", "_hidden", "50 %", r"a\$b$c$"])
def test_names_are_no_formulae(name: str) -> None:
    rows = [{**row, "lr": row["lr"] / 10 ** row["epoch"]} for row in HISTORY]  # type: ignore[operator]
    for svg in (
        intervals([(name, 0.1, 0.05, 0.2)]),
        agreement([(0, 1), (1, 2)], name, "y"),
        curve(HISTORY, {"train_error": name}, name),
        curve(rows, {"lr": "lr"}, name, kind="log"),
    ):
        assert svg is not None
        assert name in ("".join(ElementTree.fromstring(svg).itertext()))
    assert "mathdefault" not in str(svg)


@pytest.mark.medium
def test_a_missing_value_leaves_a_curve_without_that_point() -> None:
    values = [{"epoch": 1, "lr": 1.0}, {"epoch": 2, "lr": float("inf")}, {"epoch": 3}]
    full = [{"epoch": e, "lr": 1.0} for e in (1, 2, 3)]
    one, three = (curve(rows, {"lr": "lr"}, "Lr", kind="log") for rows in (values, full))
    assert one is not None
    assert three is not None
    assert three.count("fill: var(--ink); stroke: var(--ink)") - one.count("fill: var(--ink); stroke: var(--ink)") == 2


def test_a_history_without_the_columns_gives_no_curve() -> None:
    assert curve(HISTORY, {"loss": "loss"}, "Loss") is None
    assert curve([], {"loss": "loss"}, "Loss") is None


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["percent", "log", "plain"])
@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [1e-9, 1.0, 0.0], [0.5] * 40])
def test_every_kind_draws_zeros_single_points_and_wide_ranges(kind: str, values: list[float]) -> None:
    history = [{"epoch": e + 1, "x": x} for e, x in enumerate(values)]
    assert curve(history, {"x": "x"}, "X", kind=kind, chosen_epoch=1) is not None


@pytest.mark.medium
def test_a_range_above_a_decade_is_drawn_logarithmically() -> None:
    history = [{"epoch": e, "x": 10.0**-e} for e in (1, 2, 3)]
    drawn = curve(history, {"x": "x"}, "X", kind="log")
    assert drawn is not None
    assert ">0.001<" in drawn


@pytest.mark.parametrize(("weights", "diagonal"), [((0.2, 0.8), True), ((), False)])
@pytest.mark.medium
def test_a_chart_has_its_series_in_the_colours_of_the_page(weights: tuple[float, ...], diagonal: bool) -> None:
    one = Series(name="as it is", points=((10.0, 5.0), (100.0, 20.0)), weights=weights)
    alone = chart(Chart(title="Error <", x="answered", series=(one,), diagonal=diagonal))
    both = chart(Chart(title="Error <", x="answered", series=(one, one.replace(name="at 2")), diagonal=diagonal))
    for svg in (alone, both):
        ElementTree.fromstring(svg)
        assert "var(--right)" in svg
    assert "var(--wrong)" in both
    assert "at 2" in both
    assert "as it is" not in alone


@pytest.mark.medium
def test_a_chart_without_points_is_drawn() -> None:
    ElementTree.fromstring(chart(Chart(title="x", x="x", series=(Series(name="x", points=()),))))


def test_a_matrix_is_escaped_and_says_where_nothing_was_confused() -> None:
    evil = "<b>&"
    text = str(matrix(Matrix(title="", names=(evil, "b"), counts=((3, 1), (0, 0)), pairs=((evil, "b", 1),))))
    assert evil not in text
    assert text.count("&lt;b&gt;&amp;") >= 4
    assert ">·</td>" in text
    assert "No image was confused." in str(matrix(Matrix(title="", names=("a", "b"), counts=((3, 0), (0, 2)))))


def test_shades_follow_the_share_of_the_row_and_the_largest_confusion() -> None:
    shade = shades(np.array([[8.0, 2, 0], [0, 0, 0], [100, 0, 100]]))
    assert shade.tolist() == [[0.8, pytest.approx(0.2), 0], [0, 0, 0], [1, 0, 0.5]]
    assert shades(np.eye(2)).tolist() == [[1, 0], [0, 1]]


def test_the_confusion_picture_has_a_pixel_a_cell() -> None:
    pixels = np.asarray(picture(confusion_picture(((4, 0), (2, 2)))))
    assert pixels.shape == (2, 2, 4)
    assert pixels[..., 3].tolist() == [[255, 0], [255, 128]]
    assert pixels[0, 0, 2] > pixels[0, 0, 0]
    assert pixels[1, 0, 0] > pixels[1, 0, 2]


def test_a_tiny_image_is_kept_and_marked_for_enlarging() -> None:
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)
    address, tiny = thumbnail(image)
    assert tiny
    assert np.asarray(picture(address)).tolist() == image[0].tolist()


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(300, 600, (128, 64)), (600, 300, (64, 128)), (100, 30, (30, 100)), (1, 4000, (128, 1))],
)
def test_a_photo_is_shrunk_to_128_pixels(height: int, width: int, size: tuple[int, int]) -> None:
    address, tiny = thumbnail(torch.zeros(3, height, width, dtype=torch.uint8))
    assert not tiny
    assert picture(address).size == size
    assert picture(address).mode == "RGB"
