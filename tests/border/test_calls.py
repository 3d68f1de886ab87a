"""Calls from Python: a network traced, copied, replicated or compiled draws as it does itself; arguments are checked."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace
from torchvision.models.feature_extraction import create_feature_extractor

import deepres
from deepres.arch.algebra import fold
from deepres.arch.architecture import feature_shapes, with_classes
from deepres.arch.catalogue.lookup import CATALOGUE, architecture
from deepres.arch.families.fractal import FractalConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork, _Modules, build
from deepres.nn.create import create_model
from deepres.nn.like_timm import LikeTimm

Call = Callable[[Tensor], Tensor]


def residual(**fields: Any) -> ResidualNetwork:
    small = {"stem": "cifar", "stem_width": 4, "depths": (2, 2), "widths": (4, 6), "shortcut": "A"}
    return create_model(ResNetConfig(name="x", input=(3, 8, 8), num_classes=5, **small, **fields).architecture())


def fractal(**fields: Any) -> ResidualNetwork:
    small = {"columns": 3, "widths": (4, 6), "dropout": (0.0, 0.0)}
    return create_model(FractalConfig(name="x", input=(3, 8, 8), num_classes=5, **small, **fields).architecture())


NETWORKS: dict[str, Callable[[], ResidualNetwork]] = {
    "one coin a batch": lambda: residual(drop_path=0.5),
    "one coin an image": lambda: residual(drop_path=0.5, drop_path_per="sample"),
    "so many branches a batch": lambda: residual(active_units=2),
    "columns dropped by each join": lambda: fractal(local_drop=0.4),
    "one column alone": lambda: fractal(global_share=1.0),
    "columns in both ways": lambda: fractal(local_drop=0.4, global_share=0.5),
    "dropout": lambda: residual(head_dropout=0.5),
}


def _extracted(network: ResidualNetwork) -> Call:
    extractor = create_feature_extractor(network, {"head": "logits"}, suppress_diff_warning=True)
    return lambda x: extractor(x)["logits"]


def _replica(network: nn.Module) -> nn.Module:
    """As DataParallel makes one for each device (torch.nn.parallel.replicate), here on the CPU."""
    made = network._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
    for name, part in network._modules.items():
        made._modules[name] = None if part is None else _replica(part)
    made._parameters, made._buffers = dict(network._parameters), dict(network._buffers)
    assert isinstance(made, nn.Module)
    return made


WAYS: dict[str, Callable[[ResidualNetwork], Call]] = {
    "traced": symbolic_trace,
    "a feature extractor": _extracted,
    "a copy": copy.deepcopy,
    "a replica": _replica,
    "a copy of the traced one": lambda network: copy.deepcopy(symbolic_trace(network)),
}


def _passes(call: Call, count: int = 12) -> list[Tensor]:
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    with torch.no_grad():
        return [call(x) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one coin an image", "so many branches a batch", "columns in both ways"])
def test_a_network_compiled_in_one_graph_draws_anew_and_as_itself(name: str) -> None:
    torch.compiler.reset()
    network = NETWORKS[name]().train()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    for one, other in zip(_passes(network), _passes(compiled), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.medium
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_pass_draws_anew_and_as_the_network_itself(name: str, way: str) -> None:
    network = NETWORKS[name]().train()
    own = _passes(network)
    given = _passes(WAYS[way](network))
    assert len({y.numpy().tobytes() for y in own}) > 2
    for one, other in zip(own, given, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
    again = _passes(network)  # what was made of it leaves no trace in it
    assert all(torch.equal(one, other) for one, other in zip(own, again, strict=True))
    copy.deepcopy(network)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.medium
def test_a_network_traced_for_evaluation_is_that_network(name: str) -> None:
    network = NETWORKS[name]().eval()
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(symbolic_trace(network)(x), network(x))


def test_a_replica_draws_for_itself_and_not_for_the_network() -> None:
    network = fractal(global_share=1.0).train()
    replica = _replica(network)
    assert isinstance(replica, ResidualNetwork)
    replica.draw(torch.zeros(1))
    assert all(join.shared is not None for join in replica.joins)
    assert all(join.shared is None for join in network.joins)


@pytest.mark.medium
def test_draws_follow_their_law_when_traced() -> None:
    network = residual(active_units=2).train()
    traced = symbolic_trace(network)
    kept = [node.name for node in traced.graph.nodes if "new_empty" in node.name]
    assert len(kept) == 1
    branches = {name: [] for name in ("stage1.unit1", "stage1.unit2", "stage2.unit1", "stage2.unit2")}
    x = torch.randn(2, 3, 8, 8)
    names = {f"{name}.branch": name for name in branches}
    extractor = create_feature_extractor(network, names, suppress_diff_warning=True)
    torch.manual_seed(0)
    for _ in range(200):
        given = {name: bool(y.abs().sum() > 0) for name, y in extractor(x).items()}
        assert sum(given.values()) == 2
        for name, is_there in given.items():
            branches[name].append(is_there)
    assert all(70 < sum(there) < 130 for there in branches.values())


WHOLE: tuple[Any, ...] = ("3", "", 2.5, 3.0, -1, True, float("nan"), float("inf"), 2**40, [3], torch.tensor(2.5), b"3")
WORDS: tuple[Any, ...] = (3, 2.5, True, "", "  ", b"resnet18_cifar", ["resnet20_cifar"], {"model": 1}, object())
NO_PLACE: tuple[Any, ...] = (3, 2.5, True, "", " ", b"a", ["a"], {"a": 1}, object())
FLAGS: tuple[Any, ...] = ("yes", 1, 0, None, 2.5, [])
DEVICES: tuple[Any, ...] = (3, True, "", "tpu", "cuda:99", b"cpu", ["cpu"])
WRONG: dict[tuple[str, str], tuple[Any, ...]] = {
    ("create_model", "model"): (*WORDS, None, "no such network", nn.Identity()),
    ("create_model", "num_classes"): WHOLE,
    ("create_model", "in_chans"): (*WHOLE, 0, 2**20),
    ("create_model", "seed"): ("3", 2.5, -1, True, float("nan"), None, [3]),
    ("create_model", "new_head"): ("yes", 1, 0, None, 2.5, []),
    ("create_model", "weights"): (3, 2.5, True, False, "", " ", {"fc.weight": 1}, ["a"], b"a", "no/such/file"),
    ("create_model", "variant"): (*WORDS, "no such network"),
    ("create_model", "ignore"): (3, None, True, "criterion.weight", [""], [3], {"a": 1}),
    ("load", "weights"): (3, None, True, "", {"a": 1}, b"a", "no/such/file", nn.Identity()),
    ("create_model", "pretrained"): (*FLAGS, True),
    ("create_model", "checkpoint_path"): (3, " ", ["a"], "no/such/file"),
    ("create_model", "features_only"): FLAGS,
    ("create_model", "out_indices"): (0, (0, 1), "1"),
    ("create_model", "output_stride"): ("8", 3, 0, True, 2.5),
    ("create_model", "drop_path_rate"): (1, -0.1, "0.1", True, float("nan")),
    ("create_model", "zero_init_last"): ("yes", 1, None, float("nan")),
    ("create_model", "drop_rate"): (1, -0.1, "0.1", True),
    ("create_model", "global_pool"): ("max", 3, ""),
    ("list_models", "pattern"): (3, None, True, "", b"*", [3], "nothing*", "["),
    ("list_models", "pretrained"): FLAGS,
    ("list_models", "module"): (3, "", "resnets"),
    ("describe", "name"): (*WORDS, None, "no such network"),
    ("describe", "batch_size"): (*WHOLE, 0),
    ("train", "source"): (*NO_PLACE, "no/such/folder"),
    ("train", "output"): NO_PLACE,
    ("train", "model"): (*WORDS, "no such network"),
    ("train", "weights"): (*NO_PLACE, "no/such/file"),
    ("train", "epochs"): (*WHOLE, 0),
    ("train", "settings"): (3, "train.epochs=3", ["seed=1"], {3: 1}, {"seed=1": 1}, {"sed": 1}, {"seed": "x"}),
    ("train", "device"): DEVICES,
    ("train", "progress"): FLAGS,
    ("evaluate", "weights"): (*NO_PLACE, None, [], [3], "no/such/file"),
    ("evaluate", "source"): (*NO_PLACE, "no/such/folder"),
    ("evaluate", "split"): WORDS,
    ("evaluate", "protocol"): (*WORDS, None),
    ("evaluate", "force"): FLAGS,
    ("evaluate", "backend"): (*WORDS, "no such runtime"),
    ("evaluate", "device"): DEVICES,
    ("evaluate", "progress"): FLAGS,
    ("evaluate_unknown", "weights"): (*NO_PLACE, None, [], [3], "no/such/file"),
    ("evaluate_unknown", "unknown"): (*NO_PLACE, None),
    ("evaluate_unknown", "source"): (*NO_PLACE, "no/such/folder"),
    ("evaluate_unknown", "split"): WORDS,
    ("evaluate_unknown", "force"): FLAGS,
    ("evaluate_unknown", "device"): DEVICES,
    ("evaluate_unknown", "progress"): FLAGS,
    ("analyze", "weights"): (*NO_PLACE, None, "no/such/file"),
    ("analyze", "source"): (*NO_PLACE, "no/such/folder"),
    ("analyze", "kinds"): (3, None, "lesion", ["lesoin"], [3], [""]),
    ("analyze", "images"): (*WHOLE, 0),
    ("analyze", "output"): NO_PLACE,
    ("analyze", "device"): DEVICES,
    ("analyze", "progress"): FLAGS,
    ("compare", "runs"): ((), ("one",), (3, 4), ("no", "such"), (None, "a"), ("", "a")),
    ("compare", "vote"): FLAGS,
    ("compare", "force"): FLAGS,
    ("slim", "run"): (*NO_PLACE, None, "no/such/run"),
    ("slim", "output"): (*NO_PLACE, None),
    ("slim", "source"): (*NO_PLACE, "no/such/folder"),
    ("slim", "drop"): (-1, 2.5, True, "many", [1]),
    ("slim", "int8"): FLAGS,
    ("slim", "settings"): (3, "max_loss=0.5", ["seed=1"], {3: 1}, {"sed": 1}),
    ("slim", "device"): DEVICES,
    ("slim", "progress"): FLAGS,
    ("export", "weights"): (*NO_PLACE, None, "no/such/file"),
    ("export", "format"): (*WORDS, None, "onix"),
    ("export", "output"): NO_PLACE,
    ("export", "check_images"): (*NO_PLACE, "no/such/folder"),
    ("export", "int8"): FLAGS,
    ("export", "settings"): (3, "model=resnet50", ["seed=1"], {3: 1}, {"sed": 1}),
    ("export", "progress"): FLAGS,
    ("WeightsSpec", "name"): (*NO_PLACE, None),
    ("WeightsSpec", "model"): WORDS,
    ("WeightsSpec", "variant"): WORDS,
    ("WeightsSpec", "mean"): ("a", object(), ["a"], {"a": 1}),
    ("WeightsSpec", "std"): ("a", object(), ["a"], {"a": 1}),
}
GIVEN: dict[str, dict[str, Any]] = {
    "create_model": {"model": "resnet20_cifar"},
    "load": {},
    "list_models": {},
    "describe": {"name": "resnet20_cifar"},
    "train": {"device": "cpu", "progress": False},
    "evaluate": {"weights": "nowhere", "source": "digits", "device": "cpu", "progress": False},
    "evaluate_unknown": {
        "weights": "nowhere",
        "unknown": "strange",
        "source": "digits",
        "device": "cpu",
        "progress": False,
    },
    "analyze": {"weights": "nowhere", "source": "digits", "device": "cpu", "progress": False},
    "compare": {"runs": ("one", "two")},
    "slim": {"run": "nowhere", "output": "slimmed", "device": "cpu", "progress": False},
    "export": {"weights": "nowhere", "format": "onnx", "progress": False},
    "WeightsSpec": {"name": "a"},
}


@pytest.mark.parametrize(
    ("function", "argument", "value"),
    [(function, argument, value) for (function, argument), values in WRONG.items() for value in values],
)
def test_a_wrong_argument_is_one_line(
    function: str, argument: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {**GIVEN[function], argument: value}
    with pytest.raises(InputError) as caught:
        getattr(deepres, function)(*given.pop("runs", ()), **given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 20


def test_the_table_has_every_argument_of_every_public_function() -> None:
    made = ("Predictor", "RunResult")  # what calls give; Predictor.load takes what WeightsSpec does
    public = [name for name in deepres.__all__ if callable(getattr(deepres, name)) and name not in made]
    arguments = {
        (name, argument) for name in public for argument in inspect.signature(getattr(deepres, name)).parameters
    }
    arguments -= {("create_model", "options")}
    assert arguments | {("create_model", name) for name in LikeTimm.__annotations__} == set(WRONG)


def test_numbers_of_numpy_and_none_are_taken() -> None:
    network = deepres.create_model("resnet20_cifar", num_classes=np.int64(3), in_chans=np.uint8(1), seed=np.int32(2))
    assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 3)
    assert deepres.create_model("resnet20_cifar", num_classes=None, in_chans=None, variant=None).num_classes == 10
    assert deepres.describe("resnet20_cifar", batch_size=np.int64(3)).batch_size == 3


FAMILIES = ("resnet18", "preresnet110_cifar", "vgg15_cifar", "vgg16_bn", "densenet121", "highway19_cifar")


def _has_its_features(name: str) -> None:
    description = architecture(name)
    built = build(description)
    last = feature_shapes(description)[description.body[-1][0]]
    pooled = built.forward_head(torch.empty(2, *last, device="meta"), pre_logits=True)
    assert pooled.shape == (2, built.num_features), name
    assert with_classes(description, 0).num_features == built.num_features, name


@pytest.mark.medium
@pytest.mark.parametrize("name", FAMILIES)
def test_num_features_are_those_before_the_classifier(name: str) -> None:
    _has_its_features(name)


def test_vggs_features_are_those_of_its_last_hidden_layer() -> None:
    assert build(architecture("vgg16_bn")).num_features == 4096


@pytest.mark.medium
def test_num_features_are_those_before_the_classifier_in_every_network() -> None:
    for name in CATALOGUE:
        description = architecture(name)
        last = feature_shapes(description)[description.body[-1][0]]
        with torch.device("meta"):
            head = fold(description.head, last, _Modules())
            features = torch.empty(2, *last)
            for part, module in head.named_children():
                features = module(features) if part != "fc" else features
        assert features.shape == (2, description.num_features), name
