"""The weights that a run begins with: of which network they are, what classes they know, what they want of images."""

from pathlib import Path

from torch import nn

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.entry import ModelConfig
from deepres.arch.catalogue.lookup import config_of, detector_config, entry, eps_of, with_eps
from deepres.arch.detector import Detector
from deepres.base.errors import InputError
from deepres.base.manifest import holds_run
from deepres.data.facts import StartingWeights
from deepres.nn.create import channels_of, classes_of
from deepres.nn.weights.checkpoints import asked_of
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.preprocessing import prepared_for
from deepres.recipes.run import OtherFormatError, Run, load_run
from deepres.tasks.networks import asked_of as told_by_task
from deepres.tasks.task import FirstValues


def first_network(run: Run, classes: tuple[str, ...], weights: str | None) -> tuple[nn.Module, str]:
    """The run's network before its first step, with `weights` or the seed's; and what was done to them, to be read.

    Raises:
        InputError: weights that are not this network's.
    """
    return run.task.network(
        run.model.architecture(), classes, FirstValues(weights, run.variant, run.new_head, run.seed)
    )


def beginning(spec: WeightsSpec | str) -> StartingWeights:
    """What the recipe must know of these weights.

    Raises:
        InputError: no such weights, or a network that is neither named nor said by them.
    """
    spec = WeightsSpec.of(spec)
    weights, variant, mean, std = spec.name, spec.variant, spec.mean, spec.std
    _, stored = told_by_task(find_weights(weights, spec.model))
    if isinstance(stored.description, Detector):
        return _of_detector(spec, stored)
    model = variant if spec.model is None and stored.description is None else spec.model
    config = entry(model).config if model is not None else _config_of(weights)
    if config is None and stored.description is not None:
        config = config_of(stored.description)
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
    elif isinstance(architecture := config.architecture(), Architecture):
        size = (channels_of(stored, architecture), *config.input[1:])
        config = config.replace(num_classes=classes_of(stored, architecture), input=size)
    preparation = prepared_for(stored, config.architecture(), mean, std).preparation
    return StartingWeights(weights, variant, config, stored.classes, preparation, mean, std)


def _of_detector(spec: WeightsSpec, stored: Checkpoint) -> StartingWeights:
    """Of a detector's weights: the run's configuration, or the catalogue's with what the weights say.

    `--variant` (or `--model`) says what bare weights do not: the eps of their norms.
    """
    detector = stored.description
    assert isinstance(detector, Detector)
    config = _config_of(spec.name)
    if config is None:
        said = spec.variant or spec.model
        config = detector_config(detector if said is None else with_eps(detector, eps_of(said, stored.where)))
    if config is None:
        raise InputError(
            f"{spec.name}: its detector ({detector.name}, as it is described there) is none of the catalogue, and only "
            "those are trained on; take weights of one of `deepres models`"
        )
    config = config.replace(num_classes=detector.num_classes)
    preparation = prepared_for(stored, detector, spec.mean, spec.std).preparation
    return StartingWeights(spec.name, spec.variant, config, stored.classes, preparation, spec.mean, spec.std)


def _config_of(weights: str) -> ModelConfig | None:
    """The network of a run, with all that `--set model.…` made of it; None where its weights have to say it."""
    folder = Path(asked_of(weights)[0])
    try:
        return load_run(folder).model if holds_run(folder) else None
    except OtherFormatError:
        return None
