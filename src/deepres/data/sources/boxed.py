"""Which way of writing boxes a folder or file has, and its images with them: VOC, COCO, YOLO, a table, ImageNet's.

| found                                                        | is   |
| ------------------------------------------------------------ | ---- |
| XML files that begin with <annotation>                       | voc  |
| .json with images, annotations, categories, bbox             | coco |
| data.yaml (any .yaml) with names                             | yolo |
| .csv whose first line names corners, a file and a class      | csv  |
| LOC_train_solution.csv, LOC_val_solution.csv                 | imagenet, where boxes are asked for |

A folder of class folders is none of them, whatever lies beside its pictures; `data.boxes` insists. A table is taken
only where nothing else is found.
"""

from collections.abc import Sequence
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.wording import some
from deepres.data.sources import boxes_coco, boxes_csv
from deepres.data.sources.box_labels import Labels, settled
from deepres.data.sources.box_places import ABOUT_LABELS, label_folders
from deepres.data.sources.boxes_coco import is_coco, read_coco
from deepres.data.sources.boxes_csv import is_box_table, read_csv
from deepres.data.sources.boxes_imagenet import TABLES as OF_IMAGENET
from deepres.data.sources.boxes_imagenet import read_imagenet
from deepres.data.sources.boxes_voc import read_voc
from deepres.data.sources.boxes_yolo import is_yolo, read_yolo
from deepres.data.sources.config import BoxLabels, DataConfig
from deepres.data.sources.scan import Scan
from deepres.data.sources.split_names import split_named
from deepres.data.sources.splits import RawDataset
from deepres.data.sources.tree import grown, is_neutral

_TOLD: dict[BoxLabels, str] = {
    "voc": "XML files (VOC)",
    "coco": "a .json (COCO)",
    "yolo": "a data.yaml (YOLO)",
    "csv": "a .csv of boxes",
    "imagenet": f"a {OF_IMAGENET['train']} (ImageNet)",
}
LABELS = (".xml", ".json", ".yaml", ".yml", ".csv", ".tsv", ".txt")
"""How the names of files end that labels of boxes lie in."""
_DEEPEST = 5  # folders below the top in which a .json, .yaml or .csv is looked for

_TABLES = (".csv", ".tsv", ".txt")

Files = dict[BoxLabels, list[str]]


def boxes_in_folder(root: Path, scan: Scan, config: DataConfig, channels: int) -> RawDataset | None:
    """The images of a folder with their boxes; None where it holds no labels of boxes, or class folders.

    Raises:
        InputError: labels of two kinds, none of the kind that is asked for, or anything that a reader refuses.
    """
    if config.targets not in ("auto", "boxes"):
        return None
    insisted = config.boxes != "auto" or config.targets == "boxes"
    found = _found(root, scan, config, insisted)
    if not found:
        if not insisted:
            _require_named(root, scan)
            return None
        wanted = _TOLD[config.boxes] if config.boxes != "auto" else "labels of boxes"
        raise InputError(f"{root}: no {wanted.removeprefix('a ')} in it; wanted one of {', '.join(_TOLD.values())}")
    if len(found) > 1:
        each = ", ".join(f"{_TOLD[kind]}, {some(files[:1])}" for kind, files in found.items())
        raise InputError(f"{root}: labels of two kinds ({each}); say which: data.boxes={' or '.join(found)}")
    kind, files = next(iter(found.items()))
    labels = _labels(kind, root, scan, [root / file for file in files], config)
    labels.notes += _unused(kind, config)
    _require_px(labels, kind, config)
    return settled(labels, root.resolve().name, config, channels)


def holds_boxes(root: Path, scan: Scan, config: DataConfig) -> bool:
    """Whether `boxes_in_folder` would find labels of boxes, or has to be asked why there are none; errors as there."""
    insisted = config.boxes != "auto" or config.targets == "boxes"
    if insisted or _found(root, scan, config, insisted):
        return True
    _require_named(root, scan)
    return False


def boxes_in_file(path: Path, config: DataConfig, channels: int) -> RawDataset | None:
    """The images that one file of labels is about; None where it is no such file."""
    suffix = path.suffix.lower()
    kind: BoxLabels
    if config.targets not in ("auto", "boxes"):
        return None
    asked = config.boxes
    labels: Labels | None = None
    if suffix == ".json" and asked in ("auto", "coco") and (asked == "coco" or is_coco(path)):
        labels, kind, name = read_coco([path], config), "coco", path.stem
    elif suffix in (".yaml", ".yml") and asked in ("auto", "yolo") and (asked == "yolo" or is_yolo(path)):
        labels, kind, name = read_yolo(path, config), "yolo", path.parent.resolve().name
    elif suffix in _TABLES and config.columns is None and (asked == "csv" or (asked == "auto" and is_box_table(path))):
        labels, kind, name = read_csv([path], config), "csv", path.stem
    if labels is not None:
        labels.notes += _unused(kind, config)
        _require_px(labels, kind, config)
        return settled(labels, name, config, channels)
    if asked != "auto":
        raise InputError(f"{path}: data.boxes={asked} wants {_TOLD[asked]}, or the folder that holds it")
    return None


def _require_px(labels: Labels, kind: BoxLabels, config: DataConfig) -> None:
    """Refuse boxes in shares of the picture under the names of those in px: each would be less than a pixel."""
    every = [number for picture in labels.every() for one in picture.objects for number in one.given]
    if kind != "yolo" and every and all(0 <= number <= 1 for number in every) and any(n % 1 for n in every):
        raise InputError(
            f"{config.source}: all boxes lie between 0 and 1, as shares of the picture; wanted px: multiply "
            "them by its width and height"
        )


def _unused(kind: BoxLabels, config: DataConfig) -> list[str]:
    """What was said that this kind of labels has no use for."""
    fields: dict[str, tuple[BoxLabels, ...]] = {
        "first_pixel": ("voc", "csv", "imagenet"),
        "unlabelled": ("voc", "yolo"),
    }
    return [
        f"data.{name}={getattr(config, name)} changes nothing: it is about {' and '.join(_TOLD[one] for one in kinds)}"
        for name, kinds in fields.items()
        if kind not in kinds and getattr(config, name) != "auto"
    ]


def _labels(kind: BoxLabels, root: Path, scan: Scan, files: Sequence[Path], config: DataConfig) -> Labels:
    if kind == "voc":
        return read_voc(root, scan, config)
    if kind == "coco":
        return read_coco(files, config, [root / folder for folder in _pictured(scan)])
    if kind == "csv":
        return read_csv(files, config)
    if kind == "imagenet":
        return read_imagenet(root, scan, config)
    if len(files) > 1:
        raise InputError(f"{root}: {some(file.name for file in files)}: which of them? give it in place of the folder")
    return read_yolo(files[0], config)


def _found(root: Path, scan: Scan, config: DataConfig, insisted: bool) -> Files:
    """The files of each kind that is there, of those that are asked for."""
    near = [name for name in scan.others if name.count("/") <= _DEEPEST]
    xml = _xml_folders(root, scan, insisted)
    json = [name for name in near if name.lower().endswith(".json") and config.boxes in ("auto", "coco")]
    yaml = [name for name in near if name.lower().endswith((".yaml", ".yml")) and name.count("/") < 2]
    coco = [root / name for name in json if is_coco(root / name)]
    if config.boxes == "coco":
        coco = coco or [root / name for name in json]  # whose reader says what they lack
    found: Files = {
        "voc": xml,
        "coco": [path.relative_to(root).as_posix() for path in boxes_coco.chosen(coco)],
        "yolo": [name for name in yaml if is_yolo(root / name)],
    }
    if insisted:  # class folders otherwise
        found["imagenet"] = [name for name in OF_IMAGENET.values() if name in scan.others]
    found = {kind: files for kind, files in found.items() if files}
    if not found or config.boxes == "csv":
        flat = insisted or grown(scan.pictures, (), (), str(root))[0].is_flat
        tables = [name for name in near if name.lower().endswith(_TABLES[:2]) and flat]
        chosen = boxes_csv.chosen([root / name for name in tables if is_box_table(root / name)])
        if chosen:
            found["csv"] = [path.relative_to(root).as_posix() for path in chosen]
    if config.boxes != "auto":
        return {kind: files for kind, files in found.items() if kind == config.boxes}
    return found


def _xml_folders(root: Path, scan: Scan, insisted: bool) -> list[str]:
    """One XML file of each folder that holds VOC's; beside pictures of class folders only where it is insisted on."""
    pictured = _pictured(scan)
    found = []
    for folder, names in label_folders(scan.others, ".xml").items():
        parts = folder.split("/") if folder else []
        apart = folder not in pictured or not parts or all(is_neutral(n) or split_named(n) for n in parts)
        about = any(name.casefold() in ABOUT_LABELS or split_named(name) for name in parts)
        if (insisted or apart or about) and _is_voc(root / folder / names[0]):
            found.append(f"{folder}/{names[0]}" if folder else names[0])
    return found


def _require_named(root: Path, scan: Scan) -> None:
    """Refuse pictures beside text files as YOLO writes them whose classes nobody names: they are no other source."""
    texts = [name for name in scan.others if name.lower().endswith(".txt") and "labels" in name.split("/")[:-1]]
    if texts and scan.pictures and grown(scan.pictures, (), (), str(root))[0].is_flat:
        raise InputError(
            f"{root}: {texts[0]} may hold boxes as YOLO writes them, but no data.yaml names their classes; write "
            "data.yaml with names: [FIRST, SECOND, …]"
        )


def _pictured(scan: Scan) -> dict[str, None]:
    """The folders that hold pictures, in order."""
    return dict.fromkeys(path.rpartition("/")[0] for path in scan.pictures)


def _is_voc(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return b"<annotation" in file.read(4096)
    except OSError:
        return False
