"""What a file is by its suffix and its first bytes; what to do with one that is no picture that can be read."""

import os

RAW = frozenset({".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"})
"""Suffixes, in lower case, of what cameras write before it is developed."""

SUFFIXES = (
    frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"})
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".avifs", ".jp2", ".j2k", ".jpx"}
    | {".heic", ".heif", ".heics", ".hif", ".jxl", ".psd", ".svg", ".pdf", ".tga", ".dcm", ".exr", ".hdr", *RAW}
)
"""Suffixes, in lower case, that make a file a picture, also one that cannot be read: none of them goes unsaid."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"FUJIFILM", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIU\x00", "camera raw"),
    (b"PK\x03\x04", "zip archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"version https://git-lfs", "git-lfs"),
    (b"\x00\x05\x16\x07", "AppleDouble"),
    (b"bplist00", "iCloud"),
    (b"\x1a\x45\xdf\xa3", "video"),
)
_PICTURES = frozenset(
    {"JPEG", "PNG", "GIF", "WebP", "TIFF", "JPEG2000", "JPEG XL", "HEIC", "AVIF", "Photoshop", "camera raw"}
)

_REMEDIES = {
    "HEIC": "HEIC/HEIF, read once pillow-heif is there: pip install 'deepres[heif]'; or save it as JPEG",
    "AVIF": "AVIF, which this Pillow was built without: pip install -U pillow; or save it as JPEG",
    "JPEG XL": "JPEG XL, which is not read; save it as PNG or JPEG (djxl)",
    "camera raw": "a camera's raw file, which is not read; develop it to JPEG or TIFF",
    "Photoshop": "a Photoshop file, which is not read; export it as PNG",
    "PDF": "a PDF, no picture; export its pages as PNG, or remove it",
    "PostScript": "PostScript, no picture; export it as PNG, or remove it",
    "SVG": "a vector drawing (SVG), which has no pixels; export it as PNG",
    "DICOM": "DICOM, which is not read; export it as PNG",
    "web page": "a web page (HTML) under a picture's name: the download went wrong; fetch it anew or remove it",
    "git-lfs": "a git-lfs pointer, not the picture itself; fetch it with: git lfs pull",
    "AppleDouble": "what macOS keeps beside a picture (AppleDouble), not the picture; remove it",
    "iCloud": "a placeholder, the photo itself lies in iCloud; download it there",
    "zip archive": "a zip archive, no picture; unpack it",
    "gzip archive": "packed with gzip; unpack it",
    "video": "a video, no picture; give it a video's suffix for predict, or save its frames as pictures",
}


def kind_of(start: bytes) -> str | None:
    """What a file is that begins with `start` (256 bytes are enough): JPEG, HEIC, web page, …; None: not known."""
    for beginning, kind in _BEGINNINGS:
        if start.startswith(beginning):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp":
        brands = {start[8:12], *(start[place : place + 4] for place in range(16, min(len(start), start[3]), 4))}
        if start[8:12] == b"crx ":
            return "camera raw"
        return "AVIF" if brands & {*_AVIF_BRANDS} else "HEIC" if brands & {*_HEIF_BRANDS} else "video"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "web page"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "SVG"
    return "DICOM" if start[128:132] == b"DICM" else None


def begins_as_picture(start: bytes) -> bool:
    """Whether a file without a picture's suffix is one, by its first bytes."""
    return kind_of(start) in _PICTURES


def what_is_wrong(start: bytes, name: str, readable: tuple[str, ...]) -> str:
    """Why the file `name` of these first bytes is no picture that can be read, and what to do."""
    if not start:
        return "empty (0 bytes); replace or remove the file"
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    kind = kind_of(start) or {".svg": "SVG", ".dcm": "DICOM"}.get(suffix)
    if suffix in RAW and kind in (None, "TIFF"):
        kind = "camera raw"
    if kind in _REMEDIES:
        return _REMEDIES[kind]
    shown = start[:12].decode("ascii", "replace")
    begins = f'"{shown}"' if shown.isprintable() and shown.isascii() else f"bytes {start[:8].hex(' ')}"
    return f"not an image that can be read (it begins with {begins}); wanted one of {', '.join(readable)}"
