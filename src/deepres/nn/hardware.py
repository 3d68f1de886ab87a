"""What the hardware is built for: questions to a device that decide how a network runs on it."""

import os
import platform
import shutil

import torch

from deepres.base.errors import InputError

DEVICES = "cpu, cuda, cuda:N or mps"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: GPUs from compute capability 8.0, AVX512-BF16, AMX.

    Of Apple's GPUs the later ones do; none was at hand to try, so they compute in float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "mps":
        return False
    # torch has no public names for these; they are there since 2.6
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def multiplies_int8() -> bool:
    """Whether the processor multiplies and adds 8-bit integers in one instruction: VNNI, AMX, ARM's dot product."""
    if torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported():
        return True
    told: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch that we take
    return any(told.get(name, False) for name in ("avx_vnni", "amx_int8", "dot", "i8mm"))


def saturates_int8() -> bool:
    """Whether the sum of two products uint8 * int8 is cut at 2^15 - 1: x86 without VNNI and AMX (vpmaddubsw)."""
    return platform.machine().lower() in ("x86_64", "amd64") and not multiplies_int8()


def cannot_compile(device: torch.device) -> str | None:
    """What torch.compile lacks on this machine; None where nothing is.

    On a CPU it needs a C++ compiler, on a GPU of compute capability 7.0 or more a C compiler (Triton's launchers).
    """
    if device.type == "mps":
        return "torch.compile is not tried on Apple's GPUs"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (7, 0):
        return "a GPU that torch.compile has no code for"
    language, variable, names = (
        ("C", "CC", ("gcc", "cc", "clang")) if device.type == "cuda" else ("C++", "CXX", ("g++", "c++", "clang++"))
    )
    if not any(shutil.which(name) for name in (os.environ.get(variable, ""), *names) if name):
        return f"no {language} compiler on this machine"
    return None


def require_float32(device: torch.device) -> None:
    """Float32 means float32: torch lets cuDNN convolve with TF32's 10 bits of mantissa unless told not to."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False


def wait_for(device: torch.device) -> None:
    """Return once all that was asked of the device is done; a CPU has then done it already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def best_layout(device: torch.device) -> torch.memory_format:
    """Channels last, which the convolutions of cuDNN and oneDNN are written for; Apple's GPUs keep channels first."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def find_device(name: str | None) -> torch.device:
    """The device of that name, of a number alone the GPU of that number, or the best that was tried: CUDA's, the CPU.

    `mps`, the GPU of a Mac, is taken where it is asked for.

    Raises:
        InputError: a GPU is asked for and absent.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{name}" if name.isdigit() else name)
    except RuntimeError as cause:
        raise InputError(f"--device {name}: no such kind of device; wanted {DEVICES}") from cause
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(
            f"--device {name}: this machine has {count} GPUs that torch can use; leave --device out, or say cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"--device {name}: torch finds no GPU of Apple's here; leave --device out, or say cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"--device {name}: wanted {DEVICES}")
    return device
