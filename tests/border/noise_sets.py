"""Small sets of noise in every form that a source has, and runs on them of two steps."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from deepres.cli.main import run
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find
from deepres.data.sources.tables import write_table

CLASSES = ("ant", "bee", "fly")
SIDE, EACH = 20, 20  # 60 images: 9 of them test, 6 val, 45 train


def draw(folder: Path, seed: int = 0, each: int = EACH) -> Path:
    """Class folders of smooth noise, whose labels nobody can learn."""
    noise = np.random.default_rng(seed)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            coarse = Image.fromarray(noise.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / name / f"{number:03}.png")
    return folder


def pixels_of(photos: Path, file: Path) -> Path:
    parts = find(DataConfig(source=str(photos))).splits["train"]
    x = np.stack([parts.image(i).permute(1, 2, 0).numpy() for i in range(len(parts))])
    np.savez(file, x=x, y=parts.targets.numpy(), classes=np.array(CLASSES))
    return file


def shard_of(photos: Path, file: Path) -> Path:
    with tarfile.open(file, "w") as tar:
        for number, path in enumerate(sorted(photos.glob("*/*.png"))):
            for suffix, content in ((".png", path.read_bytes()), (".cls", path.parent.name.encode())):
                member = tarfile.TarInfo(f"{number:04}{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return file


def packed(photos: Path, out: Path, *arguments: str) -> Path:
    assert run(["data", "pack", str(photos), str(out), *arguments]) == 0
    return out


def trained(source: Path | str, folder: Path, *arguments: str) -> Path:
    plan = ["train", str(source), "--recipe", "small", "-b", "16", "--device", "cpu", "--output", str(folder)]
    short = ["train.epochs=none", "train.iterations=2", "train.precise_bn_batches=0", "train.compile=off"]
    assert run([*plan, *(part for edit in short for part in ("--set", edit)), *arguments]) == 0
    return folder


def table(photos: Path, file: Path) -> Path:
    write_table(file, {"test": find(DataConfig(source=str(photos))).splits["train"]}, "photos")
    return file
