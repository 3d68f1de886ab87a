"""`open_source(DataConfig(source="photos/pets"))`: images for train, val and test, by name or by path.

| source                                  | what                                                                  |
| --------------------------------------- | --------------------------------------------------------------------- |
| digits, fashion-mnist, cifar10, cifar100 | sets known by name (named.py); a folder so called is given as ./digits |
| a folder                                | class folders, with train/ val/ test/ or without; ImageNet (folders.py) |
| a .csv                                  | paths and labels, with a column of splits or without (tables.py)      |
| a .npz, a folder with one pair of them  | arrays (arrays.py)                                                    |
| a packed folder                         | what `deepres data pack` made of another source (packed.py)           |
| a .tar, shard-{0000..0009}.tar, a folder of them | web shards (shards.py)                                       |

How parts come to be that a source does not have: splits.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from deepres.base.errors import InputError, unknown
from deepres.base.records import Record
from deepres.data.arrays import pair_in, read_npz
from deepres.data.folders import read_folder
from deepres.data.named import NAMES, read_named
from deepres.data.packed import is_packed, read_packed
from deepres.data.sample import Images
from deepres.data.samplewise import Decode
from deepres.data.shards import are_shards, read_shards
from deepres.data.splits import Found, Origin, Part, arrange
from deepres.data.tables import read_table, write_table


class DataConfig(Record):
    """Which images, and how they are split and read; written into the run, edited by `--set data.field=value`.

    `decode` is about training crops cut from an image's own size: "scaled" decodes no finer than the crop needs and
    resamples once (crops.py: the same law, pixels near the others); "full" decodes all and does what torchvision's
    transforms do, as the papers' recipes say. Evaluation, prediction and statistics always decode in full.
    `workers` "auto", and `prefetch_factor`, the batches that each has in hand or ready, are settled by
    measurement when the run starts (workers.py); they change no batch.
    """

    source: str = "digits"
    root: str | None = "data"  # where sets known by name lie, or are downloaded to; None: the working folder
    download: bool = False
    channels: Literal[1, 3] | None = None  # None: what the source has (photographs 3)
    val_fraction: float = Field(0.1, ge=0, lt=1)  # of the set that it is cut from; 0: no val
    test_fraction: float = Field(0.15, ge=0, lt=1)
    split_seed: int = 0
    path_column: str = "path"
    label_column: str = "label"
    split_column: str | None = None  # None: "split", where the table has it
    on_bad_image: Literal["stop", "skip"] = "stop"
    decode: Decode = "scaled"
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = 0  # processes that decode files
    prefetch_factor: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"

    @field_validator("channels", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if value in ("1", "3") else value

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction {self.val_fraction:g} + test_fraction {self.test_fraction:g} leave nothing to train on; "
                "wanted a sum below 1"
            )
        return self


@dataclass(frozen=True)
class Source:
    """Images for training, for choosing the epoch (`val`) and for the report (`test`), and where they come from."""

    name: str
    classes: tuple[str, ...]
    channels: int
    train: Images
    val: Images | None
    test: Images | None
    origin: Origin

    def parts(self) -> dict[Part, Images]:
        """The parts that there are, in the order train, val, test."""
        every: dict[Part, Images | None] = {"train": self.train, "val": self.val, "test": self.test}
        return {part: images for part, images in every.items() if images is not None}


def open_source(config: DataConfig) -> Source:
    """The images of `config.source`; files are listed, not decoded.

    Raises:
        InputError: an unknown name, a missing path, or anything that the readers and the split refuse.
    """
    found = find(config)
    parts, origin = arrange(found, config.source, config.val_fraction, config.test_fraction, config.split_seed)
    return Source(
        found.name, found.classes, found.channels, parts["train"], parts.get("val"), parts.get("test"), origin
    )


def write_split(source: Source, path: Path) -> None:
    """A CSV (path, label, split) that `open_source` reads back to the same parts; a column `label_index` where needed.

    Raises:
        InputError: the images lie in memory: source, split_seed and fractions repeat their split.
    """
    parts: Mapping[str, Images] = {str(part): images for part, images in source.parts().items()}
    write_table(path, parts, source.name)


def find(config: DataConfig) -> Found:
    """What `config.source` holds, before any part is cut from another; errors of the readers."""
    if config.source in NAMES:
        return read_named(config.source, Path(config.root or ".").expanduser(), config.download, config.channels)
    path = Path(config.source).expanduser()
    if are_shards(config.source):
        return read_shards(config.source, config.channels or 3)
    if not path.exists():
        raise _absent(config.source, path)
    if is_packed(path):
        return read_packed(path, config.channels)
    if path.is_dir():
        pair = pair_in(path)
        return read_npz(pair, config.channels) if pair else read_folder(path, config.channels or 3)
    if path.suffix.lower() == ".npz":
        return read_npz(path, config.channels)
    if path.suffix.lower() == ".csv":
        columns = (config.path_column, config.label_column, config.split_column)
        return read_table(path, *columns, channels=config.channels or 3)
    raise InputError(f"{path}: a file of suffix '{path.suffix}'; wanted a folder, a .csv, a .npz or a .tar")


def _absent(source: str, path: Path) -> InputError:
    if not (path.suffix or path.name != source):
        return InputError(f"{unknown('source', source, NAMES)}; nor is there a folder of that name")
    near: list[str] = []
    if path.parent.is_dir():
        near = get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=3)
    hint = f"did you mean {', '.join(str(path.parent / name) for name in near)}?" if near else "check the path"
    return InputError(f"{source}: this path does not exist; {hint}")
