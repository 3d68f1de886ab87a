"""Images/s of one core from files to normalised batches: `python bench/input_path.py PHOTOS [--json PATH]`.

Protocol. The JPEGs below PHOTOS are shrunk to 500 px on the long side (Lanczos, quality 90: about ImageNet's own sizes)
and put into ten class folders of a temporary folder, so they lie in the system's cache. One process, one thread, no
workers: what a loader makes of one core. A call is one pass over all images in batches of 50 to float32 224 x 224
training crops with mirror, normalised; contenders take turns in rounds whose order alternates, the first call of each
is a warm-up, ratios are formed within a round. Time is the processor's, which other work on the machine disturbs less.
The heap keeps what it frees, as in every run of ours (`keep_freed_memory`); being one process, the peers have it too.

`torchvision` is ImageFolder and DataLoader with the transforms of its reference training (PIL: RandomResizedCrop,
mirror, PILToTensor, ConvertImageDtype, Normalize); `timm` its `create_transform` without colour jitter on the same.
`files full` and `files scaled` are `data.decode`; the packed ones are `deepres data pack --format raw | jpeg` at its
default size. `short side` is the crop of He et al. 2015 (256 to 480), where the reference resizes and crops.

`--stages` prints instead where the time of `files scaled` goes, one stage after another over all images; `IPC` is a
uint8 batch through one worker's queue and shared memory, and the same as float32.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from protocol import Contender, claim, measure, rows, table, timed, write
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision import transforms as v1

from deepres.base.heap import keep_freed_memory
from deepres.data.decode import header_of
from deepres.data.images import Images
from deepres.data.loading.config import TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find
from deepres.data.sources.pack import pack
from deepres.data.transforms.config import Augmentation, Decode, Preparation
from deepres.data.transforms.crops import Cutter
from deepres.data.transforms.per_batch import normalise
from deepres.data.transforms.statistics import imagenet_statistics

LONG_SIDE, SIZE, BATCH = 500, 224, 50
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPARATION = Preparation(fit="crop", resize=256, crop=SIZE)
RANDOM = Augmentation(crop="random_resized", flip=0.5)
SHORT = Augmentation(crop="short_side", flip=0.5)


def shrink(photos: Path, folder: Path) -> int:
    """The pictures below `photos` as JPEGs of at most LONG_SIDE px in ten class folders; how many."""
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not files:
        raise SystemExit(f"{photos}: no JPEGs below this folder; name one with photographs")
    for number, path in enumerate(files):
        place = folder / f"class{number % 10}" / f"{number:06}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            small = picture.convert("RGB")
        small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        small.save(place, quality=90)
    return len(files)


def torchvision_loader(folder: Path, crop: list[Any]) -> DataLoader[Any]:
    """torchvision's reference training input."""
    steps = [
        *crop,
        v1.RandomHorizontalFlip(),
        v1.PILToTensor(),
        v1.ConvertImageDtype(torch.float),
        v1.Normalize(MEAN, STD),
    ]
    return DataLoader(datasets.ImageFolder(folder, v1.Compose(steps)), BATCH, shuffle=True)


def timm_loader(folder: Path) -> DataLoader[Any]:
    """timm's training transform, images to normalised tensors."""
    from timm.data import create_transform

    transform = create_transform(SIZE, is_training=True, color_jitter=0.0, interpolation="bilinear", mean=MEAN, std=STD)
    return DataLoader(datasets.ImageFolder(folder, transform), BATCH, shuffle=True)


class Shorter:
    """Short side to a random length, as torchvision's transforms do it when told so."""

    def __call__(self, picture: Image.Image) -> Image.Image:
        resized: Image.Image = v1.functional.resize(picture, int(torch.randint(256, 481, ())))
        return resized


def ours(images: Images, augmentation: Augmentation, decode: Decode) -> Callable[[], object]:
    """A pass over all images by the training loader, with new draws at each call."""
    loader = TrainLoader(
        images,
        augmentation,
        PREPARATION,
        imagenet_statistics(),
        TrainLoaderConfig(batch_size=BATCH, seed=0, decode=decode),
    )
    steps = -(-len(images) // BATCH)
    starts = count(0, steps)

    def run() -> None:
        start = next(starts)
        for _ in loader.batches(start, start + steps):
            pass

    return run


def theirs(loader: DataLoader[Any]) -> Callable[[], object]:
    """A pass over all images."""

    def run() -> None:
        for _ in loader:
            pass

    return run


def contenders(folder: Path, packs: dict[str, Path], num: int) -> tuple[list[Contender], list[Contender]]:
    """Those with random resized crops and those with the crops of He et al., the reference first in each."""
    files = find(DataConfig(source=str(folder))).splits["train"]
    make = partial(Contender, images=num)
    random = [make("torchvision", theirs(torchvision_loader(folder, [v1.RandomResizedCrop(SIZE)])))]
    try:
        random.append(make("timm", theirs(timm_loader(folder))))
    except ImportError:
        print("timm is not installed: left out")
    decodes: tuple[Decode, ...] = ("full", "scaled")
    padded = -(-num // BATCH) * BATCH  # our batches are always full
    random += [Contender(f"files {decode}", ours(files, RANDOM, decode), padded) for decode in decodes]
    short = [make("torchvision", theirs(torchvision_loader(folder, [Shorter(), v1.RandomCrop(SIZE)])))]
    short += [Contender(f"files {decode}", ours(files, SHORT, decode), padded) for decode in decodes]
    for name, path in packs.items():
        images = find(DataConfig(source=str(path))).splits["train"]
        random.append(Contender(f"packed {name}", ours(images, RANDOM, "scaled"), padded))
        short.append(Contender(f"packed {name}", ours(images, SHORT, "scaled"), padded))
    return random, short


def stages(folder: Path) -> list[tuple[str, float]]:
    """Milliseconds an image of each stage, alone, the faster of two passes."""
    paths = sorted(folder.rglob("*.jpg"))
    contents = [path.read_bytes() for path in paths]
    cutter = Cutter(RANDOM, SIZE, "bilinear", 0)
    tensors = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents]
    decoded = [torch.ops.image.decode_jpeg(tensor, 0, False) for tensor in tensors]
    sizes = [(pixels.shape[2], pixels.shape[1]) for pixels in decoded]
    crops = [cutter.of_pixels(pixels, place) for place, pixels in enumerate(decoded)]
    batch = torch.stack(crops[:BATCH])
    each: dict[str, Callable[[int], object]] = {
        "read the file": lambda i: paths[i].read_bytes(),
        "open its header": lambda i: header_of(contents[i], ""),
        "decode (Pillow, RGB)": lambda i: Image.open(BytesIO(contents[i])).convert("RGB"),
        "decode (torchvision's operator)": lambda i: torch.ops.image.decode_jpeg(tensors[i], 0, False),
        "draw the crop": lambda i: cutter._draw(*sizes[i], i),
        "draw, cut, resample, mirror": lambda i: cutter.of_pixels(decoded[i], i),
        "all of it": lambda i: cutter.of_file(contents[i], "", i),
    }
    found = []
    for name, call in each.items():
        taken = [timed(lambda call=call: [call(i) for i in range(len(paths))])[1] for _ in range(2)]  # type: ignore[misc]
        found.append((name, 1000 * min(taken) / len(paths)))
    for name, work in {
        "stack to a batch": lambda: torch.stack(crops[:BATCH]),
        "normalise the batch": lambda: normalise(batch, PREPARATION, imagenet_statistics()),
    }.items():
        found.append((name, 1000 * min(timed(work)[1] for _ in range(6)) / len(batch)))
    for name, content in {"IPC, uint8": batch, "IPC, float32": batch.float()}.items():
        found.append((name, 1000 * _through_a_worker(content) / len(batch)))
    return found


def _through_a_worker(batch: Tensor, times: int = 40) -> float:
    """Seconds a batch takes that a worker has only to copy."""

    def copies() -> Iterator[Tensor]:
        yield from DataLoader(_Same(batch, times + 10), batch_size=None, num_workers=1)

    received = copies()
    for _ in range(10):
        next(received)
    return timed(lambda: [batch[-1, -1, -1, -1].item() for batch in received])[1] / times


class _Same(torch.utils.data.Dataset[Tensor]):
    """The same batch, copied anew."""

    def __init__(self, batch: Tensor, times: int) -> None:
        self._batch, self._times = batch, times

    def __getitem__(self, index: int) -> Tensor:
        return self._batch.clone()

    def __len__(self) -> int:
        return self._times


def main() -> None:
    """Shrink and pack, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=288, help="short side of the packed pictures")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--stages", action="store_true", help="where the time goes, and nothing else")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "photos"
        num = shrink(given.photos, folder)
        if given.stages:
            print("\n".join(f"{name:34}{taken:8.3f} ms an image" for name, taken in stages(folder)))
            return
        packs, sizes = {}, {"files": _bytes(folder) / num}
        for kept in ("raw", "jpeg"):
            packs[kept] = Path(temporary) / kept
            pack(find(DataConfig(source=str(folder))), packs[kept], kept=kept, short_side=given.size)  # type: ignore[arg-type]
            sizes[f"packed {kept}"] = _bytes(packs[kept]) / num
        found = {}
        for title, group in zip(("random resized", "short side"), contenders(folder, packs, num), strict=True):
            found[title] = rows(group, measure(group, given.rounds, clock="processor"), "torchvision")
            print(table(title, found[title]), flush=True)
    if given.json is not None:
        facts = claim(
            f"images/s of one core, JPEG files to normalised {SIZE} px training crops, against torchvision",
            torch.device("cpu"),
            given.rounds,
            images=num,
            bytes_per_image={name: round(value) for name, value in sizes.items()},
            packed_short_side=given.size,
            seconds="processor seconds of one thread, no workers",
            rows=found,
        )
        write(facts, given.json)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
