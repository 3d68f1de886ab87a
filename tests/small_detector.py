"""A detector that learns next to nothing in seconds, and the folder of drawn pictures in VOC's layout that it is for."""

from pathlib import Path

from journey.test_boxes import draw

EDITS = (
    "model.backbone.widths=8,8,8,16",
    "model.backbone.stem_width=8",
    "model.backbone.depths=1,1,1,1",
    "model.backbone.style.norm_groups=4",
    "model.anchors.sizes=12,24,48",
    "model.proposals.after_train=16",
    "model.proposals.after_test=16",
    "model.regions.pool=4",
    "model.regions.sampled=8",
    "model.regions.score_above=0",
    "preparation.resize=48",
    "preparation.longest=64",
    "augmentation.scale=40,48",
    "data.workers=0",
)


def drawn(folder: Path, train: int, val: int, test: int) -> Path:
    """So many pictures of each part, one after the other, with the lists that divide them."""
    draw(folder, range(train + val + test), seed=0)
    begin = 0
    for split, number in (("train", train), ("val", val), ("test", test)):
        names = [f"{place:03}\n" for place in range(begin, begin + number)]
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("".join(names))
        begin += number
    return folder
