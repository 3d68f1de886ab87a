"""Weights with another head or in parts, and folders of weights that no description lies in: the advice works."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, remove_spectral_norm, remove_weight_norm

from deepres.arch.catalogue.lookup import entry
from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.nn.create import create_model
from deepres.nn.weights.convert import to_foreign
from deepres.nn.weights.hub import find_weights
from deepres.nn.weights.names import CIFAR10

SMALL = edit(entry("resnet20_cifar_b").config, ["depths=1,1,1", "num_classes=3"]).architecture()
PADDED = edit(entry("resnet20_cifar").config, ["depths=1,1,1", "num_classes=3"]).architecture()


def theirs() -> dict[str, Tensor]:
    return to_foreign(dict(create_model(SMALL, seed=0).state_dict()), SMALL, "timm")


def without_head() -> dict[str, Tensor]:
    return {name: tensor for name, tensor in theirs().items() if not name.startswith("fc.")}


@pytest.mark.medium
@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({}, r"in it; train a new one"),
        (
            {"fc.0.weight": torch.ones(8, 64), "fc.2.weight": torch.ones(3, 8)},
            r"but {}fc\.0\.weight \(8x64\)",
        ),
        ({"arc.weight": torch.ones(3, 64), "arc.margin": torch.ones(1)}, r"but {}arc\.weight \(3x64\), {}arc\.margin"),
        ({f"head.{i}.weight": torch.ones(4, 4) for i in range(9)}, r"and 5 more, which is not described"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_another_head_is_no_classifier_and_its_features_can_be_had(
    head: dict[str, Tensor], said: str, prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.pth"
    torch.save({f"{prefix}{name}": tensor for name, tensor in {**without_head(), **head}.items()}, path)
    with pytest.raises(
        InputError, match=rf"other\.pth: no classifier of the network's .*{said.replace('{}', prefix)}"
    ) as caught:
        create_model(SMALL, weights=path)
    ignore = tuple(re.findall(r"--ignore '([^']*)'", str(caught.value)))
    assert bool(ignore) == bool(head)
    given = create_model(SMALL, seed=0).state_dict()
    for how in ({"num_classes": 0}, {"new_head": True}):
        made = create_model(SMALL, weights=path, ignore=ignore, **how).state_dict()  # type: ignore[arg-type]
        assert all(torch.equal(t, given[name]) for name, t in made.items() if not name.startswith("head."))


@pytest.mark.medium
def test_channels_whose_order_only_the_classifier_tells_are_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "features.pth"
    whole = to_foreign(dict(create_model(PADDED, seed=0).state_dict()), PADDED, CIFAR10)
    torch.save({name: tensor for name, tensor in whole.items() if not name.startswith("linear.")}, path)
    for how in ({"num_classes": 0}, {"new_head": True}):
        with pytest.raises(InputError, match=r"features\.pth: without its classifier .* either order of channels"):
            create_model(PADDED, weights=path, **how)  # type: ignore[arg-type]


@pytest.mark.medium
@pytest.mark.parametrize(
    "extra", [("criterion.weight",), tuple(f"head{i}.w" for i in range(9)), tuple(f"a.b.x{i}" for i in range(9))]
)
@pytest.mark.parametrize("prefix", ["model.", "module.net."])
def test_strangers_behind_the_networks_prefix_are_left_out_as_told(
    extra: tuple[str, ...], prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "more.pth"
    more = dict.fromkeys(extra, torch.ones(1))
    torch.save({f"{prefix}{name}": tensor for name, tensor in {**theirs(), **more}.items()}, path)
    with pytest.raises(InputError, match=r"tensors that the network does not have") as caught:
        create_model(SMALL, weights=path)
    create_model(SMALL, weights=path, ignore=tuple(re.findall(r"--ignore '([^']*)'", str(caught.value))))


PARTS: list[tuple[Callable[[nn.Module], Any], Callable[[nn.Module], Any], str]] = [
    (lambda m: prune.l1_unstructured(m, "weight", 0.5), lambda m: prune.remove(m, "weight"), "pruned"),
    (nn.utils.weight_norm, remove_weight_norm, "weight-normalised"),
    (nn.utils.spectral_norm, remove_spectral_norm, "spectrally normalised"),
    *(
        (put, lambda m: parametrize.remove_parametrizations(m, "weight"), "parametrized")
        for put in (parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal)
    ),
]


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("put", "remove", "said"), PARTS)
@pytest.mark.parametrize("count", [1, None])
def test_weights_in_parts_are_made_whole_as_told(
    put: Callable[[nn.Module], Any], remove: Callable[[nn.Module], Any], said: str, count: int | None, tmp_path: Path
) -> None:
    net = create_model(SMALL, seed=0)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)][:count]
    for layer in layers:
        put(layer)
    path = tmp_path / "parts.pth"
    torch.save(net.state_dict(), path)
    with pytest.raises(
        InputError, match=rf"parts\.pth: .* is a part of a weight, .* layers are {said}; make"
    ) as caught:
        create_model(SMALL, weights=path)
    assert "\n" not in str(caught.value)
    assert remove.__name__ == "<lambda>" or remove.__name__ in str(caught.value)
    for layer in layers:
        remove(layer)
    torch.save(net.state_dict(), path)
    made = create_model(SMALL, weights=path).state_dict()
    assert all(torch.equal(tensor, made[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "weights.ckpt", "model_best.pth"])
@pytest.mark.medium
def test_what_lies_in_a_folder_that_is_not_described_is_named(name: str, tmp_path: Path) -> None:
    save_file(theirs(), tmp_path / name)
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    with pytest.raises(InputError, match=rf"no config\.json in it; .*; there is {re.escape(name)}: give that file"):
        find_weights(tmp_path)
    create_model(SMALL, weights=tmp_path / name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_distributed_shards_are_made_one_file_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    checkpoint.save({"model": theirs()}, checkpoint_id=str(tmp_path / "shards"))
    with pytest.raises(InputError, match=r"shards: shards of torch\.distributed\.checkpoint; make one file") as caught:
        find_weights(tmp_path / "shards")
    told = shlex.split(str(caught.value).partition("python -m ")[2].partition(", and")[0])
    assert told[:2] == ["torch.distributed.checkpoint.format_utils", "dcp_to_torch"]
    monkeypatch.chdir(tmp_path)
    dcp_to_torch_save(told[2], told[3])
    create_model(SMALL, weights=told[3])


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", f"hf-hub:a/{'x' * 300}", f"{'d/' * 3000}x.pth"])
def test_what_cannot_be_a_path_is_refused_as_any_other_name(name: str) -> None:
    with pytest.raises(InputError, match="weights "):
        find_weights(name)
