from pathlib import Path

import pytest
from PIL import Image

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.decode import BadImageError
from deepres.data.sources import pack as packing
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find
from deepres.data.sources.pack import pack
from deepres.data.sources.packed import read_packed
from deepres.data.sources.splits import RawDataset


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (60, 44), (9 * number, 0, 0)).save(tmp_path / "pets" / name / f"{number}.jpg")
    return tmp_path / "pets"


def found(folder: Path) -> RawDataset:
    return find(DataConfig(source=str(folder)))


@pytest.mark.parametrize("kept", ["raw", "jpeg"])
def test_threads_change_no_byte(pets: Path, tmp_path: Path, kept: str) -> None:
    for workers in (0, 3):
        pack(found(pets), tmp_path / f"out{workers}", kept=kept, short_side=30, workers=workers)  # type: ignore[arg-type]
    files = [sorted(path.name for path in (tmp_path / f"out{workers}").iterdir()) for workers in (0, 3)]
    assert files[0] == files[1] == ["index.npz", "pack.json", "records-00000.bin"]
    for name in files[0]:
        assert (tmp_path / "out0" / name).read_bytes() == (tmp_path / "out3" / name).read_bytes()


def test_records_go_on_in_another_file(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "FILE_BYTES", 3 * 30 * 41 * 3)
    done = pack(found(pets), tmp_path / "out", short_side=30)
    assert done.header.files == {f"records-{n:05}.bin": (3 if n < 3 else 1) * 30 * 41 * 3 for n in range(4)}
    (images,) = read_packed(tmp_path / "out").splits.values()
    assert [images.image(index)[0, 5, 5].item() for index in (0, 1, 2, 3, 4, 9)] == pytest.approx(
        [0, 9, 18, 27, 36, 36], abs=2
    )


def test_small_jpegs_keep_their_own_bytes_and_nothing_is_enlarged(pets: Path, tmp_path: Path) -> None:
    pack(found(pets), tmp_path / "out", kept="jpeg", short_side=44)
    files = [*sorted((pets / "cat").iterdir()), *sorted((pets / "dog").iterdir())]
    assert (tmp_path / "out" / "records-00000.bin").read_bytes() == b"".join(path.read_bytes() for path in files)
    pack(found(pets), tmp_path / "raw", short_side=400)
    assert next(iter(read_packed(tmp_path / "raw").splits.values())).image(0).shape == (3, 44, 60)


def test_progress_counts_to_the_end(pets: Path, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    pack(found(pets), tmp_path / "out", workers=2, on_progress=lambda done, total: said.append((done, total)))
    assert said == [(number, 10) for number in range(1, 11)]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_packing_leaves_nothing(pets: Path, tmp_path: Path, stop: BaseException) -> None:
    def at_seven(done: int, total: int) -> None:
        if done == 7:
            raise stop

    with pytest.raises((KeyboardInterrupt, InputError), match=r"^$|the disk is full; free some space"):
        pack(found(pets), tmp_path / "out", on_progress=at_seven)
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


@pytest.mark.medium
def test_a_bad_image_stops_or_is_left_out(pets: Path, tmp_path: Path) -> None:
    bad = pets / "cat" / "3.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(BadImageError, match=r"3\.jpg: .*or leave such images out: --set on_bad_image=skip"):
        pack(found(pets), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for kept in ("raw", "jpeg"):
        done = pack(found(pets), tmp_path / kept, kept=kept, on_bad_image="skip")  # type: ignore[arg-type]
        assert (done.images, list(done.skipped)) == (9, [str(bad)])
        (images,) = read_packed(tmp_path / kept).splits.values()
        assert len(images) == 9


def test_what_cannot_be_packed_is_refused(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pets: exists already; choose another place, or remove it first"):
        pack(found(pets), pets)
    with pytest.raises(
        InputError, match=r"digits: its images are arrays, and read fast as they are; wanted image files"
    ):
        pack(find(DataConfig()), tmp_path / "out")
    for path in pets.rglob("*.jpg"):
        path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"pets: none of 10 images can be read; mend or replace them"):
        pack(found(pets), tmp_path / "out", on_bad_image="skip")


def test_the_command_says_what_to_do_next(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "packed" / "pets"
    (pets / "cat" / "3.jpg").write_bytes(b"")
    arguments = ["data", "pack", str(pets), str(out), "--size", "30", "--format", "jpeg", "--set", "on_bad_image=skip"]
    assert run(arguments) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{out}: 9 images, 0.0 MB; train on it with: deepres train {out}")
    assert f"left out: {pets / 'cat' / '3.jpg'}: " in said.err
    assert run(arguments) == 2
    assert "exists already" in capsys.readouterr().err
