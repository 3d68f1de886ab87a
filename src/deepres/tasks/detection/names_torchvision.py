"""torchvision's detectors: their names of tensors and ours, both ways; which network a file of theirs is.

Its column 0 is the background's too, so the columns of classes are ours; column c + 1 is called by category c + 1.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from deepres.arch.architecture import feature_shapes
from deepres.arch.atoms import Norm
from deepres.arch.catalogue.lookup import DETECTORS
from deepres.arch.detector import Detector, DetectorConfig, atoms_of, frozen
from deepres.arch.regions import MaskHead
from deepres.base.errors import InputError
from deepres.nn.weights.convert import conventions_for, names_in

COCO_V1 = ("258fb6c6", "bf2d0c1e")
"""How the digests of torchvision's trained fasterrcnn_ and maskrcnn_resnet50_fpn begin: norms of an eps of 0."""

_BEFORE_2 = re.compile(r"(.*\.(?:inner|layer)_blocks\.\d+|rpn\.head\.conv)\.(weight|bias)")
"""What torchvision before 0.13 called layers that lie in sequences since."""
_MASKS_BEFORE_2 = re.compile(r"roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)")
_HEADS = {
    "proposals.conv.conv": "rpn.head.conv.0.0",
    "proposals.objectness": "rpn.head.cls_logits",
    "proposals.deltas": "rpn.head.bbox_pred",
    "regions.head.fc1": "roi_heads.box_head.fc6",
    "regions.head.fc2": "roi_heads.box_head.fc7",
    "masks.head.conv1": "roi_heads.mask_head.0.0",
    "masks.head.conv2": "roi_heads.mask_head.1.0",
    "masks.head.conv3": "roi_heads.mask_head.2.0",
    "masks.head.conv4": "roi_heads.mask_head.3.0",
    "masks.head.up": "roi_heads.mask_predictor.conv5_mask",
    "masks.classes": "roi_heads.mask_predictor.mask_fcn_logits",
    "regions.classes": "roi_heads.box_predictor.cls_score",
    "regions.boxes": "roi_heads.box_predictor.bbox_pred",
}


def is_torchvisions(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensors have the names of a detector of torchvision's."""
    return all(any(name.startswith(part) for name in tensors) for part in ("backbone.body.", "rpn.head.", "roi_heads."))


def names(detector: Detector) -> dict[str, str]:
    """Our name of each tensor -> torchvision's. Parts that are computed for each region lie in its `box_head`."""
    per_region = {name for name, _ in detector.per_region}
    found = {}
    for ours, theirs in names_in("torchvision", detector.backbone).items():
        part = "roi_heads.box_head" if ours.partition(".")[0] in per_region else "backbone.body"
        found[ours] = f"{part}.{theirs}"
    modules = dict(_HEADS)
    for number in range(1, len(detector.taps) + 1 if detector.neck == "fpn" else 1):
        modules[f"neck.lateral{number}"] = f"backbone.fpn.inner_blocks.{number - 1}.0"
        modules[f"neck.output{number}"] = f"backbone.fpn.layer_blocks.{number - 1}.0"
    there = {f"regions.head.fc{number}" for number in range(1, len(detector.regions.widths) + 1)}
    if detector.masks is not None:
        convolutions = {f"masks.head.conv{number}" for number in range(1, len(detector.masks.widths) + 1)}
        there |= {*convolutions, "masks.head.up", "masks.classes"}
    for ours, theirs in modules.items():
        if not ours.startswith(("regions.head.", "masks.")) or ours in there:
            found |= {f"{ours}.{leaf}": f"{theirs}.{leaf}" for leaf in ("weight", "bias")}
    return found


def to_ours(tensors: Mapping[str, Tensor], detector: Detector) -> dict[str, Tensor]:
    """torchvision's tensors under our names, those of its older names too; strangers keep theirs."""
    ours_of = {theirs: ours for ours, theirs in names(detector).items()}
    found = {}
    for given, tensor in tensors.items():
        name = _today(given)
        if not name.endswith(".num_batches_tracked"):
            found[ours_of.get(name, given)] = tensor
    return found


def to_theirs(tensors: Mapping[str, Tensor], detector: Detector) -> dict[str, Tensor]:
    """Our tensors under torchvision's names: `load_state_dict` of its network takes them."""
    theirs_of = names(detector)
    return {theirs_of[name]: tensor for name, tensor in tensors.items()}


def returned(tensors: Mapping[str, Tensor], detector: Detector) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """A state that torchvision's Faster R-CNN loads, be its norms frozen or not; and what it has to be told beside.

    Raises:
        InputError: it has no such detector.
    """
    if detector.masks is not None and detector.masks.widths != MaskHead().widths:
        raise InputError(f"{detector.name}: torchvision has no such masks, only those of four 3x3 of 256")
    norms = [node for _, part in detector.body for node in atoms_of(part) if isinstance(node, Norm)]
    if detector.neck != "fpn" or "torchvision" not in conventions_for(detector.backbone):
        raise InputError(f"{detector.name}: torchvision has no such detector, only pyramids on its own ResNets")
    if detector.context:
        raise InputError(f"{detector.name}: looks at the whole picture beside each region, torchvision's do not")
    if any(norm.method == "group" for norm in norms):
        raise InputError(f"{detector.name}: norms of groups, and torchvision's detectors have those of batches")
    theirs = to_theirs(tensors, detector)
    counts = {f"{name.removesuffix('running_var')}num_batches_tracked" for name in theirs if "running_var" in name}
    eps = {norm.eps for norm in norms} - {1e-5}
    usual, own = DETECTORS[f"{'mask' if detector.masks else 'faster'}rcnn_resnet50_fpn"].config, detector
    told = [f"num_classes={detector.num_classes + 1} there, the background being the first"]
    told += [f"norms of eps {', '.join(f'{one:g}' for one in eps)}: give norm_layer, or overwrite_eps"] if eps else []
    if detector.regions.aligned:
        told.append("regions are shifted by half a pixel here and not there, so boxes will differ a little")
    for name in ("anchors", "proposals", "regions", *(["masks"] if detector.masks is not None else [])):
        here, there = getattr(own, name), getattr(usual, name)
        changed = {field: value for field, value in here if value != getattr(there, field) and field != "aligned"}
        told += [
            f"model.{name}.{field} is {value}, not torchvision's {getattr(there, field)}"
            for field, value in changed.items()
        ]
    return theirs | {name: torch.tensor(0) for name in sorted(counts)}, tuple(told)


def config_of(tensors: Mapping[str, Tensor], where: str, digest: str = "") -> DetectorConfig:
    """The detector that torchvision's tensors are of: regions not shifted by half a pixel, eps of 0 by the digest.

    Raises:
        InputError: it is another detector than Faster R-CNN with a pyramid on a ResNet.
    """
    known = {_today(name): tuple(tensor.shape) for name, tensor in tensors.items()}
    for part, what in _OTHERS.items():
        if any(name.startswith(part) for name in known):
            raise InputError(f"{where}: {what}; wanted torchvision's Faster or Mask R-CNN, a pyramid on a ResNet")
    columns = known.get("roi_heads.box_predictor.cls_score.weight", (0,))[0]
    if columns < 2:
        raise InputError(f"{where}: no roi_heads.box_predictor.cls_score, so no classes; bring the whole state")
    masked = any(name.startswith("roi_heads.mask_") for name in known)
    for name, entry in DETECTORS.items():
        config = entry.config.replace(num_classes=columns - 1)
        if config.neck != "fpn" or config.masks is not None:
            continue
        detector = config.architecture()
        body = {theirs for theirs in names(detector).values() if theirs.startswith("backbone.body.")}
        if body == {name for name in known if name.startswith("backbone.body.") and "num_batches" not in name}:
            channels = feature_shapes(detector.backbone)["stage4"][0]
            if known.get("backbone.fpn.inner_blocks.3.0.weight", (0, 0))[1] == channels:
                name = name.replace("faster", "mask") if masked else name
                return _as_there(config.replace(name=name, masks=MaskHead() if masked else None), digest)
    raise InputError(f"{where}: a backbone that is none of {', '.join(DETECTORS)}; bring the weights of one of them")


def _as_there(config: DetectorConfig, digest: str) -> DetectorConfig:
    trained = digest.startswith(COCO_V1)
    backbone = frozen(config.backbone, eps=0.0) if trained else config.backbone
    masks = None if config.masks is None else config.masks.replace(aligned=False)
    return config.replace(backbone=backbone, regions=config.regions.replace(aligned=False), masks=masks)


_OTHERS = {
    "roi_heads.keypoint_": "a Keypoint R-CNN",
    "rpn.head.conv.1.": "a fasterrcnn_resnet50_fpn_v2, whose heads are convolutions with norms",
    "backbone.body.features.": "a detector on another backbone",
}


def _today(name: str) -> str:
    mask = _MASKS_BEFORE_2.fullmatch(name)
    if mask is not None:
        return f"roi_heads.mask_head.{int(mask[1]) - 1}.0.{mask[2]}"
    old = _BEFORE_2.fullmatch(name)
    if old is None:
        return name
    return f"{old[1]}.{'0.0' if old[1] == 'rpn.head.conv' else '0'}.{old[2]}"


def coco_classes() -> tuple[str, ...]:
    """The 90 categories of torchvision's COCO weights by column; the ten that COCO left out by their numbers."""
    from torchvision.models._meta import _COCO_CATEGORIES

    numbered = enumerate(_COCO_CATEGORIES[1:], start=1)
    return tuple(f"unused {number}" if name == "N/A" else name for number, name in numbered)
