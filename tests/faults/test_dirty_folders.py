"""Folders as they come: links round and round, pipes and devices under pictures' names, names that are no UTF-8."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deepres.base.errors import InputError
from deepres.base.files import open_regular, read_text
from deepres.base.seeds import derive
from deepres.data.decode import BadImageError, decode
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source, write_split
from deepres.data.sources.scan import scanned

Made = Callable[..., Path]


@pytest.mark.parametrize("to", [".", "..", "../..", "/", "../photos", "cat", "loop"])
@pytest.mark.parametrize("place", ["loop", "cat/loop"])
def test_links_that_go_round_are_not_followed(to: str, place: str, class_folders: Made) -> None:
    photos = class_folders("deep/photos", {"cat": 3, "dog": 3}, (8, 8))
    (photos / place).symlink_to(to)
    if to == "cat" and place == "loop":  # another name of a class: that is followed, and two classes hold the same
        assert len(scanned(photos).pictures) == 9
        return
    found = scanned(photos)
    assert len(found.pictures) == 6, found.pictures
    assert any("loop" in note for note in found.notes) or to in ("loop", "cat")


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe", "socket"])
def test_what_is_no_regular_file_is_never_opened(
    kind: str, class_folders: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    photos = class_folders("photos", {"cat": 3, "dog": 3}, (8, 8))
    place = photos / "cat" / "x.png"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        place.symlink_to(tmp_path / "pipe")
    else:
        monkeypatch.chdir(photos / "cat")
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind("x.png")
    found = scanned(photos)
    assert len(found.pictures) == 6
    assert any(note.startswith("cat/x.png: no regular file") for note in found.notes)
    with pytest.raises(BadImageError, match="no regular file"):
        decode(place)
    with pytest.raises(InputError, match="no regular file"):
        read_text(place, "table")
    with pytest.raises(OSError, match="no regular file"):
        open_regular(place)
    table = tmp_path / "t.csv"
    table.write_text("path,label\nphotos/cat/x.png,cat\nphotos/dog/0.png,dog\n")
    with pytest.raises(InputError, match=r"no file .*x\.png"):
        open_source(DataConfig(source=str(table)))
    table.unlink()
    table.symlink_to(place)
    with pytest.raises(InputError, match=r"no regular file|suffix"):
        open_source(DataConfig(source=str(table)))


def test_seeds_of_names_that_are_no_utf8() -> None:
    name = os.fsdecode(b"caf\xe9")
    assert derive(0, name) != derive(0, "caf")
    assert derive(0, "café") == derive(0, "café")


@pytest.mark.parametrize(
    "name",
    [" lead", "trail ", "#hash", '"quoted"', "a,b", "it's", "sep=;", "=1+1", "\u200bz", "\u00a0x", "path", "1", "a\tb"],
)
def test_a_split_reads_back_the_same_classes_and_images(name: str, class_folders: Made, tmp_path: Path) -> None:
    photos = class_folders("photos", {name: 8, "dog": 8}, (8, 8))
    (photos / "dog" / "0.png").rename(photos / "dog" / f"{name} 0.png")
    source = open_source(DataConfig(source=str(photos)))
    for place in (tmp_path / "s.csv", photos / "s.csv"):
        write_split(source, place)
        again = open_source(DataConfig(source=str(place)))
        place.unlink()
        assert again.classes == source.classes
        for part, images in source.splits().items():
            assert again.splits()[part].targets.tolist() == images.targets.tolist()
            assert [images.name(i) for i in range(len(images))] == [
                os.path.normpath(again.splits()[part].name(i)) for i in range(len(images))
            ]
