"""`deepres data show` of a source with boxes: they are drawn where training and evaluation see them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.cli import show
from deepres.cli.train import planned
from deepres.data.box_drawing import COLOURS
from deepres.runs.sheet import drawn, planned_setting

XML = (
    "<annotation><object><name>dog</name><bndbox><xmin>21</xmin><ymin>11</ymin><xmax>60</xmax><ymax>40</ymax></bndbox>"
    "</object></annotation>"
)
FRAME = torch.tensor([int(COLOURS[0][at : at + 2], 16) for at in (1, 3, 5)])


def framed(picture: torch.Tensor) -> bool:
    """Whether the colour of the class is on it, along most of an edge."""
    return int((picture.permute(1, 2, 0) == FRAME).all(2).sum()) > 60


@pytest.mark.medium
def test_boxes_are_drawn_on_what_is_shown(tmp_path: Path) -> None:
    for number in range(8):
        Image.fromarray(np.full((48, 80, 3), 100 + number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.xml").write_text(XML)
    context = show.command.make_context("show", [str(tmp_path), "--set", "preparation.resize=64"])
    sheet = drawn(planned_setting(planned(context.params)))
    for tile in sheet.tiles[0]:
        assert tile.label == "dog"
        assert framed(tile.seen)
        assert framed(tile.judged)
    for row in sheet.rows:
        assert framed(row.whole)
        assert all(framed(view.seen) for view in row.draws)
