import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.weights.files import load_state, read_stored, read_tensors, save_network
from deepres.tasks.networks import load


@pytest.mark.medium
def test_a_folder_gives_back_the_network_its_names_and_its_preparation(tmp_path: Path) -> None:
    net = create_model("resnet20_cifar", num_classes=3, seed=5)
    save_network(tmp_path, net, ("ant", "bee", "cat"), {"resize": 32})
    again, stored = load(tmp_path), read_stored(tmp_path)
    assert again.description == net.description
    assert (stored.classes, stored.preparation) == (("ant", "bee", "cat"), {"resize": 32})
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
    assert not again.training


@pytest.mark.medium
def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    net, contents = create_model("resnet20_cifar"), set()
    for _ in range(8):  # the library draws the order of its metadata anew each time
        save_network(tmp_path, net, tuple("0123456789"), {})
        contents.add((tmp_path / "model.safetensors").read_bytes())
    assert len(contents) == 1


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    save_network(tmp_path, create_model("resnet20_cifar"), tuple("0123456789"), {})
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole safetensors file"):
        load(tmp_path)


@pytest.mark.parametrize("config", ["{", "[]", "{}", json.dumps({"label_names": [], "deepres": {"network": {}}})])
def test_a_foreign_or_broken_config_is_one_line(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=r"config\.json: ") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is this a run folder"):
        load(tmp_path)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("the trap ran",))


def test_a_pickle_that_would_call_something_is_read_without_calling_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Trap()))
    for name in ("trap.pt", "plain.pkl"):
        with pytest.raises(InputError, match=f"{name}: no dictionary of tensors in it"):
            read_tensors(tmp_path / name)
    assert "the trap ran" not in capsys.readouterr().out


def test_a_checkpoint_of_the_field_is_read_under_its_usual_keys(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"fc.weight": torch.ones(2)}}, tmp_path / "theirs.pth")
    assert list(read_tensors(tmp_path / "theirs.pth")) == ["fc.weight"]


@pytest.mark.medium
def test_another_number_of_classes_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ten.safetensors"
    save_file(create_model("resnet20_cifar").state_dict(), path)
    with pytest.raises(
        InputError, match=r"these weights know 10 classes, the network has 7; build it with num_classes=10"
    ):
        create_model("resnet20_cifar", num_classes=7, weights=path, variant="resnet20_cifar")


@pytest.mark.medium
def test_weights_of_another_network_are_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    net = create_model("resnet20_cifar", seed=1)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    given = dict(create_model("resnet32_cifar").state_dict())
    given["stage1.unit1.branch.conv1.weight"] = torch.ones(2, 3)
    del given["stem.norm.bias"]
    with pytest.raises(InputError, match="do not fit the network, nothing was loaded") as caught:
        load_state(net, given, "there")
    first, head, *rows = str(caught.value).splitlines()
    assert ": 1 missing, 60 unexpected, 1 of another shape; choose the network" in first
    assert head.split() == ["tensor", "wanted", "given"]
    assert rows[0].split() == ["stem.norm.bias", "16", "-"]
    assert rows[1].split() == ["stage1.unit1.branch.conv1.weight", "16x16x3x3", "2x3"]
    assert rows[2].split() == ["stage1.unit4.branch.conv1.weight", "-", "16x16x3x3"]
    assert (len(rows), rows[-1]) == (13, "  … and 50 more")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
