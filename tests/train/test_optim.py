import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from deepres.base import records
from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.recipes.run import load_run
from deepres.runs.verify_resume import verify_resume
from deepres.train.config import AdamWConfig, LambConfig, OptimizerConfig, SgdConfig, TrainConfig
from deepres.train.optim import AdamW, Lamb, Sgd, average_weights, optimiser


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def _run(network: nn.Module, step: Callable[[float], None], rates: list[float]) -> list[torch.Tensor]:
    x = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for lr in rates:
        network.zero_grad()
        network(x).square().mean().backward()
        step(lr)
    return [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("nesterov", [False, True])
def test_at_a_constant_rate_it_is_torchs_sgd(nesterov: bool) -> None:
    ours, theirs = _network(), _network()
    sgd = Sgd(ours.named_parameters(), SgdConfig(nesterov=nesterov, decay_parameters="all", weight_decay=0.01))
    torchs = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    expected = _run(theirs, lambda lr: torchs.step(), [0.1] * 12)
    for got, want in zip(_run(ours, sgd.step, [0.1] * 12), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


def test_after_a_drop_the_velocity_keeps_the_old_rate() -> None:
    rates = [0.1, 0.1, 0.01, 0.01, 0.01]
    ours, slow = _network(), _network()
    sgd = Sgd(ours.named_parameters(), SgdConfig(weight_decay=0.01, decay_parameters="weights"))
    velocity = {name: torch.zeros_like(p) for name, p in slow.named_parameters()}

    @torch.no_grad()
    def by_hand(lr: float) -> None:
        for name, p in slow.named_parameters():
            decay = 0.01 if name.endswith("weight") else 0
            velocity[name] = 0.9 * velocity[name] + lr * (p.grad + decay * p)
            p -= velocity[name]

    expected = _run(slow, by_hand, rates)
    for got, want in zip(_run(ours, sgd.step, rates), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


def test_a_restored_optimiser_goes_on_bitwise() -> None:
    config = SgdConfig()
    network = _network()
    sgd = Sgd(network.named_parameters(), config)
    _run(network, sgd.step, [0.1] * 3)
    other = deepcopy(network)
    restored = Sgd(other.named_parameters(), config)
    restored.load_state_dict(sgd.state_dict())
    for a, b in zip(_run(network, sgd.step, [0.1]), _run(other, restored.step, [0.1]), strict=True):
        assert torch.equal(a, b)


def test_parameters_without_a_gradient_stay() -> None:
    network = _network()
    sgd = Sgd(network.named_parameters(), SgdConfig(weight_decay=0.1))
    before = [p.clone() for p in network.parameters()]
    sgd.step(0.1)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_the_average_follows_the_weights_and_copies_statistics() -> None:
    network = nn.BatchNorm1d(2)
    average = deepcopy(network)
    network.weight.data.fill_(3.0)
    network.running_mean.fill_(5.0)
    average_weights(average, network, decay=0.9, step=10**6)
    torch.testing.assert_close(average.weight.data, torch.tensor([1.2, 1.2]))
    assert torch.equal(average.running_mean, network.running_mean)
    average_weights(average, network, decay=0.9, step=0)  # the first step weighs nine tenths
    torch.testing.assert_close(average.weight.data, torch.tensor([1.2, 1.2]) + 0.9 * (3 - 1.2))


RATES = [0.1, 0.1, 0.05, 0.02, 0.02, 0.01]


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_adamw_is_torchs(decay: float, betas: tuple[float, float]) -> None:
    ours, theirs = _network(), _network()
    config = AdamWConfig(betas=betas, weight_decay=decay, decay_parameters="all")
    adamw = AdamW(ours.named_parameters(), config, {"0": 0.5})
    groups = [{"params": theirs[0].parameters(), "factor": 0.5}, {"params": theirs[2].parameters(), "factor": 1.0}]  # type: ignore[index]
    torchs = torch.optim.AdamW(groups, betas=betas, weight_decay=decay)

    def step(lr: float) -> None:
        for group in torchs.param_groups:
            group["lr"] = lr * group["factor"]
        torchs.step()

    for got, want in zip(_run(ours, adamw.step, RATES), _run(theirs, step, RATES), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.medium
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_lamb_is_timms(decay: float) -> None:
    timm = pytest.importorskip("timm.optim", reason="what LAMB is compared with")
    ours, theirs = _network(), _network()
    lamb = Lamb(ours.named_parameters(), LambConfig(weight_decay=decay))
    weights = [parameter for parameter in theirs.parameters() if parameter.dim() > 1]
    biases = [parameter for parameter in theirs.parameters() if parameter.dim() == 1]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    timms = timm.Lamb(groups, betas=(0.9, 0.999), eps=1e-6, max_grad_norm=None)

    def step(lr: float) -> None:
        for group in timms.param_groups:
            group["lr"] = lr
        timms.step()

    for got, want in zip(_run(ours, lamb.step, RATES), _run(theirs, step, RATES), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)  # timm's are of float32 in part


def test_lamb_leaves_a_tensor_of_zeros_its_own_length() -> None:
    network = nn.Linear(3, 2).double()
    nn.init.zeros_(network.weight)
    lamb = Lamb(network.named_parameters(), LambConfig())
    network(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    lamb.step(0.1)
    assert torch.allclose(network.weight, torch.full((2, 3), -0.1, dtype=torch.float64), atol=1e-6)


CONFIGS: list[OptimizerConfig] = [SgdConfig(), AdamWConfig(), LambConfig()]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_what_is_kept_goes_on_bitwise_and_parameters_wait_for_a_gradient(config: OptimizerConfig) -> None:
    network = _network()
    first = optimiser(network.named_parameters(), config)
    network[0].requires_grad_(False)  # type: ignore[index]
    before = network[0].weight.clone()  # type: ignore[index,union-attr,operator]
    _run(network, first.step, [0.1] * 2)
    assert torch.equal(network[0].weight, before)  # type: ignore[index,arg-type]
    network[0].requires_grad_(True)  # type: ignore[index]
    _run(network, first.step, [0.1] * 3)
    other = deepcopy(network)
    second = optimiser(other.named_parameters(), config)
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for got, want in zip(_run(other, second.step, [0.1] * 3), _run(network, first.step, [0.1] * 3), strict=True):
        assert torch.equal(got, want)
    if not isinstance(first, Sgd):
        assert isinstance(first, AdamW | Lamb)
        assert first.counts.tolist() == [6, 6, 8, 8]


def test_it_is_named_and_runs_of_before_had_sgd() -> None:
    config = records.edit(TrainConfig(epochs=1), ["optimizer=AdamW", "optimizer.eps=1e-5"])
    assert config.optimizer == AdamWConfig(eps=1e-5)
    assert TrainConfig.model_validate({"epochs": 1, "sgd": {"momentum": 0.5}}).optimizer == SgdConfig(momentum=0.5)
    for config in (TrainConfig(epochs=1, optimizer=each) for each in CONFIGS):
        assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(InputError, match=r"--set sgd\.momentum: is called optimizer\.momentum now"):
        records.edit(TrainConfig(epochs=1), ["sgd.momentum=0.5"])
    assert records.edit(TrainConfig(epochs=1), ["optimizer.kind=lamb"]).optimizer == LambConfig()
    with pytest.raises(InputError, match=r"'adam' found .* expected tags: 'sgd', 'adamw', 'lamb'"):
        records.edit(TrainConfig(epochs=1), ["optimizer=adam"])


@pytest.mark.medium
def test_another_optimiser_wants_a_rate(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", "digits", "--opt", "adamw", "--wd", "0.05", "--dry-run"]
    assert run(asked) == 2
    said = capsys.readouterr().err
    assert "train.optimizer=adamw: recipe small has a rate for sgd, 0.1, which says nothing of adamw's; give" in said
    assert run([*asked, "--lr", "0.001"]) == 0
    assert json.loads(capsys.readouterr().out)["train"]["optimizer"] == AdamWConfig(weight_decay=0.05).model_dump(
        mode="json"
    )


@pytest.mark.long
def test_a_run_learns_by_it_and_resumes_bitwise(tmp_path: Path) -> None:
    small = ["--model", "resnet20_cifar", "--set", "train.iterations=40", "--set", "train.epochs=none"]
    words = ("--opt", "adamw", "--lr", "0.003", *small, "--batch-size", "32")
    assert run(["train", "digits", *words, "--device", "cpu", "--output", str(tmp_path / "run")]) == 0
    assert load_run(tmp_path / "run").train.optimizer.kind == "adamw"
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert rows[-1]["val_error"] < 0.75  # by chance .9
    assert verify_resume(tmp_path, "digits", lambda _: None, words).equal
