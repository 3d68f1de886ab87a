"""How long runs would take on this machine: its best rate of multiply-adds in training, measured and remembered."""

from hashlib import sha256

import torch

from deepres.arch.catalogue.lookup import network
from deepres.arch.readings.cost import cost
from deepres.base.files import cache_folder
from deepres.base.records import Record, recalled
from deepres.nn.create import create_model
from deepres.nn.environment import hardware
from deepres.runs.autotune import step_rate
from deepres.train.precision import choose

NETWORK, BATCH = "resnet20_cifar", 128


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
    images_per_second = step_rate(create_model(NETWORK), choose("auto", device), BATCH)
    rate = 3 * cost(network(NETWORK)).macs * images_per_second
    before = recalled(Speed, path)
    if before is not None:
        rate = max(rate, before.macs_per_second)
    found = Speed(hardware=name, network=NETWORK, macs_per_second=rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return found
