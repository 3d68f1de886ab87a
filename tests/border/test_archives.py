"""A .zip or .tar of class folders is the folder itself: same classes, parts, cuts and answers; or refused by name."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.decode import BadImageError
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source


def picture(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 8), (value, value // 2, 255 - value)).save(file, "PNG")
    return file.getvalue()


PETS = {f"{name}/{n}.png": picture(20 * n + 3 * len(name)) for name in ("cat", "doge") for n in range(10)}


def folder(place: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def zipped(path: Path, files: Mapping[str, bytes], way: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", way) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def opened(path: Path, **changes: object) -> Source:
    return open_source(DataConfig(source=str(path)).replace(**changes))


KINDS: dict[str, Callable[[Path, Mapping[str, bytes]], Path]] = {
    ".zip": zipped,
    ".tar": tarred,
    "stored.zip": lambda path, files: zipped(path, files, zipfile.ZIP_STORED),
}
LAYOUTS: dict[str, dict[str, bytes]] = {
    "class folders": PETS,
    "in a folder": {f"pets/{name}": content for name, content in PETS.items()},
    "with a Mac's files": PETS | {f"__MACOSX/{name[:4]}._1.png": b"x" for name in PETS} | {"cat/.DS_Store": b"x"},
    "train and test": {
        f"{part}/{name}": content for part in ("Training", "test_set") for name, content in PETS.items()
    },
    "other files": PETS | {"README.md": b"x", "cat/notes.txt": b"x"},
    "accents": {name.replace("cat", "été"): content for name, content in PETS.items()},
    "suffixes in capitals": {name.replace("png", "PNG"): content for name, content in PETS.items()},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_is_the_folder_itself(tmp_path: Path, kind: str, layout: str) -> None:
    files = LAYOUTS[layout]
    own = opened(folder(tmp_path / "pets", files))
    source = opened(KINDS[kind](tmp_path / f"pets{kind}", files))
    assert (source.classes, source.origin.kind) == (own.classes, "archive")
    assert source.origin.ignored == own.origin.ignored
    for part, images in own.splits().items():
        theirs = source.splits()[part]
        assert torch.equal(theirs.targets, images.targets)
        assert torch.equal(theirs.image(0), images.image(0))
        assert torch.equal(theirs.image(len(theirs) - 1), images.image(len(images) - 1))
        assert Path(theirs.name(0)).name == Path(images.name(0)).name
    facts = [(o.train.digest, o.val and o.val.digest, o.test and o.test.digest) for o in (own.origin, source.origin)]
    assert facts[0] == facts[1]


def test_names_as_macs_and_windows_write_them(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in PETS.items():
            info = zipfile.ZipInfo(name.replace("cat", "caf\u00e9"))
            archive.writestr(info, content)
    data = path.read_bytes()  # UTF-8 without its flag (bit 11), in both places where flags stand
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := data.find(signature, start)) >= 0:
            flags = struct.unpack_from("<H", data, start + place)[0] & ~0x800
            data = data[: start + place] + struct.pack("<H", flags) + data[start + place + 2 :]
            start += 4
    path.write_bytes(data)
    assert opened(path).classes == ("café", "doge")
    assert opened(zipped(tmp_path / "b.zip", {n.replace("/", "\\"): c for n, c in PETS.items()})).classes == (
        "cat",
        "doge",
    )
    old = zipped(tmp_path / "c.zip", {n.replace("cat", "caf~"): c for n, c in PETS.items()})
    old.write_bytes(old.read_bytes().replace(b"caf~", b"caf\x82"))
    source = opened(old)
    assert source.classes == ("café", "doge")
    assert any("10 names in an old encoding (CP437)" in note for note in source.origin.notes)


REFUSED: list[tuple[str, dict[str, bytes], str]] = [
    ("a name that leads out", PETS | {"../cat/1.png": b"x"}, r"\.\./cat/1\.png leads out of it; write the archive with names"),
    ("… in its middle", PETS | {"cat/../../1.png": b"x"}, "leads out of it"),
    ("an absolute name", PETS | {"/etc/cat/1.png": b"x"}, "/etc/cat/1.png leads out of it"),
    ("a Windows drive", PETS | {"C:\\cat\\1.png": b"x"}, "leads out of it"),
    ("no class folders", {"1.png": b"x", "2.png": b"x"}, "images outside class folders; wanted one folder a class|no label"),
    ("no pictures", {"a.txt": b"x"}, "no images|no pictures"),
    ("archives within", {"train.zip": b"x"}, r"no images \(1 other file: \.zip\)|1 archive \(train\.zip\) and no picture; unpack it"),
    ("a table", {"images/1.png": b"x", "train.csv": b"x"}, r"it holds train\.csv too: to use that, unpack the archive"),
    ("one class", {n: c for n, c in PETS.items() if n < "d"}, "one class only"),
    ("a class of test alone", {"train/a/1.png": b"x", "train/b/1.png": b"x", "test/c/1.png": b"x"}, "classes that train/ has not: c"),
    ("a val without classes", {"train/a/1.png": b"x", "train/b/1.png": b"x", "val/1.png": b"x"}, "val: no class folders; wanted"),
    ("nested classes", {"a/b/1.png": b"x", "a/c/1.png": b"x", "d/1.png": b"x"}, "data.depth=leaf"),
]  # fmt: skip


@pytest.mark.parametrize("kind", [".zip", ".tar"])
@pytest.mark.parametrize(("files", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_is_refused_by_name(tmp_path: Path, kind: str, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(KINDS[kind](tmp_path / f"a{kind}", files))
    assert "\n" not in caught.value.message
    assert str(caught.value).startswith(str(tmp_path / "a"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"a{kind}"]


def test_links_of_a_tar_are_never_followed_out(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(9))
    tarred(tmp_path / "a.tar", PETS)
    for kind, aim, message in (
        (tarfile.SYMTYPE, str(tmp_path / "secret.png"), "is a link to .*secret.png; write the tar with tar -h"),
        (tarfile.SYMTYPE, "1.png", "is a link to"),
        (tarfile.LNKTYPE, "../secret.png", "leads out of it"),
        (tarfile.LNKTYPE, "secret.png", "is a link to secret.png, which is not in it"),
    ):
        path = tarred(tmp_path / "a.tar", PETS)
        with tarfile.open(path, "a") as tar:
            info = tarfile.TarInfo("cat/link.png")
            info.type, info.linkname = kind, aim
            tar.addfile(info)
        with pytest.raises(InputError, match=message):
            opened(path)


def test_damaged_zips_are_one_line(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "a.zip", PETS).read_bytes()
    for name, content in {
        "cut": whole[:-50],
        "half": whole[: len(whole) // 2],
        "text": b"no zip at all",
        "none": b"",
    }.items():
        (tmp_path / f"{name}.zip").write_bytes(content)
        with pytest.raises(InputError, match=r"not a whole zip file \(.*\); copy it anew"):
            opened(tmp_path / f"{name}.zip")


def test_a_zip_with_one_name_twice(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", PETS)
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("cat/1.png", PETS["cat/1.png"])
    with pytest.raises(InputError, match=r"cat/1\.png stands twice, and a zip does not say which one counts"):
        opened(tmp_path / "a.zip")


def test_a_tar_with_one_name_twice_counts_the_last(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", PETS)
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("cat/1.png")
        info.size = len(picture(251))
        tar.addfile(info, io.BytesIO(picture(251)))
    source = opened(path, val_fraction=0, test_fraction=0)
    assert source.train.image(1)[0, 0, 0] == 251
    assert any("1 member replaced" in note for note in source.origin.notes)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (8, 1, "is encrypted; unpack it with its password, and give the folder"),
        (10, 12, "is packed in way 12, not deflate; write the zip anew"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, place: int, value: int, message: str) -> None:
    path = zipped(tmp_path / "a.zip", PETS)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, data.find(b"PK\x01\x02") + place, value)
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=rf"cat/0\.png {message}"):
        opened(path)


def test_a_bomb_is_bounded(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", PETS | {"cat/1.png": bytes(1 << 22)})
    data = bytearray(path.read_bytes())
    entry = data.find(b"cat/1.png", data.find(b"PK\x01\x02")) - 46
    struct.pack_into("<I", data, entry + 24, 100)  # says 100 bytes, and would unpack to 4 MiB
    path.write_bytes(bytes(data))
    with pytest.raises(
        BadImageError, match=r"cat/1\.png: damaged \(another length or checksum\); write the archive anew"
    ):
        opened(path, val_fraction=0, test_fraction=0).train.image(1)
    struct.pack_into("<I", data, entry + 24, 2**32 - 2)  # says 4 GiB
    path.write_bytes(bytes(data))
    with pytest.raises(
        InputError, match=r"cat/1\.png would unpack to 4,294,967,294 bytes, above 536,870,912; remove it"
    ):
        opened(path)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", PETS)
    data = bytearray(path.read_bytes())
    data[data.find(b"cat/1.png") + 30] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(BadImageError, match=r"a\.zip/cat/1\.png: damaged"):
        opened(path, val_fraction=0, test_fraction=0).train.image(1)


def test_a_tar_is_a_shard_only_where_labels_lie_in_it(tmp_path: Path) -> None:
    shard = {
        f"x/{n}.{kind}": picture(n) if kind == "png" else b"%d" % (n % 2) for n in range(20) for kind in ("png", "cls")
    }
    assert opened(tarred(tmp_path / "shard.tar", shard)).origin.kind == "shards"
    fields = {name.replace("cls", "json"): content for name, content in shard.items()}
    assert opened(tarred(tmp_path / "json.tar", fields)).origin.kind == "shards"
    notes = PETS | {name.replace("png", "json"): b'{"shapes": []}' for name in PETS}  # labelme's
    assert opened(tarred(tmp_path / "notes.tar", notes)).origin.kind == "archive"


def test_zips_beside_it_are_told(tmp_path: Path) -> None:
    zipped(tmp_path / "test.zip", PETS)
    notes = opened(zipped(tmp_path / "train.zip", PETS)).origin.notes
    assert "test.zip beside train.zip is not used; put both in one folder as train/ and test/" in notes


@pytest.mark.slow
def test_every_verb_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "pets", PETS)
    zipped(tmp_path / "pets.zip", PETS)
    tiny = ["--model", "resnet20_cifar", "--set", "model.depths=1,1,1", "--recipe", "small", "--batch-size", "4"]
    length = ["--set", "train.epochs=none", "--set", "train.iterations=2", "--compile", "off", "--device", "cpu"]
    for source, output in (("pets.zip", "a"), ("pets", "b")):
        assert run(["train", source, *tiny, *length, "--output", output]) == 0
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert one == two
    assert run(["train", "--resume", "a", "--set", "train.iterations=3"]) == 0
    assert run(["eval", "a", "--device", "cpu"]) == 0
    assert run(["data", "check", "pets.zip"]) == 0
    assert run(["data", "pack", "pets.zip", "packed"]) == 0
    cuts = [json.loads(opened(tmp_path / name).origin.to_json())["test"]["images"] for name in ("packed", "pets.zip")]
    assert cuts[0] == cuts[1]
    capsys.readouterr()
    assert run(["data", "split", "pets.zip"]) == 2
    assert "its images are no files to be listed" in capsys.readouterr().err
