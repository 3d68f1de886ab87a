"""AP of masks: COCO's published twelve figures, pycocotools' to the last digit, and what goes through files."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deepres.base.errors import InputError
from deepres.data.run_lengths import of_bitmap, read
from deepres.tasks.detection.ap_coco import coco_figures
from deepres.tasks.detection.detections import Detections, Truth
from deepres.tasks.detection.figures import figures
from deepres.tasks.detection.mask_column import MaskColumn, written

PUBLISHED = (0.320, 0.562, 0.299, 0.387, 0.310, 0.327, 0.268, 0.415, 0.417, 0.469, 0.377, 0.381)
"""Of instances_val2014_fakesegm100_results.json, as COCO's own demonstration prints them."""


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_the_twelve_figures_of_masks(shared: Path) -> None:
    home = shared / "data" / "eval_fixtures" / "coco_val2014_100"
    truth_file = home / "instances_val2014_100.json"
    answers = json.loads((home / "instances_val2014_fakesegm100_results.json").read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth_file))
        asked = COCOeval(known, known.loadRes(answers), "segm")
        asked.params.imgIds = sorted(known.getImgIds())
        asked.evaluate()
        asked.accumulate()
        asked.summarize()
    images = asked.params.imgIds
    classes = sorted(known.getCatIds())
    of_image, of_class = ({key: at for at, key in enumerate(keys)} for keys in (images, classes))
    own = [row for row in known.dataset["annotations"] if row["image_id"] in of_image]
    sizes = {image["id"]: (image["height"], image["width"]) for image in known.dataset["images"]}
    runs = [read({**known.annToRLE(row), "size": list(sizes[row["image_id"]])}) for row in own]
    sides = np.array([row["bbox"] for row in own], dtype=float).reshape(-1, 4)
    truth = Truth.of(
        {
            "image": [of_image[row["image_id"]] for row in own],
            "corners": np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], 1),
            "classes": [of_class[row["category_id"]] for row in own],
            "ignored": [bool(row["iscrowd"]) for row in own],
            "areas": [row["area"] for row in own],
            "masks": MaskColumn(tuple(runs)),
        }
    )
    found = Detections.of(
        {
            "image": [of_image[row["image_id"]] for row in answers],
            "corners": np.zeros((len(answers), 4)),
            "classes": [of_class[row["category_id"]] for row in answers],
            "scores": [row["score"] for row in answers],
            "masks": MaskColumn(tuple(read(row["segmentation"]) for row in answers)),
        }
    )
    figure = coco_figures(found, truth, len(images), len(classes), of_masks=True)
    assert np.abs(np.array(figure.twelve, dtype=float) - asked.stats).max() <= 1e-12
    assert np.abs(asked.stats - np.array(PUBLISHED)).max() <= 5.1e-4


def column() -> MaskColumn:
    draw = np.random.default_rng(0)
    return MaskColumn(tuple(of_bitmap(draw.random((7, 9)) > 0.5) for _ in range(4)))


def test_a_column_goes_through_a_file_and_is_chosen_by_rows() -> None:
    masks = column()
    arrays = {name: array.numpy() for name, array in masks.arrays("mask_").items()}
    back = written(arrays, "mask_", 4)
    assert back is not None
    assert back.runs == masks.runs
    assert written({}, "mask_", 4) is None
    assert masks[torch.tensor([True, False, False, True])].runs == (masks.runs[0], masks.runs[3])
    assert MaskColumn.together([masks, masks[torch.tensor([1])]]).runs == (*masks.runs, masks.runs[1])
    with pytest.raises(ValueError, match="wanted masks of 3 boxes"):
        written(arrays, "mask_", 3)
    arrays["mask_counts"] = arrays["mask_counts"][:-2]
    with pytest.raises(ValueError, match="counts"):
        written(arrays, "mask_", 4)


def one(masks: MaskColumn | None) -> tuple[Detections, Truth]:
    boxes = {"image": [0], "corners": [[0, 0, 9, 7]], "classes": [0], "masks": masks}
    return Detections.of({**boxes, "scores": [0.9]}), Truth.of({**boxes, "ignored": [False], "areas": [63.0]})


def test_a_mask_measures_what_a_box_does_not() -> None:
    left, right = np.zeros((7, 9), bool), np.zeros((7, 9), bool)
    left[:, :4], right[:, 4:] = True, True
    found, _ = one(MaskColumn((of_bitmap(left),)))
    for pixels, wanted in ((left, 1.0), (right, 0.0)):
        _, truth = one(MaskColumn((of_bitmap(pixels),)))
        assert figures(found, truth, 1, 1, "coco").ap == pytest.approx(1.0)
        assert figures(found, truth, 1, 1, "masks").ap == pytest.approx(wanted)


def test_masks_that_are_not_there_are_not_measured() -> None:
    whole = MaskColumn((of_bitmap(np.ones((7, 9), bool)),))
    with pytest.raises(InputError, match="measure masks: the network draws none; wanted masks of both, or --measure"):
        figures(one(None)[0], one(whole)[1], 1, 1, "masks")
    with pytest.raises(InputError, match="measure masks: these pictures have none"):
        figures(one(whole)[0], one(None)[1], 1, 1, "masks")
