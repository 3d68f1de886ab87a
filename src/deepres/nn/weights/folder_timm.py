"""A folder that timm wrote: its config.json -> network, classes, preprocessing."""

from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import Any

from deepres.arch.architecture import with_activation, with_classes, with_input
from deepres.arch.catalogue import lookup
from deepres.base.errors import InputError
from deepres.base.normalisation import NAMED
from deepres.base.records import build
from deepres.nn.weights.convert import TIMM
from deepres.nn.weights.fields import Fields
from deepres.nn.weights.formats import CONFIG, Checkpoint, Preprocessing, real_names

_ABOUT = "it tells of the file, not of the network"
_FOLLOWS = "it follows from the network"
_TRAINING = "it acts in training, or before it"
_HARMLESS = {
    **dict.fromkeys(("num_features", "classifier", "first_conv", "pool_size", "test_pool_size"), _FOLLOWS),
    **dict.fromkeys(("min_input_size", "fixed_input_size"), "the input has the size that input_size says"),
    **dict.fromkeys(("label_descriptions", "license", "description", "origin_url", "paper_name", "paper_ids"), _ABOUT),
    **dict.fromkeys(("initializer_range", "transformers_version", "dtype", "torch_dtype"), _ABOUT),
    **dict.fromkeys(("notes", "tags", "library_name", "pipeline_tag", "tag", "version"), _ABOUT),
    **dict.fromkeys(("url", "file", "hf_hub_id", "hf_hub_filename", "source"), "where the weights came from"),
}
_HARMLESS_ARGUMENTS = {
    **dict.fromkeys(("drop_rate", "drop_path_rate", "drop_block_rate", "proj_drop_rate", "zero_init_last"), _TRAINING),
    **dict.fromkeys(("memory_efficient", "grad_checkpointing", "pretrained", "checkpoint_path"), _TRAINING),
    **dict.fromkeys(("scriptable", "exportable", "no_jit", "device", "dtype"), "how it is computed; here in float32"),
}
_ACTIVATIONS = {
    **{name: name for name in ("relu", "silu", "gelu", "elu", "leaky_relu", "tanh", "sigmoid")},
    "swish": "silu",
}
_WRAPPED = {
    "architectures": ["TimmWrapperForImageClassification"],
    "model_type": "timm_wrapper",
    "do_pooling": True,
    "problem_type": "single_label_classification",
}
"""Fields of transformers' wrapper and the values under which it is timm's network."""
_MEANS = ("avg", "fast", "fastavg")


def timm_folder(config: Mapping[str, Any], folder: Path) -> Checkpoint:
    """What a config.json says, as timm reads it: `model_args` before the rest, old files without `pretrained_cfg` too.

    transformers' wrapper of timm's networks writes the same file, with fields of its own.

    Raises:
        InputError: a network that is not in the catalogue; a field that is neither used nor known to decide no answer.
    """
    where = str(folder / CONFIG)
    root = Fields(config, where, _HARMLESS)
    inner = root.get("pretrained_cfg")
    cfg = root if inner is None else Fields(inner, f"{where} pretrained_cfg", _HARMLESS)
    arguments = Fields(root.get("model_args", {}), f"{where} model_args", _HARMLESS_ARGUMENTS, nulls=True)
    theirs = str(root.get("architecture")).partition(".")[0]
    name = next((ours for ours, tag in TIMM.items() if tag == theirs), None)
    if name is None:
        raise InputError(f"{where}: timm's {theirs} is no network of this family; choose another")
    size = _size(cfg, arguments)
    cfg.get("architecture")
    count = _count(root, cfg, arguments)
    for field, wanted in _WRAPPED.items():
        root.one_of(field, [wanted], wanted)
    root.one_of("global_pool", _MEANS, "avg")
    arguments.one_of("global_pool", _MEANS, "avg")
    arguments.one_of("output_stride", [32], 32)
    function = _ACTIVATIONS[arguments.one_of("act_layer", _ACTIVATIONS, "relu")]
    architecture = with_activation(lookup.architecture(name), function)
    classes = _classes(root, cfg, count)
    prepared = _preprocessing(cfg, size[1], where)
    for fields in (root, cfg, arguments):
        fields.finish()
    return Checkpoint(
        str(folder), {}, with_input(with_classes(architecture, count), size), classes, preprocessing=prepared
    )


def _size(cfg: Fields, arguments: Fields) -> tuple[int, int, int]:
    channels, height, width = (int(side) for side in cfg.get("input_size", (3, 224, 224)))
    if height != width:
        raise cfg.refusal("input_size", "wanted a square")
    return int(arguments.need("in_chans", channels)), height, width


def _count(root: Fields, cfg: Fields, arguments: Fields) -> int:
    """Of the root, whose number the arguments have to have; else of the arguments; else of `pretrained_cfg`."""
    of_cfg, argued = cfg.get("num_classes", 1000), arguments.get("num_classes")
    count = root.get("num_classes", of_cfg if argued is None else argued)
    if argued not in (None, count):
        raise arguments.refusal("num_classes", f"and {count} beside it; which of the two is it? mend the file")
    return int(count)


def _classes(root: Fields, cfg: Fields, count: int) -> tuple[str, ...]:
    """The names in the logits' order; a mapping from number to name is one too."""
    asked = [(fields, name, fields.get(name)) for fields in (root, cfg) for name in ("label_names", "labels")]
    fields, name, labels = next((each for each in asked if each[2]), (root, "label_names", None))
    if not labels:
        return ()
    names = {int(k): str(v) for k, v in (labels.items() if isinstance(labels, dict) else enumerate(labels))}
    one_logit = count == 1 and set(names) == {0, 1}  # of two classes
    if not one_logit and (len(names) != count or set(names) != set(range(count))):
        raise fields.refusal(name, f"{len(names)} names; wanted one for each of the {count} logits, 0 to {count - 1}")
    return real_names(tuple(names[number] for number in range(len(names))))


def _preprocessing(cfg: Fields, side: int, where: str) -> Preprocessing:
    """Its evaluation transform at `input_size`; the size for tests, where there is one, is told in the note."""
    cfg.one_of("custom_load", [False], False)
    cfg.one_of("label_offset", [0], 0)
    share = float(cfg.get("crop_pct") or 0.875)
    mode = cfg.one_of("crop_mode", ["center", "squash", "border"], "center")
    mean, std = (tuple(cfg.get(key) or NAMED["imagenet"][place]) for place, key in enumerate(("mean", "std")))
    if mode != "center" and share != 1:
        raise cfg.refusal("crop_mode", f"with crop_pct {share:g}: wanted 1, cutting after it is not done here")
    if mode == "border" and any(round(255 * value) != 128 for value in mean):
        raise cfg.refusal("crop_mode", "whose bars have the mean's colour; wanted a mean of 0.5, bars are grey here")
    test_side = (cfg.get("test_input_size") or (3, side, side))[-1]
    test = (test_side, floor(test_side / float(cfg.get("test_crop_pct") or share)))
    own = (side, floor(side / share))
    facts = {
        "crop": side,
        "resize": own[1],
        "mean": mean,
        "std": std,
        "interpolation": cfg.one_of("interpolation", ["bilinear", "bicubic"], "bicubic"),
        "fit": {"center": "crop", "squash": "squash", "border": "pad"}[mode],
        "note": ""
        if test == own
        else f"for tests timm also names {test[0]} px: eval --protocol center:{test[0]}/{test[1]}",
    }
    return build(Preprocessing, facts, where)
