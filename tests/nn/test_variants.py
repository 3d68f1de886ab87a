import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from deepres.arch.catalogue.lookup import architecture, entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.weights.convert import to_foreign
from deepres.nn.weights.files import save_network
from deepres.nn.weights.variants import lookalikes
from deepres.tasks.networks import load


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "theirs.pth"
    torch.save(models.resnet50(num_classes=4).state_dict(), path)
    return path


@pytest.mark.medium
def test_a_librarys_names_do_not_say_which_of_its_networks_it_is(bare: Path) -> None:
    refusal = (
        r"theirs\.pth: these tensors fit resnet50, resnet50_v1, resnet50_blur4, timm's resnetaa50, timm's resnetblur50 "
        r"alike and the file does not say which it is; say so with --variant \(in Python variant=\), such as --variant r"
    )
    with pytest.raises(InputError, match=refusal) as caught:
        create_model("resnet50", weights=bare)
    assert "\n" not in str(caught.value)
    for name in ("resnet50_v1", "resnet50_blur4"):
        with pytest.raises(InputError, match=rf"these tensors fit {name}, resnet50, .*say so with --variant"):
            create_model(name, weights=bare)


@pytest.mark.slow
def test_the_user_may_say_which_variant_bare_weights_are(bare: Path) -> None:
    assert create_model("resnet50", weights=bare, variant="resnet50").num_classes == 4
    assert create_model("resnet50_v1", weights=bare, variant="resnet50_v1").num_classes == 4
    with pytest.raises(
        InputError, match=r"timm's resnetaa50 is not among deepres's networks, and none of them computes"
    ):
        create_model("resnet50", weights=bare, variant="resnetaa50")
    with pytest.raises(InputError, match=r"weights of resnet50_v1, not of this resnet50: stage2"):
        create_model("resnet50", weights=bare, variant="resnet50_v1")


@pytest.mark.medium
def test_bare_weights_under_our_names_do_not_say(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(create_model("resnet20_cifar").state_dict(), path)
    with pytest.raises(
        InputError, match=r"fit resnet20_cifar, plain20_cifar alike and the file does not say"
    ) as caught:
        create_model("resnet20_cifar", weights=path)
    assert "\n" not in str(caught.value)
    assert create_model("resnet20_cifar", weights=path, variant="resnet20_cifar")
    only = tmp_path / "only.safetensors"
    save_file(create_model("seresnet18", num_classes=2).state_dict(), only)
    assert create_model("seresnet18", weights=only).num_classes == 2


@pytest.mark.medium
def test_the_description_travels_with_every_file_that_we_write(tmp_path: Path) -> None:
    net = create_model("resnet18_blur4", num_classes=3, seed=4)
    save_network(tmp_path, net, ("a", "b", "c"), {})
    for place in (tmp_path, tmp_path / "model.safetensors"):
        again = load(place)
        assert again.description == net.description
        assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
        with pytest.raises(
            InputError, match=r"weights of resnet18_blur4, not of this resnet18: stem\.pool\.kernel is 2 there, 3 h"
        ):
            create_model("resnet18", weights=place)
        with pytest.raises(InputError, match=r"the weights say resnet18_blur4, not resnet18: stem"):
            create_model("resnet18_blur4", weights=place, variant="resnet18")


@pytest.mark.medium
def test_an_edit_of_the_description_is_a_variant(tmp_path: Path) -> None:
    config = entry("resnet20_cifar").config
    assert isinstance(config, ResNetConfig)
    save_network(tmp_path, create_model("resnet20_cifar"), tuple("0123456789"), {})
    halved = config.replace(style=config.style.replace(mixing=config.style.mixing.replace(shortcut_scale=0.5)))
    with pytest.raises(
        InputError,
        match=r"not of this resnet20_cifar: stage\d\.unit1\.shortcut.*; leave the edits of the description out",
    ):
        create_model(halved.architecture(), weights=tmp_path)
    frozen = config.replace(style=config.style.replace(norm="frozen"))
    assert create_model(frozen.architecture(), weights=tmp_path).num_classes == 10


@pytest.mark.medium
def test_another_number_of_classes_wants_a_new_head(tmp_path: Path) -> None:
    net = create_model("resnet20_cifar", seed=3)
    save_network(tmp_path, net, tuple("0123456789"), {})
    with pytest.raises(
        InputError, match=r"know 10 classes, the network has 7; build it with num_classes=10, or .*new_head"
    ):
        create_model("resnet20_cifar", num_classes=7, weights=tmp_path)
    new = create_model("resnet20_cifar", num_classes=7, weights=tmp_path, new_head=True, seed=8)
    fresh = create_model("resnet20_cifar", num_classes=7, seed=8)
    assert torch.equal(new.head.get_parameter("fc.weight"), fresh.head.get_parameter("fc.weight"))
    assert torch.equal(new.stem.get_parameter("conv.weight"), net.stem.get_parameter("conv.weight"))
    features = create_model("resnet20_cifar", num_classes=0, weights=tmp_path)
    assert features(torch.zeros(1, 3, 32, 32)).shape == (1, 64)


@pytest.mark.medium
def test_lookalikes_are_those_of_the_catalogue_that_compute_something_else() -> None:
    assert set(lookalikes(architecture("resnet50"))) == {"resnet50_v1", "resnet50_blur4"}
    assert lookalikes(architecture("resnet34")) == ("resnet34_blur4",)  # resnet34_b is resnet34
    assert lookalikes(architecture("densenet121")) == ()
    assert "resnet50d" in lookalikes(architecture("resnet50c"))
    assert lookalikes(architecture("resnet50c"), "timm") == ()  # timm names their shortcuts apart
    assert lookalikes(architecture("resnet20_cifar"), "pytorch_resnet_cifar10") == ()


@pytest.mark.medium
def test_a_plain_network_never_takes_a_residual_ones_weights(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pth"
    net = create_model("resnet20_cifar")
    torch.save(to_foreign(net.state_dict(), net.description, "pytorch_resnet_cifar10"), path)
    assert create_model("resnet20_cifar", weights=path).num_classes == 10
    with pytest.raises(
        InputError,
        match=re.escape("layers are plain20_cifar's (and resnet20_cifar have the same); look through the table"),
    ):
        create_model("plain20_cifar", weights=path)
