"""The start of a run that leaves its number of workers open: loading and steps are measured, each for a moment."""

import copy
from time import perf_counter

import torch

from deepres.data.workers import Workers, choose_workers, num_cores
from deepres.nn.build import ResidualNetwork
from deepres.recipes.setting import Setting
from deepres.train.fast import noise_loss
from deepres.train.precision import Precision

MOST_IMAGES = 32  # of a timed step
STEP_SECONDS = 2.0


def settle_workers(setting: Setting, network: ResidualNetwork) -> Workers | None:
    """The workers for a run whose `data.workers` is "auto"; None where they are given, or images lie in memory."""
    if setting.run.data.workers != "auto":
        return None
    loader = setting.loader()
    if loader.resident:
        return None
    config = setting.run.train
    step = step_rate(network, setting.precision, min(config.batch_size // config.accumulate, MOST_IMAGES))
    cores = max(1, num_cores() // setting.world.local_size)
    return choose_workers(loader.rate(), step, cores, on_gpu=setting.precision.device.type == "cuda")


def step_rate(network: ResidualNetwork, precision: Precision, batch_size: int, seconds: float = STEP_SECONDS) -> float:
    """Images/s of forward and backward passes on noise, by a copy of the network, the first one apart."""
    description, device = network.description, precision.device
    loss = noise_loss(description.input, batch_size, description.num_classes, precision)
    twin = precision.place(copy.deepcopy(network)).train()
    taken: list[float] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while len(taken) < 2 or (sum(taken) < seconds and len(taken) < 12):
            began = perf_counter()
            loss(twin).backward()  # type: ignore[no-untyped-call]
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(perf_counter() - began)
    return batch_size / min(taken[1:])
