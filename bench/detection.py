"""Seconds of a detector's answer and of its training step: `python bench/detection.py [--output FILE]`.

Contenders: torchvision's fasterrcnn_resnet50_fpn in float32, and under bfloat16 autocast; ours in float32, and in
bfloat16 (answers: weights too; training: autocast). Both have the same weights, the same padded pictures with the same
objects, and as many proposals; stem and stage1 are frozen in both. A training step is forward, backward and SGD with
momentum. Torchvision's own resizing and normalising of pictures is left out.
"""

import argparse
import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import protocol
import torch
from protocol import Contender
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList

from deepres.arch.catalogue.lookup import detector_entry
from deepres.data.boxes import Boxes, BoxTargets, Placed
from deepres.data.images import Batch
from deepres.nn.freeze import freeze
from deepres.tasks.detection import names_torchvision
from deepres.tasks.detection.detector import DetectorNetwork, create
from deepres.tasks.detection.inference import for_inference
from deepres.tasks.detection.losses import loss

CPU = torch.device("cpu")
CLASSES = 3
BASE = "torchvision, float32"


def pair(proposals: int, tiny: bool) -> tuple[DetectorNetwork, FasterRCNN]:
    """Ours and torchvision's with the same random weights and statistics, `proposals` after suppression in both."""
    kind = "resnet18" if tiny else "resnet50"
    after = {"rpn_post_nms_top_n_train": 2 * proposals, "rpn_post_nms_top_n_test": proposals}
    theirs = FasterRCNN(resnet_fpn_backbone(backbone_name=kind, weights=None), CLASSES + 1, **after)
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=dice)
            elif "rpn.head" in name or "box_predictor" in name:
                tensor.normal_(0, 0.02, generator=dice)
            elif tensor.dim() == 1:
                tensor.uniform_(0.3, 0.7, generator=dice)
            else:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=dice)
    entry = detector_entry(f"fasterrcnn_{kind}_fpn")
    assert entry is not None
    config = entry.config
    config = config.replace(
        num_classes=CLASSES,
        proposals=config.proposals.replace(after_train=2 * proposals, after_test=proposals),
        regions=config.regions.replace(aligned=False),
    )
    ours = create(config.architecture())
    ours.load_state_dict(names_torchvision.to_ours(theirs.state_dict(), ours.description))
    return ours, theirs


def pictures(number: int, side: int) -> tuple[Tensor, Batch]:
    """Noise of `side` px padded to a multiple of 32, with three objects each."""
    padded = -(-side // 32) * 32
    images = torch.randn(number, 3, padded, padded, generator=torch.Generator().manual_seed(1))
    images[:, :, side:], images[:, :, :, side:] = 0, 0
    third = side / 3
    corners = [[9, 9, third, third], [third, third, 2 * third, side - 9], [side / 2, 9, side - 9, third]]
    where = Placed(torch.zeros(number, 2, 3, dtype=torch.float64), torch.full((number, 2), side), torch.arange(number))
    targets = replace(BoxTargets.of([Boxes.of(corners, [0, 1, 2])] * number), where=where)
    return images, Batch(images, targets, torch.arange(number))


def answering(ours: DetectorNetwork, theirs: FasterRCNN, images: Tensor, side: int) -> list[Contender]:
    """One call is one picture answered."""
    sizes = [(side, side)] * len(images)
    other = deepcopy(theirs).eval()

    def torchvisions() -> int:
        with torch.inference_mode():
            maps = other.backbone(images)
            boxes, _ = other.rpn(ImageList(images, sizes), maps)
            other.roi_heads(maps, boxes, sizes)
        return sum(map(len, boxes))

    plain, fast = for_inference(ours, CPU, "float32"), for_inference(ours, CPU, "bfloat16")
    own = torch.tensor(sizes)
    calls: dict[str, Callable[[], object]] = {
        BASE: torchvisions,
        "torchvision, bfloat16 autocast": _autocast(torchvisions),
        "ours, float32": lambda: plain(images, own),
        "ours, bfloat16": lambda: fast(images, own),
    }
    print(f"{torchvisions()} proposals")
    return [Contender(name, call, len(images)) for name, call in calls.items()]


def training(ours: DetectorNetwork, theirs: FasterRCNN, batch: Batch, side: int) -> list[Contender]:
    """One call is one step."""
    sizes = [(side, side)] * len(batch)
    other = deepcopy(theirs).train().requires_grad_(True)
    for part in (other.backbone.body.conv1, other.backbone.body.layer1):
        part.requires_grad_(False)
    targets = [{"boxes": boxes.corners, "labels": boxes.classes + 1} for boxes in batch.targets]

    def torchvisions() -> Tensor:
        maps = other.backbone(batch.images)
        boxes, first = other.rpn(ImageList(batch.images, sizes), maps, targets)
        _, second = other.roi_heads(maps, boxes, sizes, targets)
        return torch.stack([*first.values(), *second.values()]).sum()

    own = deepcopy(ours).to(memory_format=torch.channels_last)
    freeze(own, ("stem", "stage1"))
    laid = replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))
    calls = {
        BASE: _step(other, torchvisions),
        "torchvision, bfloat16 autocast": _step(other, _autocast(torchvisions)),
        "ours, float32": _step(own, lambda: loss(own, laid)[0]),
        "ours, bfloat16 autocast": _step(own, _autocast(lambda: loss(own, laid)[0])),
    }
    return [Contender(name, call, len(batch)) for name, call in calls.items()]


def _step(network: nn.Module, value: Callable[[], Any]) -> Callable[[], object]:
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(learnt, lr=1e-9, momentum=0.9, weight_decay=1e-4)

    def call() -> None:
        value().backward()
        optimiser.step()
        optimiser.zero_grad()

    return call


def _autocast(call: Callable[[], Any]) -> Callable[[], Any]:
    def within() -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return call()

    return within


def main() -> None:
    """Measure answers and steps, print the tables, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=400)
    parser.add_argument("--proposals", type=int, default=300, help="after suppression; twice as many in training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--tiny", action="store_true", help="a small network: does the program work?")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    ours, theirs = pair(given.proposals, given.tiny)
    facts = protocol.claim(
        f"fasterrcnn_resnet50_fpn at {given.side} px, {given.proposals} proposals: ours and torchvision's",
        CPU,
        given.rounds,
        clock=given.clock,
        wanted={"answers, ours as it answers": 1.8, "step, ours float32": 1.15, "step, ours bfloat16": 1.5},
        rows={},
    )
    one, two = pictures(1, given.side), pictures(2, given.side)
    for name, contenders in (
        ("answers, batch 1", lambda: answering(ours, theirs, one[0], given.side)),
        ("training step, batch 2", lambda: training(ours, theirs, two[1], given.side)),
    ):
        found = contenders()
        seconds = protocol.measure(found, given.rounds, clock=given.clock)
        facts["rows"][name] = protocol.rows(found, seconds, base=BASE)
        print(protocol.table(f"{name}, times as fast as {BASE}", facts["rows"][name]), flush=True)
    facts["load_after"] = round(os.getloadavg()[0], 2)
    protocol.write(facts, given.output)


if __name__ == "__main__":
    main()
