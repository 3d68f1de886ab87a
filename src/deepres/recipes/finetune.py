"""The recipe that begins with trained weights: a head fitted to the user's classes first, then all parts."""

from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.manifest import holds_run
from deepres.data.sources import DataConfig
from deepres.data.transforms import Augmentation
from deepres.nn.checkpoints import asked_of
from deepres.nn.create import channels_of, classes_of
from deepres.nn.hub import find_weights
from deepres.recipes.run import Beginning, Facts, Run, load_run
from deepres.serve.preprocessing import prepared_for
from deepres.spec.catalogue import CATALOGUE, entry
from deepres.spec.difference import difference
from deepres.spec.entry import Config
from deepres.train.loop import TrainConfig
from deepres.train.optimise import SgdConfig
from deepres.train.schedules import ScheduleConfig


def finetune(facts: Facts, model: str | None = None) -> Run:  # noqa: ARG001 - the weights say which
    """One's own images on trained weights: a head fitted to their features, then all parts at one low rate.

    The new head is no noise that the first steps must undo: norm statistics are averaged over 256 of these images, and
    the head begins as the logistic regression of the features that follow (`recipes/head.py`), at the cost of a third
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
        augmentation, rate = Augmentation(crop="pad", pad=max(1, side // 8), flip=0.5), 0.02
    else:
        augmentation, rate = Augmentation(crop="random_resized", area=(0.35, 1.0), flip=0.5), 0.005
    return Run(
        recipe="finetune",
        data=DataConfig(source=facts.source, workers="auto"),
        model=begin.model,
        augmentation=augmentation,
        preparation=begin.preparation,
        weights=begin.weights,
        variant=begin.variant,
        weights_mean=begin.mean,
        weights_std=begin.std,
        new_head=begin.classes != facts.classes,
        statistics="weights",
        train=TrainConfig(
            epochs=15,
            batch_size=32,
            sgd=SgdConfig(momentum=0.9, weight_decay=1e-4, nesterov=True),
            schedule=ScheduleConfig(kind="cosine", rate=rate),
            fit_head=begin.classes != facts.classes,
        ),
    )


def beginning(
    weights: str,
    model: str | None = None,
    variant: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Beginning:
    """What the recipe must know of the weights of that path or name; `model` says of which network bare ones are.

    `mean` and `std` are those of the images that bare ones were trained on.

    Raises:
        InputError: no such weights, or a network that is neither named nor said by them.
    """
    stored = find_weights(weights, model)
    model = variant if model is None and stored.description is None else model
    config = entry(model).config if model is not None else _config_of(weights)
    if config is None and stored.description is not None:
        config = next((e.config for n, e in CATALOGUE.items() if n == stored.description.name), None)
        if config is not None and difference(config.network(), stored.description) is not None:
            config = None
    if config is None and model is None and stored.description is not None:
        raise InputError(
            f"{weights}: its network ({stored.description.name}, as it is described there) is none of the catalogue, "
            "and only those are trained on; take weights of one of `deepres models`"
        )
    if config is None:
        raise InputError(f"{weights}: does not say of which network of the catalogue it is; name it with --model")
    description = stored.description
    if description is not None:
        config = config.replace(num_classes=description.num_classes, input=description.input)
    else:
        network = config.network()
        size = (channels_of(stored, network), *config.input[1:])
        config = config.replace(num_classes=classes_of(stored, network), input=size)
    preparation = prepared_for(stored, config.network(), mean, std).preparation
    return Beginning(weights, variant, config, stored.classes, preparation, mean, std)


def _config_of(weights: str) -> Config | None:
    """The network of a run, with all that `--set model.…` made of it."""
    folder = Path(asked_of(weights)[0])
    return load_run(folder).model if holds_run(folder) else None
