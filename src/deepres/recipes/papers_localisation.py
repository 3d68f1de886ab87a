"""The localisation networks of He et al. 2015, appendix C, in two stages; where the paper is silent, we say so.

Learnt as there: one region proposal network that says of each class whether it is there and where, on crops of 224 px
drawn as for classification, 256 pictures a step, 8 anchors of each picture, as many positive as negative. The classes
that boxes are guessed of are those of a classification network (`task.classifier`): of the one whose weights the run
begins with, if it knows the same classes. A run that begins with such a network's weights is the second stage: a
per-class R-CNN among the 200 likeliest boxes of a picture's class, each cut out and stretched to 224 px.

Ours, for the paper does not state it: how long it learns and at which rates; that anchors (8, 16 and 32 times 16 px in
three ratios, as Faster R-CNN's) stand on the last map, 32 px apart, also where they cross the border of the crop, which
hardly any of them do not; positive from an IoU of .7 or as an object's best and negative below .3, as there, negatives
in the place of positives that are not there; that an anchor teaches the scores of all classes, and offsets those of its
own; where smooth L1 bends (1/9); weight decay; norms that stay as the weights brought them; which of its boxes a class
is given (the one of the highest score). Of the second stage: that its body begins as that of the first, from whose
picture of a short side of 256 px regions are cut; that the 200 boxes are not thinned, and one of them, drawn uniformly,
is learnt each time that a picture is shown, as the picture's class from an IoU of .5 on; offsets times 10, 10, 5, 5.
"""

from deepres.arch.catalogue.lookup import entry
from deepres.arch.detector import frozen
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.localiser import LocaliserConfig, on
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts
from deepres.data.sources.config import DataConfig
from deepres.data.transforms import config as transforms
from deepres.data.transforms.config import Augmentation
from deepres.recipes.run import Run
from deepres.tasks.localisation.task import Localising
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.schedules import ScheduleConfig

OF_BOXES = ("loc_2015",)
"""Recipes that learn boxes of images whose folders are classes: these are read for boxes (`data.targets`)."""
USUAL = "resnet101_v1"
SHORT = 256
"""The short side in px of pictures that regions are cut from."""


def loc_2015(facts: DatasetFacts, model: str | None = None) -> Run:
    """Appendix C, ImageNet: a per-class RPN on ResNet-101, 80,000 steps of 256 crops; `--model` names its backbone.

    With `--weights` of such a run: a per-class R-CNN among its proposals, as long.

    Command   deepres train path/to/imagenet --recipe loc_2015 --weights RESNET101; … --weights RPN
    Hardware  eight GPUs with 32 images each
    Expected  error of the box given the true class 13.3 % of the centre crop, 11.7 % densely (--protocol dense), top-5
              localisation error 14.4 % densely, with the classes of ResNet-101; 10.6 % by the R-CNN; Table 13
    Source    a folder in ImageNet's layout with LOC_train_solution.csv and LOC_val_solution.csv. 60,000 steps at 1e-3
              and 20,000 at 1e-4: ours, as Faster R-CNN's of proposals.
    """
    augmentation, preparation = transforms.imagenet_2015()
    begin = facts.beginning
    if begin is not None and begin.preparation.fit == "crop":
        preparation = begin.preparation
    known = begin is not None and isinstance(begin.model, ResNetConfig) and bool(begin.classes)
    named = begin is not None and known and set(facts.classes) <= set(begin.classes)
    task = Localising(classifier=begin.weights if begin is not None and named else None)
    if begin is not None and isinstance(begin.model, LocaliserConfig) and begin.model.anchors:
        task = Localising(proposer=begin.weights)
        augmentation = Augmentation(crop="whole", scale=(SHORT, SHORT), flip=0.5, colour_pca=augmentation.colour_pca)
        whole = {"fit": "sides", "resize": SHORT, "longest": 4 * SHORT, "multiple": 32, "crop": None}
        preparation = preparation.replace(**whole)
    return Run(
        recipe="loc_2015",
        data=DataConfig(source=facts.source, val_fraction=0, decode="full", workers=2, targets="boxes"),
        task=task,
        model=_localiser(facts, model),
        augmentation=augmentation if facts.channels == 3 else augmentation.replace(colour_pca=0.0),
        preparation=preparation.replace(channels=facts.channels),
        train=TrainConfig(
            iterations=80_000,
            batch_size=256,
            optimizer=SgdConfig(momentum=0.9, weight_decay=1e-4),
            schedule=ScheduleConfig(kind="steps", lr=1e-3, milestones=(0.75,)),
        ),
        select="last",
    ).begun_with(begin)


def _localiser(facts: DatasetFacts, model: str | None) -> LocaliserConfig:
    begin = facts.beginning
    anchors = Localising().anchors.number
    if begin is not None and isinstance(begin.model, LocaliserConfig):
        return on(begin.model.backbone, 0) if begin.model.anchors else begin.model
    if begin is not None:
        if not isinstance(begin.model, ResNetConfig):
            raise InputError(f"--weights of {begin.model.name}: a localiser stands on a ResNet; take weights of one")
        return on(frozen(begin.model), anchors)
    backbone = entry(model or USUAL).config
    if not isinstance(backbone, ResNetConfig):
        raise InputError(f"--model {model}: a localiser stands on a ResNet; name one, such as {USUAL}")
    return on(backbone, anchors)
