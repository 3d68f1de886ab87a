"""A sheet of what training sees -> one HTML page, or one PNG; small images are enlarged without smoothing."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath
from textwrap import wrap

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.files import write_atomic
from deepres.data.decode import as_picture
from deepres.report.html import made_here, render
from deepres.tasks.result import printable

SUFFIXES = (".html", ".htm", ".png")
DRAWS = 6
"""Times that an image is shown as training draws it."""
MOST_TILES = 128
"""So many images of a batch are shown at most; its counts are of all."""
MOST_CLASSES = 30
TILE = 112  # px of a PNG's tiles
_WHOLE = 168  # px of a whole image at most
_LOSSLESS = 96  # px; larger images are JPEG within the page
_INK, _MUTED, _PAPER, _LINE, _KEPT = "#1a1f24", "#5a6570", "#ffffff", "#d5dbe1", "#1f6fb4"


@dataclass(frozen=True, eq=False)
class Tile:
    """One image of a batch, uint8 (C, H, W): as training sees it, and as evaluation does; its label in words."""

    name: str
    label: str
    seen: Tensor
    judged: Tensor


@dataclass(frozen=True, eq=False)
class AugmentedView:
    """What training sees of an image the next time that it is drawn: in which epoch, from 1 on, and at which step."""

    epoch: int
    step: int
    label: str
    seen: Tensor


@dataclass(frozen=True, eq=False)
class AugmentedImage:
    """One image: `whole`, what evaluation keeps of it as (left, top, width, height) in px, and some draws of it."""

    name: str
    label: str
    whole: Tensor
    kept: tuple[float, float, float, float]
    judged: Tensor
    draws: list[AugmentedView]


@dataclass(frozen=True, eq=False)
class Page:
    """A sheet as it is shown: `tiles` batch by batch; of each class its name, how often here and how often in all."""

    facts: dict[str, str]
    balance: str
    rows: list[AugmentedImage]
    tiles: list[list[Tile]]
    classes: list[tuple[str, int, int]]
    skipped: dict[str, str]


def require_suffix(path: Path) -> None:
    """Refuse a file name that says neither page nor picture."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--output {path}: a sheet is a page or a picture; wanted a name that ends in .html or .png")


def write_sheet(path: Path, sheet: Page, title: str) -> None:
    """Write the sheet to `path`, by its suffix.

    Raises:
        InputError: another suffix, or a place that cannot be written.
    """
    require_suffix(path)
    if path.suffix.lower() == ".png":
        content = BytesIO()
        _picture(sheet, title).save(content, "PNG", pnginfo=made_here())
        write_atomic(path, content.getvalue())
    else:
        write_atomic(path, printable(_page(sheet, title)))


def _page(sheet: Page, title: str) -> str:
    classes = sorted(sheet.classes, key=lambda row: (-row[1], row[0]))
    return render(
        "sheet.html.jinja",
        {"address": _address, "ending": _ending},
        title=title,
        facts=sheet.facts,
        rows=sheet.rows,
        shown=[(tiles[:MOST_TILES], len(tiles)) for tiles in sheet.tiles],
        classes=classes[:MOST_CLASSES],
        more=classes[MOST_CLASSES:],
        most=max(count for _, count, _ in classes),
        total=sum(count for _, count, _ in classes),
        num_train=sum(every for _, _, every in classes),
        skipped=sheet.skipped,
    )


def _address(pixels: Tensor) -> str:
    """A `data:` address: PNG of small images, JPEG of larger ones."""
    picture, content = as_picture(pixels).convert("RGB"), BytesIO()
    if max(picture.size) > 2 * _WHOLE:
        picture.thumbnail((2 * _WHOLE, 2 * _WHOLE), Image.Resampling.LANCZOS)
    small = max(picture.size) <= _LOSSLESS
    if small:
        picture.save(content, "PNG")
    else:
        picture.save(content, "JPEG", quality=90, subsampling=0)
    return f"data:image/{'png' if small else 'jpeg'};base64,{b64encode(content.getvalue()).decode('ascii')}"


def _ending(name: str) -> str:
    """`cat/7.jpg` of a path."""
    return "/".join(PurePath(name).parts[-2:])


def _sized(pixels: Tensor, width: int, height: int) -> Image.Image:
    """The image at most so large: enlarged by whole numbers, without smoothing, or made small."""
    picture = as_picture(pixels).convert("RGB")
    times = min(width // picture.width, height // picture.height)
    if times >= 1:
        return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    picture.thumbnail((width, height), Image.Resampling.LANCZOS)
    return picture


class _Canvas:
    """A picture that is written from the top down; `place` is where the next line begins."""

    def __init__(self, width: int, height: int) -> None:
        self.picture = Image.new("RGB", (width, height), _PAPER)
        self.pen = ImageDraw.Draw(self.picture)
        home = font_manager.findfont("DejaVu Sans")
        self.fonts = {size: ImageFont.truetype(home, size) for size in (11, 13, 20)}

    def text(self, left: int, top: int, text: str, size: int = 11, ink: str = _INK, width: int | None = None) -> None:
        shown, font = printable(" ".join(text.split())), self.fonts[size]
        while width is not None and len(shown) > 1 and font.getlength(shown) > width:
            shown = shown[: -2 if shown.endswith("…") else -1] + "…"
        self.pen.text((left, top), shown, ink, font)

    def image(self, left: int, top: int, pixels: Tensor, width: int, height: int) -> Image.Image:
        shown = _sized(pixels, width, height)
        self.picture.paste(shown, (left, top))
        return shown


def _picture(sheet: Page, title: str) -> Image.Image:
    gap, margin = 8, 16
    wide = _WHOLE + (1 + DRAWS) * (TILE + gap)
    cell = TILE + gap // 2 + TILE // 2 + 2 * gap
    across = max(1, wide // cell)
    facts = [line for name, fact in sheet.facts.items() for line in wrap(f"{name}: {fact}", wide // 7)]
    facts.append(f"in these batches: {sheet.balance}")
    shown = [tiles[:MOST_TILES] for tiles in sheet.tiles]
    heights = [30 + -(-len(tiles) // across) * (TILE + 40) for tiles in shown]
    top = margin + 34 + 18 * len(facts) + 14
    canvas = _Canvas(wide + 2 * margin, top + 50 + len(sheet.rows) * (TILE + 44) + sum(heights) + margin)
    canvas.text(margin, margin, title, 20, width=wide)
    for number, line in enumerate(facts):
        canvas.text(margin, margin + 34 + 18 * number, line, 13, _MUTED, wide)
    canvas.text(margin, top, "whole, with the part that evaluation keeps", 11, _MUTED)
    canvas.text(margin + _WHOLE + gap, top + 15, "in evaluation", 11, _MUTED)
    canvas.text(margin + _WHOLE + TILE + 2 * gap, top + 15, "each time that training draws it", 11, _MUTED)
    top += 34
    for row in sheet.rows:
        whole = canvas.image(margin, top, row.whole, _WHOLE - gap, TILE)
        scale, (left, upper, width, height) = whole.width / row.whole.shape[-1], row.kept
        frame = [
            margin + left * scale,
            top + upper * scale,
            margin + (left + width) * scale - 1,
            top + (upper + height) * scale - 1,
        ]
        canvas.pen.rectangle(frame, outline=_KEPT, width=2)
        canvas.image(margin + _WHOLE, top, row.judged, TILE, TILE)
        for number, draw in enumerate(row.draws):
            place = margin + _WHOLE + (number + 1) * (TILE + gap)
            canvas.image(place, top, draw.seen, TILE, TILE)
            label = f"epoch {draw.epoch}" if draw.label == row.label else draw.label
            canvas.text(place, top + TILE + 2, label, 11, _MUTED, TILE)
        canvas.text(margin, top + TILE + 2, row.label, 11, width=_WHOLE)
        canvas.text(margin, top + TILE + 16, _ending(row.name), 11, _MUTED, wide)
        top += TILE + 44
    for step, tiles in enumerate(shown):
        left_out = len(sheet.tiles[step]) - len(tiles)
        more = f" ({left_out} more)" if left_out else ""
        canvas.text(margin, top, f"step {step}: as training sees it, and beside it as evaluation does{more}", 13)
        top += 24
        for number, tile in enumerate(tiles):
            _put(canvas, tile, margin + number % across * cell, top + number // across * (TILE + 40), cell)
        top += heights[step] - 24
    return canvas.picture


def _put(canvas: _Canvas, tile: Tile, left: int, top: int, cell: int) -> None:
    canvas.image(left, top, tile.seen, TILE, TILE)
    canvas.image(left + TILE + 4, top, tile.judged, TILE // 2, TILE // 2)
    canvas.text(left, top + TILE + 2, tile.label, 11, width=cell - 8)
    canvas.text(left, top + TILE + 16, _ending(tile.name), 11, _MUTED, cell - 8)
