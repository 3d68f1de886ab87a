"""A picture beside the map of an answer, at its own size: what the network saw of it, a scale, the answer in words."""

from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from deepres.analyze.attribution import overlay
from deepres.analyze.localisation import Box
from deepres.data.box_drawing import Font
from deepres.data.box_drawing import font as font_of
from deepres.data.transforms.config import Preparation
from deepres.predict.pictures import Picture
from deepres.report.html import made_here

GAP = 8
"""Pixels between the parts."""

_PAPER, _INK = (255, 255, 255), (26, 31, 36)
_LONGEST = 60  # letters of a picture's name in the file of its map


def seen(preparation: Preparation, height: int, width: int) -> Box:
    """The part of a picture that the network's square shows; with grey bars it reaches beyond the picture."""
    size = preparation.size
    if size is None or preparation.fit == "squash":
        return 0, 0, width, height
    if preparation.fit == "crop":
        assert preparation.resize is not None
        side = round(min(height, width) * size / preparation.resize)
        left, top = round((width - side) / 2), round((height - side) / 2)
        return left, top, left + side, top + side
    side = max(height, width)
    left, top = -((side - width) // 2), -((side - height) // 2)
    return left, top, left + side, top + side


def beside(image: Tensor, heat: Tensor, preparation: Preparation, answer: str) -> Image.Image:
    """`answer`, and below it the picture, the picture with the map on it, and the scale; (C, H, W) uint8, (h, w).

    What the network was not shown is without colour and dimmed. The scale goes from 0, and below, to the largest value.
    """
    return _laid_out(_plain(image), mapped(image, heat, preparation), float(heat.max()), answer)


def mapped(image: Tensor, heat: Tensor, preparation: Preparation) -> Image.Image:
    """The picture with the map on it, at its own size: (C, H, W) uint8, (h, w).

    What the network was not shown is without colour and dimmed.
    """
    height, width = image.shape[-2:]
    box = seen(preparation, height, width)
    values = Image.fromarray(heat.detach().cpu().float().numpy())
    spread = values.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR)
    whole = Image.new("F", (width, height), 0.0)
    whole.paste(spread, box[:2])
    coloured = overlay(image, torch.from_numpy(np.asarray(whole).copy()))
    drawn = _plain(image).convert("L").point(lambda value: value // 2).convert("RGB")
    inside = (max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3]))
    drawn.paste(Image.fromarray(coloured.permute(1, 2, 0).numpy()).crop(inside), inside[:2])
    return drawn


def _plain(image: Tensor) -> Image.Image:
    return Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy())


def _laid_out(plain: Image.Image, mapped: Image.Image, largest: float, answer: str) -> Image.Image:
    width, height = plain.size
    size = max(13, min(width, height) // 24)
    font = font_of(size)
    labels = (f"{largest:.3g}" if largest > 0 else "no part speaks for it", "0")
    bar = max(10, size // 2)
    right = bar + GAP // 2 + round(max(font.getlength(label) for label in labels))
    room = max(2 * width + 2 * GAP + right, 24 * size)
    text = _shortened(answer, font, room)
    head = round(1.6 * size) + GAP
    low = max(height, 2 * size + GAP)
    canvas = Image.new("RGB", (room + 2 * GAP, head + low + 2 * GAP), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, GAP), text, fill=_INK, font=font)
    top = head + GAP
    canvas.paste(plain, (GAP, top))
    canvas.paste(mapped, (2 * GAP + width, top))
    scale = torch.linspace(1, 0, low)[:, None].expand(low, bar)
    grey = torch.full((3, low, bar), 255, dtype=torch.uint8)
    left = 3 * GAP + 2 * width
    canvas.paste(Image.fromarray(overlay(grey, scale, opacity=1.0).permute(1, 2, 0).numpy()), (left, top))
    draw.text((left + bar + GAP // 2, top), labels[0], fill=_INK, font=font)
    draw.text((left + bar + GAP // 2, top + low - round(1.2 * size)), labels[1], fill=_INK, font=font)
    return canvas


def png(picture: Image.Image) -> bytes:
    """The picture as a file."""
    content = BytesIO()
    picture.save(content, "PNG", compress_level=3, pnginfo=made_here())
    return content.getvalue()


def file_name(picture: Picture, what: str = "cam") -> str:
    """`cat-1f0c9a3be2_cam.png`: of the same picture always the same, of two pictures never."""
    content = picture.content
    if isinstance(content, Path):
        whole = str(content.resolve()).encode(errors="surrogateescape")
        stem = content.stem
    else:
        whole = content if isinstance(content, bytes) else content.numpy().tobytes()
        whole += picture.name.encode(errors="surrogateescape")
        stem = Path(picture.name.split("?")[0]).name
    plain = "".join(letter if letter.isalnum() or letter in "-_.@" else "_" for letter in stem)[:_LONGEST].strip("._")
    return f"{plain or 'picture'}-{sha256(whole).hexdigest()[:10]}_{what}.png"


def _shortened(text: str, font: Font, room: int) -> str:
    text = " ".join(text.split())
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text}…"
