"""`open_source(DataConfig(source="photos/pets"))`: images for train, val and test, by name or by path.

| source                                  | what                                                                  |
| --------------------------------------- | --------------------------------------------------------------------- |
| digits, digit-scenes, fashion-mnist, …  | sets known by name (named.py); a folder so called is given as ./digits |
| a folder                                | class folders, with train/ val/ test/ or without; ImageNet (folders.py) |
| a .csv, a list (.tsv, .txt, .lst)       | paths and labels, with a column of splits or without (tables.py)      |
| a .npz, a folder with one pair of them  | arrays (arrays.py)                                                    |
| a .zip or .tar of class folders         | as a folder of them, read where they lie (archives.py)                |
| … of pictures with labels of boxes      | as a folder of these (box_archives.py)                                |
| a packed folder                         | what `deepres data pack` made of another source (packed.py)           |
| a folder or file of labels of boxes     | VOC, COCO, YOLO, a table of boxes (boxed.py)                          |
| a .tar, shard-{0000..0009}.tar, a folder of them | web shards (shards.py)                                       |

How splits come to be that a source does not have: splits.py; folds of one: folding.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from deepres.base.errors import InputError, unknown
from deepres.base.files import path_of
from deepres.base.wording import is_text, quoted
from deepres.data.decode import greatest
from deepres.data.forms import TOLD
from deepres.data.images import FileImages, Images
from deepres.data.sources.archives import is_archive, read_archive
from deepres.data.sources.arrays import pair_in, read_npz
from deepres.data.sources.box_archives import boxes_in_archive
from deepres.data.sources.boxed import boxes_in_file, boxes_in_folder
from deepres.data.sources.boxes_csv import write_boxes
from deepres.data.sources.config import ABOUT_BOXES, DataConfig
from deepres.data.sources.digit_scenes import with_val
from deepres.data.sources.folders import read_folder
from deepres.data.sources.folding import fold_of
from deepres.data.sources.kept_columns import KeptBoxes, KeptColumns
from deepres.data.sources.named import NAMES, read_named
from deepres.data.sources.packed import is_packed, read_packed
from deepres.data.sources.scan import scanned
from deepres.data.sources.shards import are_shards, read_shards
from deepres.data.sources.splits import SPLITS, DatasetRecord, RawDataset, Split, arrange
from deepres.data.sources.tables import SUFFIXES as LISTS
from deepres.data.sources.tables import read_table, write_table
from deepres.data.sources.tree import NO_TEXT
from deepres.data.targets import form_of


@dataclass(frozen=True)
class Source:
    """Images for training, for choosing the epoch (`val`) and for the report (`test`), and where they come from."""

    name: str
    classes: tuple[str, ...]
    channels: int
    train: Images
    val: Images | None
    test: Images | None
    origin: DatasetRecord
    kept: KeptColumns | KeptBoxes | None = None

    def splits(self) -> dict[Split, Images]:
        """The splits that there are, in the order train, val, test."""
        every: dict[Split, Images | None] = {"train": self.train, "val": self.val, "test": self.test}
        return {split: images for split, images in every.items() if images is not None}


def open_source(config: DataConfig) -> Source:
    """The images of `config.source`; files are listed, not decoded.

    Raises:
        InputError: an unknown name, a missing path, or anything that the readers and the split refuse.
    """
    return divided(find(config), config)


def divided(found: RawDataset, config: DataConfig) -> Source:
    """What was found, as train, val and test: the second half of `open_source`; errors of the split."""
    if config.folds is not None and config.fold is not None:
        found = fold_of(found, config.folds, config.fold, config.split_seed, config.source)
    splits, origin = arrange(found, config.source, config.val_fraction, config.test_fraction, config.split_seed)
    three = splits["train"], splits.get("val"), splits.get("test")
    return Source(found.name, found.classes, found.channels, *three, origin, found.kept)


def open_splits(config: DataConfig) -> RawDataset:
    """`config.source` with its splits as they are given, none cut: to be measured on, so none has to be for training.

    Raises:
        InputError: as `open_source`, of a source; nothing is asked of its splits.
    """
    found = find(config)
    return replace(found, splits={split: found.splits[split] for split in SPLITS if split in found.splits})


def write_split(source: Source, path: Path, *, keep_columns: bool = False) -> None:
    """A CSV (path, label, split) that `open_source` reads back to the same splits; a column `label_index` where needed.

    With `keep_columns` all other columns of a table that is the source, such as groups, are written too.

    Raises:
        InputError: the images lie in memory: source, split_seed and fractions repeat their split.
    """
    splits: Mapping[str, Images] = {str(split): images for split, images in source.splits().items()}
    if form_of(source.train.targets).name == "boxes":
        kept = source.kept if isinstance(source.kept, KeptBoxes) else KeptBoxes()
        write_boxes(path, splits, source.name, kept if keep_columns else replace(kept, names=()))
        return
    columns = source.kept if keep_columns and isinstance(source.kept, KeptColumns) else None
    write_table(path, splits, source.name, columns)


def find(config: DataConfig) -> RawDataset:
    """What `config.source` holds, before any split is cut from another; errors of the readers.

    Levels "set" are the greatest value of all images that are for training.
    """
    found = _found(config)
    own = form_of(next(iter(found.splits.values())).targets).name
    if config.targets != "auto" and config.targets != own:
        raise InputError(
            f"{config.source}: holds {TOLD[own]}, wanted {TOLD[config.targets]}; write a table (.csv) of paths and "
            "targets, or arrays (.npz)"
        )
    if own != "boxes" or found.kind == "named":
        _require_no_word_of_boxes(config, "no labels of boxes" if own == "boxes" else TOLD[own])
    if config.trainval and found.kind == "named":
        found = with_val(found)
    if config.levels is None or found.kind in ("named", "arrays", "packed"):  # these hold 8 bits
        return found
    files = {split: images for split, images in found.splits.items() if isinstance(images, FileImages)}
    if len(files) < len(found.splits):
        raise InputError(f"{config.source}: data.levels is for files of images; leave it out, or unpack them")
    train = files.get("train", next(iter(files.values())))
    levels = greatest(train.paths, config.source) if config.levels == "set" else config.levels
    return replace(found, splits={split: replace(images, levels=levels) for split, images in files.items()})


def _require_no_word_of_boxes(config: DataConfig, holds: str) -> None:
    """Refuse what is said of labels of boxes where there are none to read."""
    made = holds == "no labels of boxes"  # a set that has boxes all the same, and whose splits are as they are
    asked = [name for name in ABOUT_BOXES if not (made and name == "trainval")]
    said = [name for name in asked if getattr(config, name) != DataConfig.model_fields[name].default]
    if said:
        raise InputError(
            f"data.{said[0]}: {config.source} holds {holds}, and it is about labels of boxes; leave it out"
        )


def _found(config: DataConfig) -> RawDataset:
    if config.source in NAMES:
        return read_named(config.source, path_of(config.root or "."), config.download, config.channels)
    if not config.source.strip():
        raise InputError("source '': empty (a variable that is not set?); name a folder of images, or . for here")
    if not is_text(config.source):
        raise InputError(f"source {quoted(config.source)}: {NO_TEXT}")
    path = path_of(config.source)
    form = None if config.targets == "auto" or config.targets == "boxes" else config.targets
    if is_archive(path):
        boxes = boxes_in_archive(path, config, config.channels or 3)
        return boxes or read_archive(path, config.channels or 3, config.depth, config.splits)
    if are_shards(config.source):
        return read_shards(config.source, config.channels or 3)
    if not path.exists():
        raise _absent(config.source, path)
    if is_packed(path):
        return read_packed(path, config.channels)
    if path.is_dir():
        pair = pair_in(path)
        if pair:
            return read_npz(pair, config.channels, form)
        scan = scanned(path)
        boxes = boxes_in_folder(path, scan, config, config.channels or 3)
        return boxes or read_folder(path, config.channels or 3, config.depth, config.splits, scan)
    if boxes := boxes_in_file(path, config, config.channels or 3):
        return boxes
    if path.suffix.lower() == ".npz":
        return read_npz(path, config.channels, form)
    if path.suffix.lower() in LISTS:
        return read_table(path, config.columns, config.channels or 3, form)
    raise _other(path)


def _other(path: Path) -> InputError:
    """A file that is no source, and what to do with it."""
    name = path.name.lower()
    remedy = next((remedy for ends, remedy in _OTHERS.items() if name.endswith(ends)), None)
    remedy = remedy or next((remedy for start, remedy in _CALLED.items() if name.startswith(start)), None)
    wanted = "wanted a folder of class folders, a .zip or .tar of them, a .csv of paths and labels, or a .npz"
    return InputError(f"{path}: a file of suffix '{path.suffix}'; {remedy or wanted}")


_TO_CSV = "write paths and labels as a .csv (path,label)"
_TO_NPZ = "numpy.savez('set.npz', x=…, y=…), x (N, H, W, C) uint8"
_IDX = f"an idx file; for Fashion-MNIST give the name fashion-mnist, else write {_TO_NPZ}"
_CIFAR = (
    "CIFAR's own files are pickles, opened only where they are the published ones; "
    "give the name cifar10 (or cifar100) with --set data.root=FOLDER"
)
_OTHERS: dict[tuple[str, ...], str] = {
    (".xml",): "of annotations; give the folder that holds it and its picture",
    (".json", ".jsonl", ".ndjson", ".yaml", ".yml"): f"of annotations, one class an image is wanted: {_TO_CSV}",
    (".parquet", ".arrow", ".feather", ".xlsx", ".xls", ".ods", ".sqlite", ".db"): _TO_CSV,
    (".csv.gz", ".csv.zip", ".tsv.gz", ".csv.bz2", ".csv.xz", ".txt.gz"): "unpack it, and give what it holds",
    (".npy",): f"pixels and labels belong into one file: {_TO_NPZ}",
    (".mat", ".h5", ".hdf5", ".pt", ".pth"): f"read its arrays, and write {_TO_NPZ}",
    (".pkl", ".pickle", ".p"): f"a pickle can run code and is never opened; write {_TO_NPZ}",
    ("-ubyte", "-ubyte.gz", ".idx", ".idx.gz"): _IDX,
    (
        ".tfrecord",
        ".tfrecords",
        ".rec",
        ".lmdb",
        ".beton",
    ): "write its images as files, one folder a class, or web shards",
    (".rar", ".7z", ".iso"): "unpack it, and give the folder",
    (
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
    ): "one picture; give the folder of class folders",
}
_CALLED = {"data_batch": _CIFAR, "test_batch": _CIFAR}


def _absent(source: str, path: Path) -> InputError:
    if not (path.suffix or path.name != source):
        return InputError(f"{unknown('source', source, NAMES)}; nor is there a folder of that name")
    near: list[str] = []
    if path.parent.is_dir():
        near = get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=3)
    hint = f"did you mean {', '.join(str(path.parent / name) for name in near)}?" if near else "check the path"
    return InputError(f"{source}: this path does not exist; {hint}")
