import base64
from pathlib import Path

import pytest

from deepres.base.errors import InputError
from deepres.serve.limits import is_token, size_of, token_in


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20MB", 20_000_000),
        ("50M", 50_000_000),
        ("1.5k", 1500),
        ("2GiB", 2**31),
        ("512 KiB", 2**19),
        ("7", 7),
        ("7b", 7),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert size_of(text, "--max-bytes") == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e6", "20 megabytes", "0x10", "1,000"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"--max-bytes {text}: wanted a number with or without a unit, such as 20MB"):
        size_of(text, "--max-bytes")


@pytest.mark.parametrize("content", ["", "\n", "short", "two words here", "line1line1\nline2line2", "schlüssel-lang"])
def test_a_file_without_one_token_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "t").write_text(content)
    with pytest.raises(InputError, match=r"--token-file .*t: wanted one line of at least 8 letters"):
        token_in(tmp_path / "t")
    (tmp_path / "t").write_text(" good-token-1234\n")
    assert token_in(tmp_path / "t") == "good-token-1234"
    with pytest.raises(InputError, match="absent: wanted a readable file with a token"):
        token_in(tmp_path / "absent")


def _basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("header", "right"),
    [
        ("Bearer good-token", True),
        ("bearer   good-token ", True),
        (_basic("anybody:good-token"), True),
        (_basic(":good-token"), True),
        ("Bearer good-toke", False),
        ("Bearer good-token2", False),
        ("good-token", False),
        ("Bearer", False),
        ("", False),
        (_basic("good-token"), False),
        ("Basic !!!", False),
        ("Basic /w==", False),
        ("Digest good-token", False),
        ("Bearer good\udc80", False),
    ],
)
def test_only_the_token_is_the_token(header: str, right: bool) -> None:
    assert is_token(header, "good-token") == right
