"""Where numbers come from: the versions and the hardware that they depend on."""

import os
import platform
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage

import torch

from deepres.base.heap import preloaded_allocator
from deepres.base.ram import free_bytes, told_bytes
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
    if device.type == "mps":
        return f"GPU of {_processor()}"
    threads = torch.get_num_threads()
    return f"{counted(threads, 'thread')} of {_processor()} with {torch.backends.cpu.get_cpu_capability()}"


def resources(folder: Path) -> dict[str, str]:
    """What work in the folder can use here: memory, disk, processes that decode, drivers; and what is not installed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    missing = [extra for extra, library in _EXTRAS.items() if find_spec(library) is None]
    return {
        "memory": f"{told_bytes(free_bytes())} free; allocator: {preloaded_allocator() or 'that of the C library'}",
        "disk": f"{told_bytes(disk_usage(folder).free)} free in {folder.absolute()}",
        "workers": f"{counted(cores, 'core')}: {max(1, cores - 1)} or fewer decode where a run says auto",
        "driver": _driver(),
        "extras": f"absent: {', '.join(missing)} (pip install 'deepres[NAME]')" if missing else "all are installed",
    }


def advice(device: torch.device) -> list[str]:
    """What would help here, in a line each."""
    told = []
    if device.type == "cpu" and Path("/proc/driver/nvidia/version").is_file():
        told.append("a GPU is here that torch cannot use: install the torch build of its CUDA version")
    elif device.type == "cpu" and torch.backends.mps.is_available():
        told.append("a GPU of Apple's is here: --device mps trains classifiers on it, in float32; none was tried yet")
    elif device.type == "cpu":
        told.append("no GPU: small networks train in minutes on a CPU; photographs with deepres train --weights NAME")
    if find_spec("openvino") is None and device.type == "cpu":
        told.append("answers are faster on many CPUs with pip install 'deepres[openvino]'")
    if free_bytes() < 2 * 2**30:
        told.append("little memory is free: --memory save, a smaller --batch-size")
    return told


_EXTRAS = {
    "export": "onnxruntime",
    "openvino": "openvino",
    "serve": "fastapi",
    "hub": "huggingface_hub",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "heif": "pillow_heif",
    "video": "av",
    "keras": "h5py",
}


def _driver() -> str:
    told = Path("/proc/driver/nvidia/version")
    module = re.search(r"(\d+\.\d+(?:\.\d+)?)", told.read_text()) if told.is_file() else None
    cuda = f"torch built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch built without CUDA"
    return f"{'no driver of NVIDIA' if module is None else f'NVIDIA {module[1]}'}; {cuda}"


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
