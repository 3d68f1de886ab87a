"""What tests/train/test_distributed.py runs in several processes: `python together.py FOLDER`, in torchrun's environment.

Each process writes what it found to FOLDER/rank-R.pt; alone (WORLD_SIZE=1) it writes what is to be found.
"""

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import DeepresError, InputError
from deepres.data.images import ArrayImages
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import Statistics, measure_statistics
from deepres.nn.create import create_model
from deepres.nn.sync_batch_norm import synced
from deepres.tasks.classification.losses import cross_entropy
from deepres.tasks.evaluator import evaluate
from deepres.train.config import TrainConfig
from deepres.train.distributed import Distributed, init_distributed
from deepres.train.grad_sync import GradSync
from deepres.train.loop import Step, TrainingContext, train
from deepres.train.precision import Precision
from deepres.train.schedules import ScheduleConfig
from deepres.train.state import State

CPU = torch.device("cpu")
FLOAT = Precision(CPU, torch.float32, channels_last=True)


def images() -> ArrayImages:
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (60, 3, 16, 16), generator=draw, dtype=torch.uint8)
    labels = torch.arange(60) % 4
    pixels[:, 0] = (pixels[:, 0] // 2 + 30 * labels[:, None, None]).to(torch.uint8)
    return ArrayImages(pixels, labels, ("a", "b", "c", "d"), "noise")


PREPARATION = Preparation(channels=3)
AUGMENTATION = Augmentation(crop="pad", pad=2, flip=0.5)


def statistics() -> Statistics:
    return measure_statistics(images(), PREPARATION, seed=0, on_bad_image="stop")


def loader(processes: Distributed, batch_size: int, augmentation: Augmentation = AUGMENTATION) -> TrainLoader:
    shared: dict[str, Any] = {"batch_size": batch_size, "seed": 0, "rank": processes.rank, "world_size": processes.size}
    return TrainLoader(images(), augmentation, PREPARATION, statistics(), TrainLoaderConfig(**shared))


def network() -> nn.Module:
    config = ResNetConfig(name="tiny", unit="basic", depths=(1, 1), widths=(8, 16), num_classes=4, input=(3, 16, 16))
    return create_model(config.architecture(), seed=0)


def trained(
    processes: Distributed, steps: int = 6, from_nothing: bool = False, weights: Tensor | None = None, **fields: Any
) -> dict[str, Any]:
    schedule = ScheduleConfig(kind="constant", lr=0.02)
    config = TrainConfig(iterations=steps, batch_size=16, schedule=schedule, **fields)
    state = State(network(), config.optimizer, averaged=config.ema_decay is not None)
    events = train(
        state,
        config,
        loader(processes, 16),
        cross_entropy(0.1 if weights is not None else 0.0, weights),
        None,
        TrainingContext(num_images=60, precision=FLOAT, seed=0, from_nothing=from_nothing, processes=processes),
    )
    together = config.sync_norm and processes.size > 1
    if together:
        with synced(state.network, processes.norms):
            seen = list(events)
    else:
        seen = list(events)
    told = [(event.loss, event.counts["wrong"], event.images) for event in seen if isinstance(event, Step)]
    average = None if state.average is None else state.average.state_dict()
    return {"weights": state.network.state_dict(), "average": average, "told": told}


def said(work: Callable[[], object]) -> str:
    try:
        work()
    except DeepresError as refusal:
        return f"{type(refusal).__name__} {refusal.shared} {refusal}"
    return "nothing"


def refuse(message: str) -> None:
    raise InputError(message, table=["a line"])


def agreements(processes: Distributed) -> dict[str, Any]:
    mine = processes.rank == processes.size - 1
    return {
        "highest": processes.highest(processes.rank, 7 - processes.rank),
        "gathered": processes.all_gather(lambda: processes.rank * 10),
        "on_rank_zero": processes.on_rank_zero(lambda: f"from {processes.rank}"),
        "agreed": processes.on_all_ranks(lambda: processes.rank),
        "in_turn": processes.local_rank_zero_first(lambda: processes.rank),
        "refused by first": said(lambda: processes.on_rank_zero(lambda: refuse(f"by {processes.rank}"))),
        "refused by last": said(
            lambda: processes.on_all_ranks(lambda: refuse(f"by {processes.rank}") if mine else None)
        ),
        "refused in gathering": said(
            lambda: processes.all_gather(lambda: refuse(f"by {processes.rank}") if mine else None)
        ),
        "same": said(lambda: processes.require_same("images", "one")),
        "others": said(lambda: processes.require_same("images", f"digest {processes.rank}")),
    }


def some_unused(processes: Distributed) -> dict[str, Any]:
    """Parameter 0 is used by all, 1 by process 0 alone, 2 by nobody; images are missing in the last process."""
    parts = nn.ParameterList([torch.full((3,), float(n)) for n in range(3)])
    kept = 4 if processes.rank == processes.size - 1 and processes.size > 1 else 8
    exchange = GradSync(processes, parts, 16, 1)
    loss = (parts[0].sum() * (processes.rank + 1) + (parts[1].sum() if processes.first else 0)) * kept / 16
    with exchange.summing():
        loss.backward()
    mean, counts, seen = exchange.totals(loss.detach(), {"wrong": torch.tensor(processes.rank + 1)}, kept)
    gradients = [None if part.grad is None else part.grad.tolist() for part in parts]
    return {"gradients": gradients, "mean": float(mean), "mistakes": int(counts["wrong"]), "seen": seen}


def whole_norm(processes: Distributed) -> dict[str, Tensor]:
    """A network in float64 on 8 images, those of rank r being a slice; its outputs, gradients and statistics."""
    net = network().double()
    x = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cuts = [0, 3, 8] if processes.size == 2 else [0, 8]  # unequal shares
    mine = slice(cuts[processes.rank], cuts[processes.rank + 1])
    exchange = GradSync(processes, net, 8, 1, own_norms=False)
    if processes.size == 1:
        y = net(x)
        (y.square().sum() / 8).backward()
    else:
        with synced(net, processes.norms):
            y = net(x[mine])
            with exchange.summing():
                (y.square().sum() / 8).backward()
        assert not any("forward" in vars(module) for module in net.modules())
    gradients = {f"grad {name}": p.grad for name, p in net.named_parameters() if p.grad is not None}
    rows = torch.zeros(8, 4, dtype=torch.float64)
    rows[mine] = y.detach()
    return {"rows": rows, **gradients, **net.state_dict()}


def evaluation(processes: Distributed) -> dict[str, Any]:
    shared: dict[str, Any] = {"batch_size": 7, "rank": processes.rank, "world_size": processes.size}
    batches = evaluation_batches(images(), PREPARATION, statistics(), LoaderConfig(**shared))
    found = evaluate(network(), batches, images(), split="test", all_gather=processes.all_gather)
    return {"result": found.result.replace(seconds=0, images_per_second=0), "loss": found.predictions.loss}


def not_finite(processes: Distributed) -> str:
    def loss(forward: Any, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        logits = forward(batch.images)
        return logits.sum() * (float("nan") if processes.rank == processes.size - 1 else 1.0), {
            "wrong": torch.zeros(())
        }

    config = TrainConfig(iterations=2, batch_size=16)
    state = State(network(), config.optimizer, averaged=False)
    facts: dict[str, Any] = {"num_images": 60, "precision": FLOAT, "seed": 0, "processes": processes}
    return said(lambda: list(train(state, config, loader(processes, 16), loss, None, TrainingContext(**facts))))


def main(folder: Path) -> None:
    with init_distributed("cpu") as processes:
        alone = processes.size == 1
        found = {
            "world": (processes.rank, processes.size),
            "agreements": agreements(processes),
            "unused": some_unused(processes),
            "whole norm": whole_norm(processes),
            "accumulated": trained(processes, accumulate=2 if alone else 1, clip_norm=1.0, ema_decay=0.9),
            "accumulated 4": trained(processes, accumulate=4),
            "weighted": trained(processes, weights=torch.tensor([0.2, 0.5, 1.0, 2.3]), accumulate=2 if alone else 1),
            "synced": trained(processes, sync_norm=True),
            "from nothing": trained(processes, accumulate=4, from_nothing=True, ema_decay=0.9),
            "from nothing, synced": trained(processes, sync_norm=True, from_nothing=True),
            "evaluation": evaluation(processes),
            "not finite": not_finite(processes),
        }
        torch.save(deepcopy(found), folder / f"rank-{processes.rank}-of-{processes.size}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
