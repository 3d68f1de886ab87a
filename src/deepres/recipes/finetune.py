"""The recipe that begins with trained weights: a head fitted to the user's classes first, then all parts."""

from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts
from deepres.data.sources.config import DataConfig
from deepres.data.transforms.config import Augmentation
from deepres.recipes.run import Run
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.schedules import ScheduleConfig


def finetune(facts: DatasetFacts, model: str | None = None) -> Run:  # noqa: ARG001 - the weights say which
    """One's own images on trained weights: a head fitted to their features, then all parts at one low rate.

    The new head is no noise that the first steps must undo: norm statistics are averaged over 256 of these images, and
    the head begins as the logistic regression of the features that follow (`runs/head.py`), at the cost of a third
    of an epoch. Then everything learns by SGD along a cosine from 0.005, or 0.02 in networks for images of at most
    40 px; the head slower where features are long.
    Images are prepared as the weights want it. Classes that the weights know keep their head.

    Measured in `evidence/recipe_choices.json`. Tried and thrown out (`docs/log.md`): a head of noise that learns alone
    for a fifth of the run, label smoothing, slower early parts, a warm-up, norm statistics that stand still, other
    rates.

    Command   deepres train path/to/photos --weights resnet50.a1_in1k
    Hardware  two cores: minutes for small networks and some thousand pictures; a GPU for resnet50
    Expected  depends on pictures and weights: see evidence/photos.json
    Source    ours; that a fitted head keeps the features whole: Kumar et al. 2022
    """
    begin = facts.beginning
    if begin is None:
        raise InputError("recipe finetune: begins with trained weights; give them: --weights RUN, a file, or a name")
    side = begin.preparation.size or begin.model.input[1]
    if side <= 40:
        augmentation, lr = Augmentation(crop="pad", pad=max(1, side // 8), flip=0.5), 0.02
    else:
        augmentation, lr = Augmentation(crop="random_resized", area=(0.35, 1.0), flip=0.5), 0.005
    return Run(
        recipe="finetune",
        data=DataConfig(source=facts.source, workers="auto"),
        model=begin.model,
        augmentation=augmentation,
        preparation=begin.preparation,
        new_head=begin.classes != facts.classes,
        train=TrainConfig(
            epochs=15,
            batch_size=32,
            optimizer=SgdConfig(momentum=0.9, weight_decay=1e-4, nesterov=True),
            schedule=ScheduleConfig(kind="cosine", lr=lr),
            fit_head=begin.classes != facts.classes,
        ),
    ).begun_with(begin)
