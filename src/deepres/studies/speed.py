"""How long runs would take on this machine: its best rate of multiply-adds in training, measured and remembered."""

import os
import platform
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost
from deepres.base.files import cache_folder
from deepres.base.records import Record, recalled

NETWORK, BATCH = "resnet20_cifar", 128


class MachineSpeed(Record):
    """Multiply-adds a second of a training step (three forward passes' worth), and of what network it was measured."""

    hardware: str
    network: str
    macs_per_second: float

    def seconds(self, macs: float) -> float:
        """Seconds that a training of so many multiply-adds takes, if other networks run at the same rate."""
        return macs / self.macs_per_second


def speed(device: str | None = None, *, again: bool = False) -> MachineSpeed:
    """The machine's rate: the best ever seen of a 20-layer network in batches of 128, kept below `cache_folder()`.

    It is measured for two seconds at the first call, and where that is asked `again`, since other work may be in its
    way at any one of them; to remember it needs no torch. Other networks reach between 0.8 and 1.3 of it on a
    processor; on a GPU wide ones reach several times as much, so that times are upper bounds there.

    Raises:
        InputError: no such device.
    """
    path = rate_file(device)
    before = recalled(MachineSpeed, path)
    if before is not None and not again:
        return before
    from deepres.nn.create import create_model
    from deepres.nn.environment import hardware
    from deepres.nn.hardware import find_device
    from deepres.runs.autotune import step_rate
    from deepres.train.precision import choose

    where = find_device(device)
    images_per_second = step_rate(create_model(NETWORK), choose("auto", where), BATCH)
    rate = max(
        3 * cost(architecture(NETWORK)).macs * images_per_second, 0.0 if before is None else before.macs_per_second
    )
    found = MachineSpeed(hardware=hardware(where), network=NETWORK, macs_per_second=rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return found


def rate_file(device: str | None = None) -> Path:
    """Where the rate of this machine is remembered."""
    return cache_folder() / "speed" / f"{sha256(_machine(device).encode()).hexdigest()[:16]}.json"


def _machine(device: str | None) -> str:
    """What a rate hangs on, as far as can be told without torch: its version, processor, threads, GPUs, which one."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else [platform.processor()]
    processor = next((line for line in lines if line.startswith("model name")), platform.machine())
    gpus = sorted(path.read_text() for path in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = [os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ATEN_CPU_CAPABILITY")]
    return repr((version("torch"), platform.node(), processor, cores, gpus, said, device))
