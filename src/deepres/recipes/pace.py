"""The start of a run that leaves its workers open: loading and steps are measured, each for a moment."""

import copy
from time import perf_counter
from typing import NamedTuple

import torch

from deepres.base.wording import counted
from deepres.data.workers import (
    Crew,
    batches_fitting,
    choose_prefetch_factor,
    choose_workers,
    num_cores,
    room_for_batches,
)
from deepres.nn.build import ResidualNetwork
from deepres.nn.memory import available_bytes
from deepres.recipes.setting import Setting
from deepres.train.fast import noise_loss
from deepres.train.precision import Precision

MOST_IMAGES = 32  # of a timed step
STEP_SECONDS = 2.0


class Settled(NamedTuple):
    """How many workers, how many batches ahead; and the line that says why."""

    crew: Crew
    sentence: str


def settle_workers(setting: Setting, network: ResidualNetwork) -> Settled | None:
    """The workers of a run whose `data.workers` or `data.prefetch_factor` is "auto"; what is given stays as it is.

    None where both are given, where no worker is wanted, or where images lie in memory.
    """
    data, config, world = setting.run.data, setting.run.train, setting.world
    if data.workers == 0 or "auto" not in (data.workers, data.prefetch_factor):
        return None
    loader = setting.loader()
    if loader.resident:
        return None
    on_gpu = setting.precision.device.type == "cuda"
    step = step_rate(network, setting.precision, min(config.batch_size // config.accumulate, MOST_IMAGES))
    step *= 1 - (0.0 if setting.teachers is None else setting.teachers.known.share)
    load = loader.load()
    images = config.batch_size // world.size
    room = room_for_batches(available_bytes(torch.device("cpu"))) // world.local_size
    if data.workers == "auto":
        cores, fitting = max(1, num_cores() // world.local_size), batches_fitting(load, images, room)
        workers, said = choose_workers(1 / load.seconds, step, cores, on_gpu=on_gpu, fitting=fitting)
    else:
        workers, said = data.workers, f"workers: {data.workers} as given"
    if data.prefetch_factor == "auto":
        factor, why = choose_prefetch_factor(load, images, step, workers, room)
    else:
        factor, why = data.prefetch_factor, f"each {counted(data.prefetch_factor, 'batch')} ahead as given"
    return Settled(Crew(workers, factor), f"{said}, {why}")


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
