"""What may not be read, entered or written is refused in one line with the reason, whoever runs the tests."""

import os
from pathlib import Path

import pytest

from deepres.cli.main import run as deepres

DENIED = "Permission denied"
CASES: dict[str, tuple[list[str], str]] = {
    "images": (["train", "locked/photos", "--output", "out"], "locked/photos: may not be used or looked at"),
    "a table": (["train", "locked/set.csv"], "locked/set.csv: may not be used or looked at"),
    "a check": (["data", "check", "locked/photos"], "locked/photos: may not be used or looked at"),
    "a run": (["train", "--resume", "locked/run"], "locked/run/run.json: may not be used or looked at"),
    "weights": (["predict", "locked/w.safetensors", "a.png"], "may not be used or looked at"),
    "answers": (["compare", "locked/a", "locked/b"], "may not be used or looked at"),
}


@pytest.mark.parametrize(("words", "said"), CASES.values(), ids=CASES)
def test_what_may_not_be_entered_is_told_as_that(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    stat = Path.stat

    def refused(path: Path, **named: bool) -> os.stat_result:
        if path.parts[:1] == ("locked",) or (tmp_path / "locked") in path.parents:
            raise PermissionError(13, DENIED, str(path))
        return stat(path, **named)

    monkeypatch.setattr(Path, "stat", refused)
    assert deepres(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert DENIED in line
    assert not (tmp_path / "out").exists()
