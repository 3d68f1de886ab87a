import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest

from deepres.base.errors import InputError
from deepres.base.files import digest, explained, folder_atomic, make_folder, read_text, write_atomic


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "facts.json"
    write_atomic(target, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(InputError, match=r"facts\.json: the disk is full; free some space"):
        write_atomic(target, "new")
    assert target.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["facts.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with folder_atomic(tmp_path / "state") as folder:
        (folder / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), folder_atomic(tmp_path / "state") as folder:
        (folder / "a").write_text(str(1 / 0))
    assert (tmp_path / "state" / "a").read_text() == "1"
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"taken: cannot be used \(File exists\); choose another place"):
        make_folder(tmp_path / "taken")


def test_an_unwritable_place_names_itself(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be used"), explained(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_missing_file_names_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wanted a readable run description; No such file"):
        read_text(tmp_path / "run.json", "run description")


def test_the_digest_of_a_folder_is_of_the_names_and_bytes_in_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "deeper").mkdir()
    first = digest(tmp_path)
    (tmp_path / "deeper" / "b").write_bytes(b"2")
    assert digest(tmp_path) == first == sha256(f"a {sha256(b'1').hexdigest()}\n".encode()).hexdigest()
    (tmp_path / "a").rename(tmp_path / "c")
    assert digest(tmp_path) != first


def test_the_mark_of_windows_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("\ufeffcat\ndog\n".encode())
    assert read_text(tmp_path / "names.txt", "list of names") == "cat\ndog\n"
