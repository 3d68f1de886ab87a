"""A video file -> some of its frames, upright, by PyAV; no other file and no address is opened for it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.data.decode import BadImageError

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".mts", ".m2ts"}
)


def is_video(path: Path) -> bool:
    """By its suffix."""
    return path.suffix.lower() in SUFFIXES


def frames(path: Path, every: float) -> Iterator[tuple[float, Tensor]]:
    """The first frame at or after 0, `every`, 2 `every`, … seconds: its time and pixels, uint8 RGB (3, H, W).

    Raises:
        InputError: the extra is not installed. BadImageError: no video, or damaged: what came before was whole.
    """
    try:
        import av
    except ImportError as cause:
        raise InputError(f"{path}: reading videos needs an extra: pip install 'deepres[video]'") from cause
    due, seen = 0.0, False
    try:
        with open_regular(path) as file, av.open(file, "r", options={"protocol_whitelist": "none"}) as container:
            if not container.streams.video:
                other = container.streams.audio or container.streams.subtitles
                what = "a file without a video; wanted one with pictures"
                cut = "damaged or cut short (nothing to show in it); replace or remove the file"
                raise BadImageError(f"{path}: {what if other else cut}")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            begin = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
            for frame in container.decode(stream):
                seconds = (frame.time or 0.0) - begin
                if seconds + 1e-6 < due:
                    continue
                due, seen = every * (int((seconds + 1e-6) / every) + 1), True
                turned = np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90))
                yield seconds, torch.from_numpy(np.ascontiguousarray(turned.transpose(2, 0, 1)))
    except (av.FFmpegError, OSError, ValueError) as cause:
        if isinstance(cause, InputError):
            raise
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise BadImageError(f"{path}: damaged or cut short ({reason}); replace or remove the file") from cause
    if not seen:
        raise BadImageError(f"{path}: damaged or cut short (not a single frame); replace or remove the file")
