"""The detectors of He et al. 2015, appendix A, trained in four stages as there; where the paper is silent, we say so.

Proposals and regions learn in turn (Ren et al. 2015, section 3.2; `recipes/stages.py`), as `train.turns` says; with
`train.joint=true` both learn in every step, from the sum of their losses. What the paper inherits from Faster R-CNN is
taken from there: short side 600 px, anchors of 8, 16 and 32 times 16 px and three ratios, those that cross the border
not drawn; 256 anchors of a picture, 128 regions, a quarter of them positive.

Ours, for the papers do not state it: where smooth L1 bends (1/9 of proposals, 1 of regions, as py-faster-rcnn), 12,000
and 6,000 proposals before they are thinned (as there), 14 x 14 bins before stage 4, no part of the backbone that stands
still, mirrors as the only augmentation, the mean and spread of the weights' own pictures.
"""

from deepres.arch.catalogue.lookup import DETECTORS, detector_entry, entry
from deepres.arch.detector import DetectorConfig, frozen
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts
from deepres.data.sources.config import DataConfig
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.recipes.run import Run
from deepres.tasks.kinds import DEFAULT_TASK, task_for
from deepres.train.config import SgdConfig, TrainConfig, TurnConfig, TurnsConfig
from deepres.train.schedules import ScheduleConfig

USUAL = "fasterrcnn_resnet101_c4"


def voc_2015(facts: DatasetFacts, model: str | None = None) -> Run:
    """Appendix A, PASCAL VOC: Faster R-CNN on ResNet-101, in turn 80,000 steps of proposals and 60,000 of regions.

    Command   deepres train VOC0712 --recipe voc_2015 --weights RESNET101
    Hardware  one GPU of 16 GB
    Expected  AP at an overlap of .5 on VOC 2007's test pictures 76.4 % (07+12), Table 7
    Source    trained on train and val of 2007 and 2012 (data.trainval), measured on 2007's test: give the folder that
              holds VOC2007 and VOC2012, each with its lists in ImageSets/Main. The paper
              does not say how long it trains on VOC: Faster R-CNN's 60,000 steps at 1e-3 and 20,000 at 1e-4 of
              one picture for proposals, 30,000 and 30,000 of two for regions (its solvers are called 60k80k and
              30k60k), weight decay of 5e-4. 128 regions of each picture (ours; there of the two together). At once: as
              proposals, of two pictures. Nor does it say how AP is counted: 11 recalls here, as VOC 2007 does.
    """
    turns = TurnsConfig(
        proposals=TurnConfig(iterations=80_000, batch_size=1, milestones=(0.75,)),
        regions=TurnConfig(iterations=60_000, batch_size=2, milestones=(0.5,)),
    )
    return _run("voc_2015", facts, model, "voc07", TrainConfig(iterations=80_000, batch_size=2, turns=turns), 5e-4)


def coco_2015(facts: DatasetFacts, model: str | None = None) -> Run:
    """Appendix A, COCO: as `voc_2015`, each in turn for 240,000 steps at 1e-3 and 80,000 at 1e-4.

    Command   deepres train COCO2014 --recipe coco_2015 --weights RESNET101
    Hardware  eight GPUs with 2 pictures each, as in the paper
    Expected  AP at an overlap of .5 on val 48.4 %, AP 27.2 %, Table 8
    Source    steps of 8 pictures where proposals learn, of 16 where regions do (at once: of 16). Weight decay is not
              stated: 1e-4, the classification networks'.
    """
    return _run("coco_2015", facts, model, "coco", _of_coco(), 1e-4)


def det_2015(facts: DatasetFacts, model: str | None = None) -> Run:
    """Appendix B, objects of ImageNet (DET): as `coco_2015`, 200 classes; train and val1 are learnt, val2 is measured.

    Command   deepres train ILSVRC_DET --recipe det_2015 --weights RESNET101
    Hardware  eight GPUs with 2 pictures each
    Expected  AP at an overlap of .5 on val2 60.5 % with refinement, context and several scales, Table 12
    Source    XML with WordNet's numbers, which map_det.txt in the source names. Steps and rates are COCO's, as is
              said; AP is the area below precision at an overlap of .5 (ours). Lists of train with val1 and of val2 are
              text files, ImageSets/Main/train.txt and test.txt.
    """
    return _run("det_2015", facts, model, "voc", _of_coco(), 1e-4)


def _of_coco() -> TrainConfig:
    turns = TurnsConfig(
        proposals=TurnConfig(iterations=320_000, batch_size=8, milestones=(0.75,)),
        regions=TurnConfig(iterations=320_000, batch_size=16, milestones=(0.75,)),
    )
    return TrainConfig(iterations=320_000, batch_size=16, turns=turns)


def _run(
    name: str,
    facts: DatasetFacts,
    model: str | None,
    measure: str,
    length: TrainConfig,
    weight_decay: float,
) -> Run:
    begin, config = facts.beginning, _detector(facts, model)
    return Run(
        recipe=name,
        data=DataConfig(source=facts.source, val_fraction=0, workers=2, trainval=measure == "voc07"),
        task=task_for("boxes", DEFAULT_TASK).replace(measure=measure),
        model=config,
        augmentation=Augmentation(crop="whole", scale=(600, 600), flip=0.5),
        preparation=Preparation(
            channels=facts.channels,
            fit="sides",
            resize=600,
            longest=1000,
            multiple=32 if config.neck == "fpn" else 16,
            interpolation="bilinear" if begin is None else begin.preparation.interpolation,
            normalise="per_channel",
        ),
        train=length.replace(
            joint=False,
            optimizer=SgdConfig(momentum=0.9, weight_decay=weight_decay),
            schedule=ScheduleConfig(kind="steps", lr=1e-3, milestones=(0.75,)),
        ),
        select="last",
    ).begun_with(begin)


def _detector(facts: DatasetFacts, model: str | None) -> DetectorConfig:
    """The paper's C4 on the network that is named or whose weights are given; without weights norms are of groups."""
    begin = facts.beginning
    if model is not None and (found := detector_entry(model)) is not None:
        config = found.config
    elif model is not None:
        entry(model)  # a name that no network has is refused with the nearest
        raise InputError(f"--model {model}: names classes of whole pictures; wanted a detector, such as {USUAL}")
    elif begin is not None and isinstance(begin.model, DetectorConfig):
        return begin.model
    else:
        config = DETECTORS[USUAL].config
        if begin is not None:
            if not isinstance(begin.model, ResNetConfig):
                raise InputError(f"--weights of {begin.model.name}: a detector stands on a ResNet; take weights of one")
            config = config.replace(name=f"fasterrcnn_{begin.model.name}_c4", backbone=frozen(begin.model))
    if begin is None:
        config = config.replace(backbone=config.backbone.replace(style=config.backbone.style.replace(norm="group")))
    return config.replace(regions=config.regions.replace(pooled="max", knee=1.0))
