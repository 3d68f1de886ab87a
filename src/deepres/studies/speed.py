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
    """Multiply-adds a second of a training step (three forward passes' worth), and of what network it was measured.

    `busy` is the load of the machine before, where more than half of its processors were at work: too low a rate, then.
    """

    hardware: str
    network: str
    macs_per_second: float
    busy: float | None = None

    @property
    def note(self) -> str:
        """`; measured at a load of 4.9, so that times are too long`, or nothing."""
        return "" if self.busy is None else f"; measured at a load of {self.busy:.1f}, so that times are too long"

    def seconds(self, macs: float) -> float:
        """Seconds that a training of so many multiply-adds takes, if other networks run at the same rate."""
        return macs / self.macs_per_second


def speed(device: str | None = None, *, again: bool = False) -> MachineSpeed:
    """The machine's rate: the best ever seen of a 20-layer network in batches of 128, kept below `cache_folder()`.

    It is measured for two seconds at the first call, where that is asked `again`, and where the machine was busy then
    and is no more, since other work may be in its way at any one of them; to remember it needs no torch. Other networks
    reach between 0.8 and 1.3 of it on a processor; on a GPU wide ones reach several times as much, so that times are
    upper bounds there.

    Raises:
        InputError: no such device.
    """
    path = rate_file(device)
    before = recalled(MachineSpeed, path)
    busy = _busy()
    if before is not None and not again and (before.busy is None or busy is not None):
        return before
    from deepres.nn.create import create_model
    from deepres.nn.environment import hardware
    from deepres.nn.hardware import find_device
    from deepres.runs.autotune import step_rate
    from deepres.train.precision import choose

    where = find_device(device)
    images_per_second = step_rate(create_model(NETWORK), choose("auto", where), BATCH)
    rate = 3 * cost(architecture(NETWORK)).macs * images_per_second
    found = MachineSpeed(hardware=hardware(where), network=NETWORK, macs_per_second=rate)
    if where.type == "cpu":  # what a GPU computes, the processors hardly slow
        found = found.replace(busy=busy)
    if before is not None and before.macs_per_second >= rate:
        found = before.replace(busy=busy and before.busy)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return found


def _busy() -> float | None:
    """How many programs were at work in the last minute, where that is more than half of the processors."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return load if load > 0.5 * _num_cores() else None


def _num_cores() -> int:
    """Those of data/loading/workers.py, which loads torch."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rate_file(device: str | None = None) -> Path:
    """Where the rate of this machine is remembered."""
    return cache_folder() / "speed" / f"{sha256(_machine(device).encode()).hexdigest()[:16]}.json"


def _machine(device: str | None) -> str:
    """What a rate hangs on, as far as can be told without torch: its version, processor, threads, GPUs, which one."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else [platform.processor()]
    processor = next((line for line in lines if line.startswith("model name")), platform.machine())
    gpus = sorted(path.read_text() for path in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    cores = _num_cores()
    said = [os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ATEN_CPU_CAPABILITY")]
    return repr((version("torch"), platform.node(), processor, cores, gpus, said, device))
