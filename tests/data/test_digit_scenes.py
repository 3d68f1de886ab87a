"""Scenes of digits, made in memory."""

import numpy as np
import pytest
import torch

from deepres.data.boxes import BoxTargets
from deepres.data.sources.config import DataConfig
from deepres.data.sources.digit_scenes import digit_scenes, scene
from deepres.data.sources.open import Source, open_source
from deepres.data.sources.splits import RawDataset


@pytest.fixture(scope="module")
def scenes() -> RawDataset:
    return digit_scenes(None)


@pytest.mark.medium
def test_a_box_holds_its_digit_and_no_ground_at_its_edges(scenes: RawDataset) -> None:
    targets = scenes.splits["val"].targets
    assert isinstance(targets, BoxTargets)
    assert set(targets.counts.tolist()) == {1, 2, 3, 4, 5}
    sides = targets.corners[:, 2:] - targets.corners[:, :2]
    assert bool(((targets.corners >= 0) & (targets.corners <= 128)).all())
    assert 4 < float(sides.min()) < float(sides.max()) <= 52
    alone = [place for place, count in enumerate(targets.counts.tolist()) if count == 1]
    for place in alone[:20]:  # ink differs from the ground around its box, which is nearly one colour there
        image = scenes.splits["val"].image(place).float()
        x1, y1, x2, y2 = (int(value) for value in targets[place].corners[0].tolist())
        inside = image[:, y1:y2, x1:x2].flatten(1)
        row = image[:, y1:y2, [max(0, x1 - 4), min(127, x2 + 3)]].flatten(1)
        assert float((inside.amax(1) - inside.amin(1)).max()) > 60
        assert float(row.std(1).max()) < float(inside.std(1).max())


@pytest.mark.medium
def test_splits_are_of_800_200_and_200_and_have_their_own_digits_and_numbers(scenes: RawDataset) -> None:
    assert {split: len(images) for split, images in scenes.splits.items()} == {"train": 800, "val": 200, "test": 200}
    ids = torch.cat([images.targets.ids for images in scenes.splits.values()])  # type: ignore[attr-defined]
    assert ids.tolist() == list(range(1200))
    for images in scenes.splits.values():
        counts = torch.bincount(images.targets.classes, minlength=10)  # type: ignore[attr-defined]
        assert int(counts.min()) > 30


@pytest.mark.medium
def test_they_are_made_alike_each_time_and_opened_by_name(scenes: RawDataset) -> None:
    source: Source = open_source(DataConfig(source="digit-scenes"))
    assert source.test is not None
    assert torch.equal(source.test.image(7), scenes.splits["test"].image(7))
    assert source.test.targets.tolist() == scenes.splits["test"].targets.tolist()
    digits, labels = np.ones((3, 8, 8), dtype=np.float32), np.arange(3)
    one, other = scene(digits, labels, "val", 4), scene(digits, labels, "val", 4)
    assert (one[0] == other[0]).all()
    assert torch.equal(one[1].corners, other[1].corners)
    assert source.test.name(7) == "digit-scenes/test/7"
    assert source.channels == 3


@pytest.mark.medium
def test_val_is_learnt_with_train_where_that_is_asked(scenes: RawDataset) -> None:
    source = open_source(DataConfig(source="digit-scenes", trainval=True, val_fraction=0))
    train, val = scenes.splits["train"], scenes.splits["val"]
    assert source.val is None
    assert len(source.train) == 1000
    assert torch.equal(source.train.image(799), train.image(799))
    assert torch.equal(source.train.image(800), val.image(0))
    assert source.train.targets.tolist() == train.targets.tolist() + val.targets.tolist()
    assert any("val is learnt with train: 200 pictures (data.trainval)" in note for note in source.origin.notes)
