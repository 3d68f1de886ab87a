"""A folder that transformers wrote: config.json and the preprocessor's file -> network, classes, preprocessing."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepres.arch.architecture import Architecture, with_activation, with_classes, with_input
from deepres.arch.catalogue import lookup
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import InputError
from deepres.base.normalisation import Values
from deepres.base.reading import json_object, reading
from deepres.base.records import build
from deepres.nn.weights.fields import Fields
from deepres.nn.weights.formats import CONFIG, Checkpoint, Preprocessing, real_names

ARCHITECTURE = "ResNetForImageClassification"
PREPROCESSORS = ("processor_config.json", "preprocessor_config.json")
"""The newer first, which counts where it has an image processor."""

_ACTIVATIONS = {
    **{name: name for name in ("relu", "gelu", "silu", "leaky_relu", "tanh", "sigmoid")},
    "gelu_python": "gelu",
    "swish": "silu",
}
_ABOUT = "it tells of the file, not of the network"
_RETURNED = "which of the values that were computed the library returns"
_HARMLESS_IN_CONFIG = {
    **dict.fromkeys(
        ("transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "finetuning_task"), _ABOUT
    ),
    **dict.fromkeys(("task_specific_params", "license", "tags", "pipeline_tag"), _ABOUT),
    **dict.fromkeys(("output_hidden_states", "output_attentions", "return_dict", "use_return_dict"), _RETURNED),
    **dict.fromkeys(("out_features", "out_indices", "stage_names", "reshape_hidden_states"), _RETURNED),
    **dict.fromkeys(("dtype", "torch_dtype"), "the precision of the file; computed is in float32"),
    **dict.fromkeys(
        ("initializer_range", "use_cache", "torchscript"), "it acts before training or nowhere in a ResNet"
    ),
    **dict.fromkeys(("chunk_size_feed_forward", "is_encoder_decoder", "tie_word_embeddings"), "of language models"),
}
_HARMLESS_IN_PREPROCESSOR = {
    **dict.fromkeys(("processor_class", "image_processor_class", "_processor_class"), _ABOUT),
    **dict.fromkeys(("_valid_processor_keys", "return_tensors", "data_format", "input_data_format"), _RETURNED),
    **dict.fromkeys(("device", "disable_grouping"), "where and how many at once it is computed"),
    "do_convert_rgb": "every picture is read as RGB",
}
_HALF, _STANDARD = (0.5, 0.5, 0.5), (0.485, 0.456, 0.406)
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ConvNext": {"size": {"shortest_edge": 384}, "resample": 3, "mean": _HALF, "std": _HALF, "square": False},
    "ViT": {"size": {"height": 224, "width": 224}, "resample": 2, "mean": _HALF, "std": _HALF, "square": True},
    "Bit": {"size": {"shortest_edge": 224}, "resample": 3, "mean": _CLIP[0], "std": _CLIP[1], "square": False},
    "CLIP": {"size": {"shortest_edge": 224}, "resample": 3, "mean": _CLIP[0], "std": _CLIP[1], "square": False},
}
"""What each image processor takes where its file does not say; `square`: a size that is one number is of both sides."""
_CUT = ("Bit", "CLIP")  # those that cut the centre out unless told not to
_SQUASHED_FROM = 384  # px: from here on a ConvNextImageProcessor gives the aspect up and cuts nothing


def transformers_folder(config: Mapping[str, Any], folder: Path) -> Checkpoint:
    """What the files of a ResNetForImageClassification say; without a preprocessor's file nothing of images.

    Inside a unit the library's activation is ReLU whatever `hidden_act` says, which is the stem's and the units' last.

    Raises:
        InputError: a field that is neither used nor known to decide no answer; the line names it.
    """
    where = str(folder / CONFIG)
    fields = Fields(config, where, _HARMLESS_IN_CONFIG)
    fields.one_of("architectures", [[ARCHITECTURE]], None)
    fields.one_of("model_type", ["resnet"], "resnet")
    fields.one_of("problem_type", ["single_label_classification"], "single_label_classification")
    fields.one_of("downsample_in_first_stage", [False], False)
    labels = fields.get("id2label")
    count = int(fields.get("num_labels", 2 if labels is None else len(labels)))
    classes = _classes(labels, count, fields)
    _require_inverse(fields, classes)
    channels = int(fields.get("num_channels", 3))
    architecture = _network(fields, (channels, 224, 224), count, where)
    fields.finish()
    prepared = _preprocessing(folder, channels)
    if prepared is not None:
        architecture = with_input(architecture, (channels, prepared.crop, prepared.crop))
    return Checkpoint(str(folder), {}, architecture, classes, preprocessing=prepared)


def _network(fields: Fields, size: tuple[int, int, int], classes: int, where: str) -> Architecture:
    bottleneck = fields.one_of("layer_type", ["basic", "bottleneck"], "bottleneck") == "bottleneck"
    depths = tuple(fields.get("depths", (3, 4, 6, 3)))
    widths = tuple(fields.get("hidden_sizes", (256, 512, 1024, 2048)))
    if bottleneck and any(width % 4 for width in widths):
        raise fields.refusal(
            "hidden_sizes", "wanted multiples of 4, which a bottleneck's inner layers are divided from"
        )
    early = fields.one_of("downsample_in_bottleneck", [False, True], False)
    function = _ACTIVATIONS[fields.one_of("hidden_act", _ACTIVATIONS, "relu")]
    facts = {
        "name": "resnet_of_transformers",
        "input": size,
        "num_classes": classes,
        "stem_width": int(fields.get("embedding_size", 64)),
        "unit": "bottleneck" if bottleneck else "basic",
        "depths": depths,
        "widths": tuple(width // 4 for width in widths) if bottleneck else widths,
        "style": {"stride_on": "1x1" if bottleneck and early else "3x3"},
    }
    architecture = with_activation(build(ResNetConfig, facts, where).architecture(), function, inside_units=False)
    known = [f"resnet{sum(depths) * (3 if bottleneck else 2) + 2}{end}" for end in ("", "_v1")]
    for name in known:
        if name in lookup.CATALOGUE and lookup.architecture(name).body == architecture.body:
            return with_input(with_classes(lookup.architecture(name), classes), size)
    return architecture


def _classes(labels: Mapping[str, str] | None, count: int, fields: Fields) -> tuple[str, ...]:
    """The names in the logits' order."""
    if labels is None:
        return ()
    names = {int(number): str(label) for number, label in labels.items()}
    if len(names) != count or set(names) != set(range(count)):
        raise fields.refusal("id2label", f"wanted one name for each of the {count} logits, 0 to {count - 1}")
    return real_names(tuple(names[number] for number in range(count)))


def _require_inverse(fields: Fields, classes: tuple[str, ...]) -> None:
    """Refuse a label2id of the same names under other numbers; that of others (LABEL_0, …) is a leftover."""
    numbers = fields.get("label2id")
    own = {name: number for number, name in enumerate(classes)}
    if isinstance(numbers, Mapping) and len(own) == len(classes) and set(numbers) == set(own):
        other = next((name for name in own if str(numbers[name]) != str(own[name])), None)
        if other is not None:
            raise fields.refusal(
                "label2id", f"and id2label has '{other}' under {own[other]}; which of the two is it? mend the file"
            )


def _preprocessing(folder: Path, channels: int) -> Preprocessing | None:
    """Of the nested file of newer versions where it has an image processor, else of the older one."""
    for name in PREPROCESSORS:
        path = folder / name
        if not path.is_file():
            continue
        facts: Any = json_object(path, "description of what is done to images", "save it again")
        with reading(path, "what an image processor writes", "save it again"):
            facts = facts.get("image_processor") if name == PREPROCESSORS[0] else facts
            if facts is not None:
                return preprocessing_said(facts, channels, str(path))
    return None


def preprocessing_said(facts: Mapping[str, Any], channels: int, where: str) -> Preprocessing:
    """What an image processor does to an image, in our words.

    x * rescale_factor, less the mean, by the std is (x / 255 - mean / k) / (std / k) with k = 255 rescale_factor; what
    is switched off, or null, has the factor 1, the mean 0, the std 1.

    Raises:
        InputError: a processor or a field that is not known here, sizes that give no square picture.
    """
    fields = Fields(facts, where, _HARMLESS_IN_PREPROCESSOR, nulls=True)
    kind = _kind(fields)
    default = _DEFAULTS[kind]
    for never in ("do_pad", "do_flip_channel_order"):
        fields.one_of(never, [False, None], False)
    resample = fields.one_of("resample", [2, 3], default["resample"])
    shape = _shape(fields, kind, default)
    scale = round(255 * float(fields.need("rescale_factor", 1 / 255)), 12) if _done(fields, "do_rescale") else 255.0
    mean, std = (0.0,) * channels, (1.0,) * channels
    if _done(fields, "do_normalize"):
        mean, std = (_each(fields.need(f"image_{name}", default[name])) for name in ("mean", "std"))
    for unused in ("rescale_factor", "image_mean", "image_std"):
        fields.get(unused)
    fields.finish()
    wanted = {
        **shape,
        "mean": tuple(value / scale for value in mean),
        "std": tuple(value / scale for value in std),
        "interpolation": {2: "bilinear", 3: "bicubic"}[resample],
        "margins": "floored",
    }
    return build(Preprocessing, wanted, where)


def _kind(fields: Fields) -> str:
    """Of ResNet's processors, which are ConvNext's unless the file says otherwise."""
    old = fields.get("feature_extractor_type", "ConvNextFeatureExtractor")
    name = str(fields.get("image_processor_type", old))
    kind = re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", name)
    if kind not in _DEFAULTS:
        known = ", ".join(f"{each}ImageProcessor" for each in _DEFAULTS)
        raise fields.refusal("image_processor_type", f"which is not known here; known: {known}")
    return kind


def _shape(fields: Fields, kind: str, default: Mapping[str, Any]) -> dict[str, Any]:
    """`fit`, `resize`, `crop` of a square picture."""
    square = bool(fields.get("default_to_square", default["square"]))
    size = _sides(fields, "size", default["size"], square)
    cut = _done(fields, "do_center_crop", kind in _CUT)
    crop = _sides(fields, "crop_size", {"height": 224, "width": 224} if kind in _CUT else None, True)
    share = float(fields.need("crop_pct", 224 / 256))
    edge, sides = size.get("shortest_edge"), (size.get("height"), size.get("width"))
    cropped = crop.get("height") if cut else None
    if cut and (cropped is None or crop.get("width") != cropped):
        raise fields.refusal("crop_size", "wanted a square, {'height': 224, 'width': 224}")
    if not _done(fields, "do_resize"):
        if cut:
            raise fields.refusal("do_resize", "with do_center_crop: small pictures would get black bars, not done here")
        return {"fit": None, "resize": edge or sides[0], "crop": edge or sides[0]}
    if edge is None and (sides[0] is None or sides[0] != sides[1]):
        raise fields.refusal("size", "wanted {'shortest_edge': 224}, or a square {'height': 224, 'width': 224}")
    if kind == "ConvNext":
        if edge is None:
            raise fields.refusal("size", "wanted {'shortest_edge': 224}: this processor takes nothing else")
        shown = {"fit": "crop", "resize": int(edge / share), "crop": edge}
        shown = shown if edge < _SQUASHED_FROM else {"fit": "squash", "resize": edge, "crop": edge}
    elif edge is None:
        shown = {"fit": "squash", "resize": sides[0], "crop": sides[0]}
    elif cropped is not None and cropped <= edge:
        return {"fit": "crop", "resize": edge, "crop": cropped}
    else:
        what = "crop_size" if cut else "do_center_crop"
        raise fields.refusal(
            what, f"beside a short side of {edge}: wanted a square cut from it, such as crop_size {edge}"
        )
    if cropped not in (None, shown["crop"]):
        raise fields.refusal(
            "crop_size", f"another centre cut from pictures of {shown['crop']} px, which is not done here"
        )
    return shown


def _sides(fields: Fields, name: str, default: Mapping[str, int] | None, square: bool) -> dict[str, int]:
    """A size in any of its forms as {"shortest_edge"} or {"height", "width"}; {} where there is none."""
    size = fields.get(name, default)
    if size is None:
        return {}
    if isinstance(size, int):
        return {"height": size, "width": size} if square else {"shortest_edge": size}
    if isinstance(size, list | tuple):
        return {"height": int(size[0]), "width": int(size[1])}
    given = {key: int(value) for key, value in size.items() if value is not None}
    if set(given) not in ({"shortest_edge"}, {"height", "width"}):
        raise fields.refusal(name, "wanted {'shortest_edge': 224}, or a square {'height': 224, 'width': 224}")
    return given


def _done(fields: Fields, name: str, default: bool = True) -> bool:
    return bool(fields.one_of(name, [True, False, None], default))


def _each(values: float | list[float]) -> Values:
    return (float(values),) if isinstance(values, int | float) else tuple(float(value) for value in values)


def require_known(architectures: list[str], where: str) -> None:
    """Refuse a folder of another network of transformers'."""
    if ARCHITECTURE not in architectures:
        raise InputError(
            f"{where}: {', '.join(map(str, architectures))} is no network of this family; wanted {ARCHITECTURE}"
        )
