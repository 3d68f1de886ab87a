"""Web shards as other tools write and correct them: by one rule, or refused by name."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source

Members = list[tuple[str, bytes | str | int]]


def picture(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 8), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write(path: Path, members: Members, kind: int = tarfile.GNU_FORMAT, mode: str = "w") -> Path:
    """An int stands for a picture of that value."""
    with tarfile.open(path, mode, format=kind) as tar:  # type: ignore[call-overload]
        for name, content in members:
            data = (
                picture(content)
                if isinstance(content, int)
                else content
                if isinstance(content, bytes)
                else content.encode()
            )
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def opened(path: Path | str) -> Source:
    return open_source(DataConfig(source=str(path), val_fraction=0, test_fraction=0))


def seen(source: Source) -> dict[int, str]:
    """Value of each picture -> its class."""
    images = source.train
    return {int(images.image(i)[0, 0, 0]): source.classes[int(images.targets[i])] for i in range(len(images))}


ONE: Members = [("1.png", 10), ("1.cls", "0"), ("2.png", 20), ("2.cls", "1")]
READ: list[tuple[str, Members, dict[int, str], str | None]] = [
    ("plain", ONE, {10: "0", 20: "1"}, None),
    ("label corrected by appending", [*ONE, ("1.cls", "1"), ("3.png", 30), ("3.cls", "0")], {10: "1", 20: "1", 30: "0"}, "1 member replaced by later ones of their name"),
    ("picture and label corrected", [*ONE, ("1.png", 40), ("1.cls", "1"), ("3.png", 30), ("3.cls", "0")], {40: "1", 20: "1", 30: "0"}, "2 members replaced"),
    ("the label before the picture", [("1.cls", "0"), ("1.png", 10), ("2.cls", "1"), ("2.png", 20)], {10: "0", 20: "1"}, None),
    ("dots in names", [("shot.19.png", 10), ("shot.19.cls", "0"), ("shot.20.png", 20), ("shot.20.cls", "1")], {10: "0", 20: "1"}, None),
    ("webdataset's compound names", [("1.img.png", 10), ("1.cls", "0"), ("2.png", 20), ("2.label.cls", "1")], {10: "0", 20: "1"}, None),
    ("masks beside pictures", [("1.png", 10), ("1.seg.png", 99), ("1.cls", "0"), ("2.png", 20), ("2.cls", "1"), ("2.seg.png", 98)], {10: "0", 20: "1"}, "2 further pictures of samples are left out"),
    ("dots in folders", [("v1.2/1.png", 10), ("v1.2/1.cls", "0"), ("v1.2/2.png", 20), ("v1.2/2.cls", "1")], {10: "0", 20: "1"}, None),
    ("the same label twice", [*ONE, ("1.json", '{"label": 0}'), ("2.json", '{"cls": "1", "class": 1}')], {10: "0", 20: "1"}, None),
    ("number and name of the class", [("1.png", 10), ("1.json", '{"label": 0, "class": "cat"}'), ("2.png", 20), ("2.json", '{"label": 1, "class": "dog"}')], {10: "0", 20: "1"}, None),
    ("JSON of something else", [*ONE, ("1.json", '{"caption": "a cat"}')], {10: "0", 20: "1"}, None),
    ("a JSON that is the label", [("1.png", 10), ("1.json", "0"), ("2.png", 20), ("2.json", '"1"')], {10: "0", 20: "1"}, None),
    ("labels as floats", [("1.png", 10), ("1.cls", "3.0"), ("2.png", 20), ("2.json", '{"label": 4.0}')], {10: "3", 20: "4"}, "classes are called by them"),
    ("gaps", [("1.png", 10), ("1.cls", "7"), ("2.png", 20), ("2.cls", "9")], {10: "7", 20: "9"}, "labels are 2 numbers from 7 to 9"),
    ("A and a", [("1.png", 10), ("1.cls", "A"), ("2.png", 20), ("2.cls", "a")], {10: "A", 20: "a"}, "nearly one name"),
    ("a Mac's hidden files", [("._1.png", "x"), *ONE, ("__MACOSX/._2.png", "x")], {10: "0", 20: "1"}, None),
    ("./ before names", [(f"./{name}", content) for name, content in ONE], {10: "0", 20: "1"}, None),
    ("capitals", [("1.PNG", 10), ("1.CLS", "0"), ("2.Png", 20), ("2.JSON", '{"label": 1}')], {10: "0", 20: "1"}, None),
    ("a label without its picture", [*ONE, ("3.cls", "0")], {10: "0", 20: "1"}, "1 label has no picture, such as 3.cls: not used"),
    ("digits and letters", [("1.png", 10), ("1.cls", "0"), ("2.png", 20), ("2.cls", "A")], {10: "0", 20: "A"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("members", "meant", "said"), [case[1:] for case in READ], ids=[c[0] for c in READ])
def test_is_read_as_it_means(tmp_path: Path, members: Members, meant: dict[int, str], said: str | None) -> None:
    source = opened(write(tmp_path / "a.tar", members))
    assert seen(source) == meant
    assert said is None or any(said in note for note in source.origin.notes), source.origin.notes


REFUSED: list[tuple[str, Members, str]] = [
    ("two labels", [*ONE, ("1.json", '{"label": 1}')], r"1\.png: has two labels, '0' \(1\.cls\) and '1' \(1\.json\); remove one"),
    ("two fields", [("1.png", 1), ("1.json", '{"label": "cat", "class": "dog"}')], r"1\.json: has two labels, 'cat' \(label\) and 'dog' \(class\)"),
    ("two pictures", [*ONE, ("1.jpg", 11)], r"1\.png and 1\.jpg are two pictures for 1\.cls; give each a name and a label"),
    ("two views", [("1.left.png", 1), ("1.right.png", 2), ("1.cls", "0")], r"1\.left\.png and 1\.right\.png are two pictures for 1\.cls"),
    ("frames with one label", [("shot.19.png", 1), ("shot.20.png", 2), ("shot.cls", "0")], "are two pictures for shot.cls"),
    ("another frame's label", [("shot.19.png", 1), ("shot.20.cls", "0")], r"shot\.19\.png has no label; wanted shot\.19\.cls, or"),
    ("a caption alone", [("1.png", 1), ("1.txt", "a cat")], r"1\.png has no label; wanted 1\.cls, or 1\.json"),
    ("an empty label", [("1.png", 1), ("1.cls", "\n")], r"1\.cls: holds no label; wanted a number or a name"),
    ("JSON without one", [("1.png", 1), ("1.json", '{"label": null}')], r"1\.json: holds no label; wanted JSON with a field"),
    ("true", [("1.png", 1), ("1.json", "true")], "holds no label"),
    ("a list", [("1.png", 1), ("1.json", '{"label": [1]}')], "holds no label"),
    ("no class", [*ONE, ("3.png", 1), ("3.cls", "-1")], r"3\.png: label '-1', wanted 0 or more"),
    ("NaN", [*ONE, ("3.png", 1), ("3.json", '{"label": NaN}')], r"3\.png: label 'nan' says that there is none"),
    ("names that lead out", [("../1.png", 1), ("../1.cls", "0")], r"\.\./1\.png leads out of it; write the archive with"),
    ("absolute names", [("/1.png", 1), ("/1.cls", "0")], "/1.png leads out of it"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_is_refused_by_name(tmp_path: Path, members: Members, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(write(tmp_path / "a.tar", members))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("s-0000", "s-0001", "s-0003"), "s-N.tar: 1 shard is not there, the first of number 2; fetch"),
        (("t-00000-of-00004", "t-00002-of-00004"), "t-N-of-00004.tar: 2 shards are not there, the first of number 1;"),
        (("t-00001-of-00002", "t-00002-of-00002"), None),
        (("s-0", "s-1", "s-2"), None),
        (("of-20200101", "of-20200105"), None),
        (("a", "b"), None),
    ],
)
def test_shards_that_are_not_there_are_told(tmp_path: Path, names: tuple[str, ...], said: str | None) -> None:
    for name in names:
        write(tmp_path / f"{name}.tar", ONE)
    notes = opened(tmp_path).origin.notes
    assert not [note for note in notes if "not there" in note] if said is None else any(said in note for note in notes)


def test_tar_itself_appends_a_correction(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", ONE)
    (tmp_path / "1.cls").write_text("1")
    (tmp_path / "3.cls").write_text("0")
    (tmp_path / "3.png").write_bytes(picture(30))
    subprocess.run(["tar", "rf", "a.tar", "1.cls", "3.cls", "3.png"], cwd=tmp_path, check=True)
    assert seen(opened(tmp_path / "a.tar")) == {10: "1", 20: "1", 30: "0"}


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(tmp_path: Path, kind: int) -> None:
    long = "/".join(["folder" * 9] * 4)
    members: Members = [(f"{long}/{name}", content) for name, content in ONE]
    assert seen(opened(write(tmp_path / "a.tar", members, kind))) == {10: "0", 20: "1"}


def test_links_within_and_out(tmp_path: Path) -> None:
    for number, (hard, aim) in enumerate([(True, "1.png"), (True, "9.png"), (False, "1.png")]):
        path = write(tmp_path / f"{number}.tar", [*ONE, ("3.cls", "1")])
        with tarfile.open(path, "a") as tar:
            info = tarfile.TarInfo("3.png")
            info.type = tarfile.LNKTYPE if hard else tarfile.SYMTYPE
            info.linkname = aim
            tar.addfile(info)
    assert len(opened(tmp_path / "0.tar").train) == 3
    assert opened(tmp_path / "0.tar").train.image(2)[0, 0, 0] == 10
    with pytest.raises(InputError, match=r"3\.png is a link to 9\.png, which is not in it; write the tar anew"):
        opened(tmp_path / "1.tar")
    with pytest.raises(InputError, match=r"3\.png is a link to 1\.png; write the tar with tar -h"):
        opened(tmp_path / "2.tar")


def test_a_sparse_member_is_named(tmp_path: Path) -> None:
    with (tmp_path / "1.png").open("wb") as file:
        file.write(picture(1))
        file.truncate(1 << 20)
    (tmp_path / "1.cls").write_text("0")
    subprocess.run(["tar", "-S", "-cf", "a.tar", "1.png", "1.cls"], cwd=tmp_path, check=True)
    with pytest.raises(InputError, match=r"1\.png is kept with holes \(sparse\); write the tar without tar -S"):
        opened(tmp_path / "a.tar")


def test_two_tars_put_together_are_not_read_by_half(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1.tar", ONE), write(tmp_path / "2.tar", [("3.png", 30), ("3.cls", "0")])
    (tmp_path / "a.tar").write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(
        InputError, match=r"more stands behind its end, as if two tars were put together; join them with"
    ):
        opened(tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_a_compressed_tar_is_refused_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    write(tmp_path / "plain.tar", ONE).rename(tmp_path / "plain")
    with tarfile.open(tmp_path / name, "w:gz") as tar:
        tar.add(tmp_path / "plain", "plain")
    with pytest.raises(
        InputError, match=r"compressed.*, so its members cannot be read one by one; unpack it to a plain"
    ):
        opened(tmp_path / name)


def test_shards_with_different_lists_of_classes(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", ONE)
    write(tmp_path / "1.tar", [("3.png", 30), ("3.cls", "cat")])
    with pytest.raises(
        InputError, match=r"1\.tar: its labels are names, those of 0\.tar numbers; write all shards with"
    ):
        opened(tmp_path)
    (tmp_path / "1.tar").unlink()
    for part, names in (("train", "cat\ndog"), ("val", "dog\ncat")):
        (tmp_path / part).mkdir()
        write(tmp_path / part / "0.tar", ONE)
        (tmp_path / part / "classes.txt").write_text(names)
    with pytest.raises(InputError, match=r"val/classes\.txt: names other classes than .*train/classes\.txt; make them"):
        opened(tmp_path)
    (tmp_path / "val" / "classes.txt").write_text("\ufeffcat\r\ndog\r\n")
    assert opened(tmp_path).classes == ("cat", "dog")
    (tmp_path / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(InputError, match=r"classes\.txt: names 'cat' twice; wanted every class once"):
        opened(tmp_path)


def test_braces(tmp_path: Path) -> None:
    for name in ("train-00", "train-01", "val-00"):
        write(tmp_path / f"{name}.tar", ONE)
    assert len(opened(f"{tmp_path}/train-{{00..01}}.tar").train) == 4
    assert set(opened(f"{tmp_path}/{{train-00,val-00}}.tar").splits()) == {"train", "test"}
    with pytest.raises(InputError, match="its braces name no shard; wanted such as shard-"):
        opened(f"{tmp_path}/train-{{01..00}}.tar")
    with pytest.raises(InputError, match=r"train-02\.tar: this shard does not exist; check the path, or the numbers"):
        opened(f"{tmp_path}/train-{{00..99999999999}}.tar")


@pytest.mark.medium
def test_a_corrected_shard_is_checked_and_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members: Members = [
        (f"{n}.{kind}", n if kind == "png" else str(n % 2)) for n in range(20) for kind in ("png", "cls")
    ]
    write(tmp_path / "a.tar", [*members, ("4.cls", "1"), ("5.cls", "0")])
    assert run(["data", "check", str(tmp_path / "a.tar")]) == 0
    assert "a.tar: 2 members replaced by later ones of their name" in capsys.readouterr().out
    assert run(["data", "pack", str(tmp_path / "a.tar"), str(tmp_path / "packed")]) == 0
    assert seen(opened(tmp_path / "packed")) == seen(opened(tmp_path / "a.tar"))
    assert seen(opened(tmp_path / "packed"))[4] == "1"
