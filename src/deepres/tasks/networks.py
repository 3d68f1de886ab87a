"""Weights of any task -> the task, and its network, ready to be asked."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import detector_entry
from deepres.arch.detector import Detector
from deepres.base.arguments import flag, path_text, whole
from deepres.base.errors import InputError
from deepres.nn import create as nn
from deepres.nn.like_timm import PLACES, LikeTimm, named, placed, require_known, shaped, weights_of
from deepres.nn.weights.checkpoints import ignoring
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights
from deepres.tasks.kinds import DEFAULT_TASK, TASKS, AnyTask, task_in
from deepres.tasks.task import FirstValues, read_in

if TYPE_CHECKING:
    from deepres.nn.build import ResidualNetwork
    from deepres.nn.features import FeatureNetwork
    from deepres.tasks.detection.detector import DetectorNetwork

_WEIGHTS = "a file, a folder, or a name such as resnet50.a1_in1k"


def asked_of(stored: Checkpoint) -> tuple[AnyTask, Checkpoint]:
    """The task of these weights, and the weights with what it can tell of them.

    What stands beside them says it, else the network that they are of; of bare weights it is the field's, one class an
    image.
    """
    if stored.task is not None:
        return read_in(task_in(stored.task, f"{stored.where} task"), Path(stored.where)), stored
    for kind in TASKS.values():
        task: Any = kind()
        known = task.recognised(stored)
        if known.description is not None and task.suits(known.description):
            return task, known
    return DEFAULT_TASK, stored


def create_model(
    model: str | Architecture | Detector,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    weights: str | Path | Checkpoint | None = None,
    variant: str | None = None,
    new_head: bool = False,
    ignore: tuple[str, ...] = (),
    seed: int = 0,
    **options: Unpack[LikeTimm],
) -> "ResidualNetwork | DetectorNetwork | FeatureNetwork":
    """The network of that name or description, initialised as He et al. 2015, or with trained weights.

    A detector's (`fasterrcnn_resnet50_fpn`) is a `DetectorNetwork`: pictures in, boxes out; weights of a classification
    network fill its body.

    >>> import deepres, torch
    >>> network = deepres.create_model("resnet20_cifar", num_classes=7)
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 7])
    >>> deepres.create_model("resnet20_cifar+shortcut=B", weights=None).description.name
    'resnet20_cifar'
    >>> deepres.create_model("resnet50", features_only=True, out_indices=(1, 2, 3, 4)).feature_info.channels()
    [256, 512, 1024, 2048]

    Args:
        model: a name (`deepres.list_models()`) or a description.
        num_classes: number of logits, of a detector classes of objects; 0 gives pooled features; None what the paper
            has, or the weights.
        in_chans: channels of the images; None what the weights have, else the paper (3). Of weights of RGB images the
            first kernels are summed for 1 channel, repeated and scaled for others, as timm does
            (`nn/weights/channels.py`).
        weights: a file, a folder, or a name: timm's (`resnet50.a1_in1k`), torchvision's (`IMAGENET1K_V2`), `hf-hub:…`.
            `FILE::KEY` is one of several sets in a file, such as `last.pth::state_dict_ema`.
        variant: the network that bare weights were trained as, where their names fit several
            (`nn/weights/variants.py`).
        new_head: leave the weights of the classifier behind; it is initialised, for classes of your own.
        ignore: names or patterns of tensors in the file that are none of the network's.
        seed: of the initialisation.
        options: `timm.create_model`'s `pretrained`, `checkpoint_path`, `features_only`, `out_indices`, `output_stride`,
            `drop_path_rate`, `drop_rate`, `global_pool`, `zero_init_last` (`nn/like_timm.py`).

    Raises:
        InputError: an unknown name (the nearest are offered), weights that do not fit or are another variant's.
    """
    require_known(options)
    if isinstance(model, str) and model.startswith(PLACES):
        model, weights, options = placed(model, weights, options)
        new_head = new_head or num_classes not in (None, model.num_classes)
    found = detector_entry(model) if isinstance(model, str) else None
    if found is None and not isinstance(model, Detector):
        if options:
            model, weights, new_head = _like_timm(model, weights, num_classes, new_head, options)
        network = nn.create_model(
            model,
            num_classes=num_classes,
            in_chans=in_chans,
            weights=weights,
            variant=variant,
            new_head=new_head,
            ignore=ignore,
            seed=seed,
        )
        return shaped(network, options)
    if options:
        raise InputError(f"{next(iter(options))}: of networks that name classes; a detector has none, leave it out")
    detector = model if isinstance(model, Detector) else found.config.architecture() if found is not None else None
    assert detector is not None
    if num_classes is not None:
        detector = detector.replace(num_classes=whole(num_classes, "num_classes", 1))
    if in_chans is not None:
        detector = detector.replace(input=(whole(in_chans, "in_chans", 1, 2**16), *detector.input[1:]))
    named = ignoring(str(weights), ignore) if isinstance(weights, str | Path) else weights
    first = FirstValues(named, variant, flag(new_head, "new_head"), whole(seed, "seed", 0, 2**64 - 1))
    task: Any = next(kind for kind in TASKS.values() if kind().suits(detector))()
    found_network: DetectorNetwork = task.network(detector, (), first)[0]
    return found_network


def _like_timm(
    model: str | Architecture,
    weights: str | Path | Checkpoint | None,
    num_classes: int | None,
    new_head: bool,
    options: LikeTimm,
) -> tuple[str | Architecture, str | Path | Checkpoint | None, bool]:
    """Network, weights and whether the head is new, by timm's words: `pretrained` with other classes has a new head."""
    given = weights if weights is not None else options.get("checkpoint_path") or options.get("pretrained")
    if given and options.get("zero_init_last"):
        raise InputError("zero_init_last: of a network without weights, which have their own; leave one of them out")
    if isinstance(model, str):
        model, weights = weights_of(model, weights, options)
        model = named(model, options)
    elif changed := [name for name in ("pretrained", "drop_path_rate", "drop_rate") if options.get(name)]:
        raise InputError(f"{changed[0]}: of a network by its name; given a description, which says it itself")
    if not options.get("pretrained") or num_classes is None or not isinstance(weights, str):
        return model, weights, new_head
    stored = find_weights(weights)
    known = stored.description.num_classes if stored.description is not None else num_classes
    return model, stored, new_head or known != num_classes


def load(weights: str | PathLike[str]) -> "ResidualNetwork | DetectorNetwork":
    """The trained network of a run folder, or of weights by name, in evaluation mode.

    >>> import deepres
    >>> network = deepres.load("runs/digits-1")
    >>> network.description.input, network.num_classes, network.training
    ((1, 16, 16), 10, False)

    Raises:
        InputError: weights that do not say which network they are of.
    """
    task, stored = asked_of(find_weights(path_text(weights, "weights", _WEIGHTS)))
    if stored.description is None:
        raise InputError(f"{stored.where}: does not say which network it is of; use create_model(NAME, weights=…)")
    network: Any = task.network(stored.description, (), FirstValues(stored))[0]
    network.eval()
    return network  # type: ignore[no-any-return]
