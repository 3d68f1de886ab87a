"""Boxes on pictures and small plots in a report: where they lie, what is escaped, the same bytes each time."""

import io
import re
import xml.etree.ElementTree as ET
from base64 import b64decode

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages
from deepres.data.run_lengths import of_bitmap
from deepres.report.blocks import drawn
from deepres.report.outlines import COLOURS, WIDEST_PX, outlined
from deepres.report.panels import BOTTOM, LEFT, RIGHT, TOP, panels
from deepres.tasks.blocks import AnsweredPicture, Outline, Panel, Panels, Pictures, Table

HOSTILE = '<script>"&\x1b[2J'


def _outline(kind: str = "false", corners: tuple[float, ...] = (10, 20, 60, 80), label: str = "dog 0.91") -> Outline:
    return Outline(kind=kind, corners=corners, label=label)


def _texts(svg: str) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize(
    ("channels", "side", "kind"), [(3, 60, "png"), (1, 60, "png"), (3, 300, "jpeg"), (3, 900, "jpeg")]
)
def test_a_box_lies_in_px_of_the_picture_however_small_it_is_shown(channels: int, side: int, kind: str) -> None:
    image = torch.full((channels, side, 2 * side), 200, dtype=torch.uint8)
    svg = outlined(image, [_outline("missed"), _outline("right")], "a.jpg")
    tree = ET.fromstring(str(svg).replace("<svg ", '<svg xmlns="x" '))
    assert tree.get("viewBox") == f"0 0 {2 * side} {side}"
    for rect in tree.iter("{x}rect"):
        assert [rect.get(name) for name in ("x", "y", "width", "height")] == ["10.00", "20.00", "50.00", "60.00"]
    address = re.search(rf"data:image/{kind};base64,([^\"]+)", svg)
    assert address is not None
    shown = Image.open(io.BytesIO(b64decode(address[1])))
    assert max(shown.size) == min(2 * side, WIDEST_PX)
    assert outlined(image, [_outline("missed"), _outline("right")], "a.jpg") == svg


def test_what_is_found_has_no_label_and_no_label_covers_an_earlier_one() -> None:
    image = torch.zeros(3, 200, 300, dtype=torch.uint8)
    boxes = [_outline("missed", label="cat"), _outline(label="near"), _outline("false", (10, 120, 40, 150), "far")]
    assert _texts(outlined(image, [*boxes, _outline("right", (200, 20, 220, 40), "found")], "a")) == ["cat", "far"]
    edge = outlined(image, [_outline(corners=(280, 0, 300, 20), label="a long name")], "a")
    assert float(re.search(r'<text x="([\d.]+)"', edge)[1]) + 11 * 0.62 * 12 <= 300.01


@pytest.mark.parametrize("times", [1, 3, 10])
def test_masks_lie_on_their_pixels_in_the_colour_of_their_kind_missed_ones_on_top(times: int) -> None:
    image = torch.zeros(3, 40 * times, 60 * times, dtype=torch.uint8)
    marked = np.zeros((2, 40 * times, 60 * times), bool)
    marked[0, 10 * times : 30 * times, 5 * times : 25 * times] = True
    marked[1, 20 * times :, 20 * times : 50 * times] = True
    told = [of_bitmap(pixels).facts() for pixels in marked]
    boxes = [_outline(kind).replace(mask=mask) for kind, mask in zip(("missed", "right"), told, strict=True)]
    svg = outlined(image, boxes, "a.jpg")
    under, veil = re.findall(r"<image [^>]*/>", svg)
    assert svg.index(veil) > svg.index(under)
    assert svg.index(veil) < svg.index("<rect")
    content = re.search(r"base64,([^\"]+)", veil)
    assert content is not None
    shown = Image.open(io.BytesIO(b64decode(content[1])))
    assert max(shown.size) == min(60 * times, WIDEST_PX)
    pixels = np.asarray(shown.convert("RGBA").resize((60, 40), Image.Resampling.NEAREST))
    colours = [tuple(int(COLOURS[kind][at : at + 2], 16) for at in (1, 3, 5)) for kind in ("missed", "right")]
    expected = np.zeros((40, 60, 3), np.uint8)
    expected[marked[1][::times, ::times]] = colours[1]
    expected[marked[0][::times, ::times]] = colours[0]
    anywhere = marked.any(0)[::times, ::times]
    assert np.array_equal(pixels[..., 3] > 0, anywhere)
    assert np.array_equal(pixels[anywhere][:, :3], expected[anywhere])
    assert outlined(image[:, :-1], boxes, "a.jpg").count("<image") == 1  # masks of a picture of another size


def test_names_are_escaped() -> None:
    block = Pictures(
        title=HOSTILE,
        pictures=(
            AnsweredPicture(
                index=0, name=f"{HOSTILE}/0", wanted=HOSTILE, answered=HOSTILE, outlines=(_outline(label=HOSTILE),)
            ),
        ),
    )
    images = ArrayImages(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.tensor([0]), ("a",), HOSTILE)
    lines = ((HOSTILE, ((0.0, 1.0), (1.0, 0.0))),)
    plot = Panels(title="p", x="recall", y="precision", panels=(Panel(title=HOSTILE, lines=lines),))
    for html in (drawn(block, images), drawn(plot, None)):
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
    assert 'class="thumbs wider"' in drawn(block, images)


def test_lines_begin_and_end_where_the_axes_do() -> None:
    both = (("overlap 0.5", ((0.0, 1.0), (1.0, 0.5))), ("overlap 0.75", ((0.0, 0.0), (0.5, 0.0))))
    html = panels([Panel(title="cat", lines=both), Panel(title="dog", lines=both[:1])], "recall", "precision")
    middle = (TOP + BOTTOM) / 2
    assert re.findall(r'points="([^"]+)"', html)[0] == f"{LEFT:.1f},{TOP:.1f} {RIGHT:.1f},{middle:.1f}"
    assert html.count("<svg") == 2 + 2
    assert html.count("5 3") == 2
    assert {"cat", "dog", "recall", "precision"} <= set(_texts(html))


def test_a_panel_of_each_of_forty_classes_is_drawn_at_once() -> None:
    points = tuple((float(x), 1 - float(x)) for x in np.linspace(0, 1, 101))
    many = [Panel(title=f"class {number}", lines=(("overlap 0.5", points),)) for number in range(40)]
    assert len(panels(many, "recall", "precision")) < 200_000


def test_pictures_of_another_set_are_refused_whatever_the_task() -> None:
    block = Pictures(title="worst", pictures=(AnsweredPicture(index=1, name="set/1", wanted="a", answered="b"),))
    images = ArrayImages(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.tensor([0]), ("a",), "set")
    with pytest.raises(InputError, match="report: image 1 is absent, the result says set/1; give the images that"):
        drawn(block, images)
    assert drawn(block, None) == ""


def test_a_bar_stands_behind_its_value_and_wide_columns_are_told_apart() -> None:
    block = Table(title="t", header=("class", "AP", "F1"), rows=(("cat", "50 %", "<1"),), bars=(0.5,), wide=1)
    html = drawn(block, None)
    assert html.index("50 %") < html.index("width: 50.00%") < html.index("&lt;1")
    assert html.count('class="wide"') == 2
    assert html.count("<th") == 1 + 4  # <thead too


@pytest.mark.medium
def test_average_precision_is_drawn_in_percent_and_called_as_the_field_calls_it() -> None:
    from deepres.report.evaluation import _curves

    history = [{"epoch": n, "step": n, "train_loss": 1.0, "val_AP": 0.1 * n, "val_AP50": 0.2 * n} for n in (1, 2, 3)]
    titles = [re.search(r'aria-label="([^"]+)"', svg)[1] for svg in _curves(history, None, ())]
    assert titles == ["AP (%)", "AP50 (%)", "Loss"]
