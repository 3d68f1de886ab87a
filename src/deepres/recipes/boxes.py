"""The recipes for boxes, and for masks: a detector on a trained backbone, or a small one from nothing."""

from deepres.arch.catalogue.lookup import DETECTORS, detector_entry, entry
from deepres.arch.detector import DetectorConfig, frozen
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.regions import Anchors, MaskHead, Regions
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts
from deepres.data.sources.config import DataConfig
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.recipes.run import Run
from deepres.tasks.kinds import DEFAULT_TASK, task_for
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.schedules import ScheduleConfig

SHORT, LONG = 400, 667
"""Sides in px to which larger pictures are brought; smaller ones keep their short side."""
SMALL = 160
"""Up to this short side in px pictures are small: what is on them may be another thing in the mirror."""
USUAL = "fasterrcnn_resnet50_fpn"
NARROW = 64
"""Channels of a neck up to which masks are drawn by two layers as narrow."""


def boxes(facts: DatasetFacts, model: str | None = None) -> Run:
    """Boxes of objects: Faster R-CNN with a pyramid, its backbone as the weights brought it, 12 epochs of SGD.

    With `--weights` of a classification network these fill the body, whose norms are constants from the first step on
    and whose stem and first stage stand still; a detector's weights fill all of it, but for a head of masks. Without
    weights norms are of groups and all learns. Pictures are brought to a short side of 320 to 400 px, drawn anew each
    time, the long one to 667 at most, and mirrored; small ones (up to 160 px) keep their size and are not. The rate
    rises for a tenth of the run and falls along a cosine.

    Command   deepres train path/to/boxes --weights resnet50.a1_in1k; deepres train digit-scenes
    Hardware  digit-scenes: two cores, minutes; photographs: an hour on two cores, minutes on a GPU
    Expected  see evidence/
    Source    ours, after Lin et al. 2017 and torchvision's references
    """
    run = _of_boxes(facts, model)
    config = run.model
    if model is not None or not isinstance(config, DetectorConfig) or config.masks is None:
        return run
    return run.replace(model=config.replace(name=config.name.replace("mask", "faster", 1), masks=None))


def _of_boxes(facts: DatasetFacts, model: str | None) -> Run:
    """`boxes`, of a detector that draws masks where the weights' own does."""
    small, begin = facts.side <= SMALL, facts.beginning
    short = min(SHORT, facts.side) if small else SHORT
    longest = round(short * LONG / SHORT)
    config = _detector(facts, model, small=small)
    trained = begin is not None
    lr, batch_size = (0.005, 2) if trained else (0.02, 8) if small else (0.005, 2)
    augmentation = Augmentation() if small else Augmentation(crop="whole", scale=(short * 4 // 5, short), flip=0.5)
    return Run(
        recipe="boxes",
        data=DataConfig(source=facts.source, workers=0 if small else 1),
        model=config,
        augmentation=augmentation,
        preparation=Preparation(
            channels=facts.channels,
            fit="sides",
            resize=short,
            longest=longest,
            multiple=32 if config.neck == "fpn" else 16,
            interpolation="bilinear" if begin is None else begin.preparation.interpolation,
            normalise="per_channel" if begin is None else begin.preparation.normalise,
        ),
        train=TrainConfig(
            epochs=12,
            batch_size=batch_size,
            optimizer=SgdConfig(momentum=0.9, weight_decay=1e-4),
            schedule=ScheduleConfig(kind="cosine", lr=lr, warmup_fraction=0.1),
            clip_norm=10.0,
            frozen=("stem", "stage1") if trained else (),
        ),
    ).begun_with(begin)


def masks(facts: DatasetFacts, model: str | None = None) -> Run:
    """Boxes and masks of objects: as `boxes`, with Mask R-CNN's head (He et al. 2017); mask AP chooses the epoch.

    Weights of a detector without masks fill all but the new head.

    Command   deepres train path/to/polygons --weights resnet50.a1_in1k
    Hardware  two cores: about as boxes; photographs want a GPU
    Expected  see evidence/masks_fruits.json
    Source    ours, after He et al. 2017 and torchvision's references
    """
    run = _of_boxes(facts, model)
    config = run.model
    if isinstance(config, DetectorConfig) and config.masks is None:
        width = config.neck_channels
        narrow = MaskHead(widths=(width, width), upsampled=width)
        pyramid = narrow if width <= NARROW else MaskHead()
        head = pyramid if config.neck == "fpn" else MaskHead(pool=28, widths=())
        config = config.replace(name=config.name.replace("faster", "mask"), masks=head)
    return run.replace(recipe="masks", model=config, task=task_for("boxes", DEFAULT_TASK).replace(measure="masks"))


def _detector(facts: DatasetFacts, model: str | None, *, small: bool) -> DetectorConfig:
    begin = facts.beginning
    if model is not None and (found := detector_entry(model)) is not None:
        return found.config if begin is not None else _from_nothing(found.config)
    if begin is not None and isinstance(begin.model, DetectorConfig):
        return begin.model
    if begin is not None:
        return _on(begin.model.name, begin.model)
    if model is not None:
        entry(model)  # a name that no network has is refused with the nearest
        raise InputError(
            f"--model {model}: names classes of whole pictures, and these have boxes; wanted a detector, such as "
            f"{USUAL} (deepres models 'fasterrcnn*' lists them)"
        )
    return _small() if small else _from_nothing(DETECTORS[USUAL].config)


def _on(name: str, backbone: object) -> DetectorConfig:
    """A pyramid on that network."""
    if not isinstance(backbone, ResNetConfig):
        raise InputError(f"--weights of {name}: a detector stands on a residual network; take weights of a ResNet")
    return DETECTORS[USUAL].config.replace(name=f"fasterrcnn_{name}_fpn", backbone=frozen(backbone))


def _from_nothing(config: DetectorConfig) -> DetectorConfig:
    """With norms of groups: constants that no weights brought would be none at all."""
    backbone = config.backbone
    return config.replace(backbone=backbone.replace(style=backbone.style.replace(norm="group")))


def _small() -> DetectorConfig:
    """For small pictures: half as wide, and with anchors half as large."""
    config = _from_nothing(DETECTORS["fasterrcnn_resnet18_fpn"].config)
    backbone = config.backbone.replace(name="resnet18", stem_width=32, widths=(32, 64, 128, 256))
    style = backbone.style.replace(norm_groups=8)
    return config.replace(
        name="fasterrcnn_resnet18_fpn_small",
        backbone=backbone.replace(style=style),
        neck_channels=64,
        anchors=Anchors(sizes=((16,), (32,), (64,), (128,), (256,))),
        proposals=config.proposals.replace(
            sampled=128, before_train=500, before_test=500, after_train=200, after_test=200
        ),
        regions=Regions(widths=(256,), sampled=64),
    )
