"""How long runs would take on this machine: its rate of multiply-adds in training, measured once and remembered."""

from hashlib import sha256
from time import perf_counter

import torch

from deepres.base import records
from deepres.base.files import cache_folder
from deepres.base.records import Record
from deepres.evaluate.provenance import hardware
from deepres.nn.create import create_model
from deepres.spec.catalogue import network as catalogue_network
from deepres.spec.cost import cost
from deepres.train.fast import noise_loss
from deepres.train.precision import choose

NETWORK, BATCH, SECONDS = "resnet20_cifar", 128, 2.0


class Speed(Record):
    """Multiply-adds a second of a training step (three forward passes' worth), and of what network it was measured."""

    hardware: str
    network: str
    macs_per_second: float

    def seconds(self, macs: float) -> float:
        """Seconds that a training of so many multiply-adds takes, if other networks run at the same rate."""
        return macs / self.macs_per_second


def speed(device: torch.device) -> Speed:
    """The machine's rate: the best ever seen of a 20-layer network in batches of 128, kept below `cache_folder()`.

    It is measured for two seconds at each call, since other work may be in its way at any one of them. Other networks
    reach between 0.8 and 1.3 of it on a processor; on a GPU wide ones reach several times as much, so that times are
    upper bounds there.
    """
    name = hardware(device)
    path = cache_folder() / "speed" / f"{sha256(f'{name} {torch.__version__}'.encode()).hexdigest()[:16]}.json"
    precision = choose("auto", device)
    network = precision.place(create_model(NETWORK)).train()
    description = catalogue_network(NETWORK)
    loss = noise_loss(description.input, BATCH, 10, precision)
    taken: list[float] = []
    while len(taken) < 2 or (sum(taken) < SECONDS and len(taken) < 20):
        began = perf_counter()
        loss(network).backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(perf_counter() - began)
    rate = 3 * cost(description).macs * BATCH / min(taken)
    if path.is_file():
        rate = max(rate, records.load(Speed, path, "measured speed").macs_per_second)
    found = Speed(hardware=name, network=NETWORK, macs_per_second=rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return found


def spoken(seconds: float) -> str:
    """`40 min`, `3.5 h`, `12 days`, `3 years`."""
    for unit, size, limit in (("min", 60, 90), ("h", 3600, 48), ("days", 86400, 600)):
        if seconds < size * limit:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 or unit == "min" else f"{value:.1f} {unit}"
    return f"{seconds / 86400 / 365:.1f} years"
