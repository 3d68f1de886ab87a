"""What the hardware is built for: questions to a device that decide how a network runs on it."""

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: GPUs from compute capability 8.0, AVX512-BF16, AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # torch has no public name for these two; both are there since 2.6
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
