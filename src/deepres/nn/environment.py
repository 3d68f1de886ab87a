"""Where numbers come from: the versions and the hardware that they depend on."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from deepres.base.version import VERSION
from deepres.base.wording import counted


def versions() -> dict[str, str]:
    """Of the software that numbers depend on."""
    return {
        "deepres": VERSION,
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "python": platform.python_version(),
    }


def hardware(device: torch.device) -> str:
    """The GPU's name, or `2 threads of AMD EPYC 9454 with AVX512`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{counted(threads, 'thread')} of {_processor()} with {torch.backends.cpu.get_cpu_capability()}"


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
