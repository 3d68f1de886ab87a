"""The names that other libraries give to the modules of a network, beside ours: one table a library and kind."""

NameTable = tuple[tuple[str, str], ...]
"""Our name of a module -> theirs. {s} stage, {u} unit, {i} layer, counted from 1; {u0} from 0, {s2} from 2."""


def _resnet(stem: str, norm: str, stage: str, head: str, shortcut: tuple[str, str] = ("0", "1")) -> NameTable:
    unit = "stage{s}.unit{u}."
    return (
        ("stem.conv", f"{stem}conv1"),
        ("stem.norm", f"{stem}{norm}1"),
        (unit + "branch.conv{i}", stage + ".conv{i}"),
        (unit + "branch.norm{i}", stage + f".{norm}{{i}}"),
        (unit + "branch.se.gate.fc{i}", stage + ".se.fc{i}"),
        (unit + "branch.eca.gate.conv", stage + ".se.conv"),
        (unit + "branch.scales.scale{i}.conv", stage + ".convs.{i0}"),
        (unit + "branch.scales.scale{i}.norm", stage + ".bns.{i0}"),
        (unit + "branch.splits{i}.pre.conv", stage + ".conv{i}.conv"),
        (unit + "branch.splits{i}.pre.norm", stage + ".conv{i}.bn0"),
        (unit + "branch.splits{i}.gate.norm", stage + ".conv{i}.bn1"),
        (unit + "branch.splits{i}.gate.fc{f}", stage + ".conv{i}.fc{f}"),
        (unit + "shortcut.conv", f"{stage}.downsample.{shortcut[0]}"),
        (unit + "shortcut.norm", f"{stage}.downsample.{shortcut[1]}"),
        ("head.fc", head),
    )


_DEEP_STEM: NameTable = (
    ("stem.conv1", "conv1.0"),
    ("stem.norm1", "conv1.1"),
    ("stem.conv2", "conv1.3"),
    ("stem.norm2", "conv1.4"),
    ("stem.conv3", "conv1.6"),
    ("stem.norm3", "bn1"),
    ("stem.conv4", "maxpool.0"),
    ("stem.norm4", "maxpool.1"),
)
_KERNELS: NameTable = tuple(  # timm's networks of two kernels: a layer's norm is within it
    (f"stage{{s}}.unit{{u}}.branch.{ours}", f"layer{{s}}.{{u0}}.conv{{i}}.{theirs}")
    for ours, theirs in (
        ("conv{i}", "conv"),
        ("norm{i}", "bn"),
        ("kernels{i}.pre.path{p}.conv", "paths.{p0}.conv"),
        ("kernels{i}.pre.path{p}.norm", "paths.{p0}.bn"),
        ("kernels{i}.gate.fc1", "attn.fc_reduce"),
        ("kernels{i}.gate.norm", "attn.bn"),
        ("kernels{i}.gate.fc2", "attn.fc_select"),
    )
)
_RESNET = _resnet("", "bn", "layer{s}.{u0}", "fc")
_RESNET_D = (*_resnet("", "bn", "layer{s}.{u0}", "fc", ("1", "2")), *_DEEP_STEM)
_PRE: NameTable = (
    ("stem.conv", "stem.conv"),
    ("stem.conv{i}", "stem.conv{i}"),
    ("stem.norm{i}", "stem.norm{i}"),
    ("stage{s}.unit{u}.pre.norm", "stages.{s0}.blocks.{u0}.norm1"),
    ("stage{s}.unit{u}.branch.norm{i}", "stages.{s0}.blocks.{u0}.norm{i}"),
    ("stage{s}.unit{u}.branch.conv{i}", "stages.{s0}.blocks.{u0}.conv{i}"),
    ("stage{s}.unit{u}.shortcut.conv", "stages.{s0}.blocks.{u0}.downsample.conv"),
    ("final.norm", "norm"),
    ("head.fc", "head.fc"),
)
_DENSE: NameTable = (
    ("stem.conv", "features.conv0"),
    ("stem.norm", "features.norm0"),
    ("stage{s}.unit{u}.branch.norm{i}", "features.denseblock{s}.denselayer{u}.norm{i}"),
    ("stage{s}.unit{u}.branch.conv{i}", "features.denseblock{s}.denselayer{u}.conv{i}"),
    ("transition{s}.norm", "features.transition{s}.norm"),
    ("transition{s}.conv", "features.transition{s}.conv"),
    ("final.norm", "features.norm5"),
    ("head.fc", "classifier"),
)
_TRANSFORMERS: NameTable = (
    ("stem.conv", "resnet.embedder.embedder.convolution"),
    ("stem.norm", "resnet.embedder.embedder.normalization"),
    ("stage{s}.unit{u}.branch.conv{i}", "resnet.encoder.stages.{s0}.layers.{u0}.layer.{i0}.convolution"),
    ("stage{s}.unit{u}.branch.norm{i}", "resnet.encoder.stages.{s0}.layers.{u0}.layer.{i0}.normalization"),
    ("stage{s}.unit{u}.shortcut.conv", "resnet.encoder.stages.{s0}.layers.{u0}.shortcut.convolution"),
    ("stage{s}.unit{u}.shortcut.norm", "resnet.encoder.stages.{s0}.layers.{u0}.shortcut.normalization"),
    ("head.fc", "classifier.1"),
)
_DETECTRON: NameTable = (
    ("stem.conv", "stem.conv1"),
    ("stem.norm", "stem.conv1.norm"),
    ("stage{s}.unit{u}.branch.conv{i}", "res{s2}.{u0}.conv{i}"),
    ("stage{s}.unit{u}.branch.norm{i}", "res{s2}.{u0}.conv{i}.norm"),
    ("stage{s}.unit{u}.shortcut.conv", "res{s2}.{u0}.shortcut"),
    ("stage{s}.unit{u}.shortcut.norm", "res{s2}.{u0}.shortcut.norm"),
    ("head.fc", "linear"),
)
CIFAR10 = "pytorch_resnet_cifar10"

CONVENTIONS: dict[str, dict[str, NameTable]] = {
    "timm": {
        "resnet": (*_RESNET, *_DEEP_STEM),
        "resnet-a": _RESNET,
        "resnet-d": _RESNET_D,
        "kernels": (*_KERNELS, *_RESNET),
        "kernels-d": (*_KERNELS, *_RESNET_D),
        "pre": _PRE,
        "dense": _DENSE,
    },
    "torchvision": {"resnet": _RESNET, "dense": _DENSE, "vgg": ()},
    "transformers": {"resnet": _TRANSFORMERS},
    "mmpretrain": {"resnet": _resnet("backbone.", "bn", "backbone.layer{s}.{u0}", "head.fc")},
    "detectron2": {"resnet": _DETECTRON},
    CIFAR10: {"resnet-a": _resnet("", "bn", "layer{s}.{u0}", "linear")},
}
"""Library -> kind of network -> table; of a VGG the number in the name counts all layers and is computed."""
