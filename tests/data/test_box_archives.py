"""An archive of pictures with boxes is what the same folder is, and refuses what it refuses, by its own names."""

import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from boxed_sets import coco, picture, table, voc, yolo

from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.data.check import check
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, find, open_source

KINDS = {"voc": voc, "coco": coco, "yolo": yolo, "csv": table}


def packed(root: Path, kind: str) -> Path:
    return Path(shutil.make_archive(str(root), kind, root.parent, root.name))


def opened(source: Path, *edits: str) -> Source:
    halves = DataConfig(source=str(source), val_fraction=0.25, test_fraction=0.25)
    return open_source(edit(halves, list(edits)))


@pytest.mark.parametrize("archive", ["zip", "tar"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.medium
def test_it_is_read_as_the_folder_is(kind: str, archive: str, tmp_path: Path) -> None:
    folder = KINDS[kind](tmp_path / "set")
    one, other = opened(folder), opened(packed(folder, archive))
    assert (one.classes, one.origin.kind) == (other.classes, other.origin.kind)
    for part, images in one.splits().items():
        same = other.splits()[part]
        assert same.targets.tolist() == images.targets.tolist()
        assert [same.key(place) for place in range(len(same))] == [path.name for path in images.paths]
        for place in range(len(images)):
            assert torch.equal(same.image(place), images.image(place))
            assert same.header(place) == images.header(place)
        digests = [getattr(source.origin, part).digest for source in (one, other)]
        assert digests[0] == digests[1]
    assert check(other).boxes == check(one).boxes


def test_a_picture_whose_header_lies_deep_is_looked_at_whole(tmp_path: Path) -> None:
    folder = voc(tmp_path / "set")
    for file in sorted((folder / "JPEGImages").iterdir()):
        content = file.read_bytes()  # a PNG with 100 kB of text before its pixels
        text = b"comment\0" + bytes(100_000)
        chunk = len(text).to_bytes(4, "big") + b"tEXt" + text + zipfile.crc32(b"tEXt" + text).to_bytes(4, "big")
        file.write_bytes(content[:8] + content[8:33] + chunk + content[33:])
    assert find(DataConfig(source=str(packed(folder, "zip")))).splits["train"].header(0).width == 64


@pytest.mark.parametrize("archive", ["zip", "tar"])
def test_a_refusal_names_the_archive(archive: str, tmp_path: Path) -> None:
    folder = voc(tmp_path / "set")
    (folder / "Annotations" / "b.xml").write_text("<annotation>")
    file = packed(folder, archive)
    with pytest.raises(InputError, match=rf"set\.{archive}/set/Annotations/b\.xml: not a VOC annotation in XML"):
        opened(file)
    shutil.rmtree(folder / "Annotations")
    with pytest.raises(InputError, match=rf"set\.{archive}/.*: no labels of boxes in it; wanted one of XML files"):
        opened(packed(folder, archive), "targets=boxes")


def test_class_folders_in_an_archive_stay_these(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png", "dog/2.png", "dog/3.png"):
        picture(tmp_path / "set" / name)
    (tmp_path / "set" / "about.json").write_text('{"images": []}')
    assert opened(packed(tmp_path / "set", "zip")).origin.kind == "archive"
