"""Units that begin as their shortcuts: the network against a walk over its shortcuts alone, what stays, what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

import deepres
from deepres.arch.architecture import unit_names
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.norms import last_norms
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.init import begin_at_shortcuts
from deepres.recipes import papers
from deepres.recipes.run import Run, require_known

SMALL = "resnet20_cifar+depths=2,2,1"
KINDS = (
    SMALL,
    f"{SMALL}+shortcut=B",
    f"{SMALL}+style.order=pre+stem_norm=false",
    f"{SMALL}+style.order=relu_pre",
    f"{SMALL}+style.order=bn_after_add",
    f"{SMALL}+style.order=relu_before_add",
    f"{SMALL}+style.norm=group+style.norm_groups=4",
    f"{SMALL}+style.se_ratio=0.5",
    f"{SMALL}+style.radix=2",
    f"{SMALL}+style.kernels=halves",
    f"{SMALL}+unit=bottleneck+style.scales=4+shortcut=B",
)


def by_shortcuts(network: ResidualNetwork, x: Tensor) -> Tensor:
    """The same modules in a row, of each unit what stands before, its shortcut, and what stands behind."""
    units = set(unit_names(network.description))
    for name in network.body_names:
        part = network.get_submodule(name)
        if not any(unit.startswith(f"{name}.") for unit in units):
            x = part(x)
            continue
        for _, unit in part.named_children():
            parts: Any = dict(unit.named_children())
            x = parts["act"](parts["shortcut"](parts["pre"](x)))
    logits: Tensor = network.head(x)
    return logits


@pytest.mark.medium
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_the_network_begins_as_its_shortcuts(name: str, train: bool) -> None:
    network, plain = create_model(name, seed=3), create_model(name, seed=3)
    begin_at_shortcuts(network)
    changed = {f"{norm}.weight" for norm in last_norms(network.description)}
    for key, tensor in plain.state_dict().items():
        assert torch.equal(network.state_dict()[key], torch.zeros_like(tensor) if key in changed else tensor), key
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = network.train(train)(x)
    torch.testing.assert_close(found, by_shortcuts(network, x), rtol=0, atol=0)
    assert not torch.equal(plain.train(train)(x), found)


@pytest.mark.medium
def test_the_first_step_teaches_the_gammas_alone_of_a_branch() -> None:
    network = create_model(SMALL, seed=0)
    begin_at_shortcuts(network)
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    for name in unit_names(network.description):
        branch = network.get_submodule(f"{name}.branch")
        last: Any = branch.get_submodule("norm2")
        assert last.weight.grad.abs().max() > 0
        first: Any = branch.get_submodule("conv1")
        assert first.weight.grad.abs().max() == 0


def test_timms_word_does_the_same() -> None:
    network: Any = deepres.create_model("resnet20_cifar", zero_init_last=True)
    assert all(network.get_submodule(name).weight.eq(0).all() for name in last_norms(network.description))
    with pytest.raises(InputError, match="zero_init_last: of a network without weights, which have their own"):
        deepres.create_model("resnet50", pretrained=True, zero_init_last=True)


@pytest.mark.medium
def test_timms_own_zeroes_the_same_tensors() -> None:
    timm = pytest.importorskip("timm")
    for name in ("resnet26", "res2net50_26w_4s"):
        theirs = timm.create_model(name, zero_init_last=True)
        zeroed = {
            key.removesuffix(".weight")
            for key, tensor in theirs.state_dict().items()
            if key.endswith(".weight") and not tensor.any()
        }
        ours = last_norms(architecture(name))
        named = {norm.replace("stage", "layer").replace(".branch.norm", ".bn") for norm in ours}
        assert len(zeroed) == len(ours)
        assert {f"{n.split('.')[0]}.unit{int(n.split('.')[1]) + 1}.{n.split('.')[2]}" for n in zeroed} == named


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vgg15_cifar", "stage1.unit1 has no branch that is added to a shortcut"),
        ("plain20_cifar", r"stage1.unit1 has no branch that is added to a shortcut"),
        ("densenet40_k12_cifar", "has no branch that is added to a shortcut"),
        ("resnet20_cifar+style.norm=frozen", "stage1.unit1 has a branch without a norm that learns"),
        ("highway19_cifar", "has no branch that is added to a shortcut"),
    ],
)
def test_networks_that_cannot_are_refused(name: str, told: str) -> None:
    with pytest.raises(InputError, match=f"{told}.*; wanted a network of residual units that add, with norms that"):
        last_norms(architecture(name))


def _run(**fields: object) -> Run:
    run = papers.cifar_2015(DatasetFacts("somewhere", 10, 1000, 3, 32), "resnet20_cifar")
    assert not run.train.zero_gamma
    return run.replace(train=run.train.replace(zero_gamma=True), **fields)


def test_a_run_with_weights_refuses_it() -> None:
    require_known(_run())
    with pytest.raises(InputError, match=r"train.zero_gamma=true: the run begins with w.pt, which has its own"):
        require_known(_run(weights="w.pt"))


def test_counts_stay() -> None:
    network = create_model("resnet20_cifar")
    before = sum(p.numel() for p in network.parameters())
    begin_at_shortcuts(network)
    assert sum(p.numel() for p in network.parameters()) == before
