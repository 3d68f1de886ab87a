"""What comes in a body: forms and what is none, held in memory alone, and not without end."""

import tempfile
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.medium
def test_nothing_of_a_form_is_written_to_the_disk(
    ask: Any, formed: Any, pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *a, **k: 1 / 0)
    large = pictures(0, (900, 900), "BMP")
    assert len(large) > 2_000_000
    assert ask.form("/v1/predict", [("a.bmp", large)]).status == 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        ("multipart/form-data", b"x", 400, "without a boundary"),
        ("multipart/form-data; boundary=xyz", b"nothing", 400, "no multipart/form-data"),
        ("multipart/form-data; boundary=xyz", b"--xyz--\r\n", 422, "no image: the form has no file"),
        ("multipart/form-data; boundary=" + "x" * 300, b"x", 400, "without a boundary"),
        (
            "multipart/form-data; boundary=xyz",
            b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ncut',
            400,
            "without its end",
        ),
        (
            "multipart/form-data; boundary=xyz",
            b'--xyz\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n3\r\n--xyz--\r\n',
            422,
            r"field 'top_k': is no file; .*\?top_k=3",
        ),
    ],
)
def test_a_form_that_is_none_is_refused(ask: Any, kind: str, body: bytes, status: int, message: str) -> None:
    import re

    reply = ask("/v1/predict", body, {"Content-Type": kind})
    assert reply.status == status
    assert re.search(message, reply.error), reply.error


def test_a_form_has_at_most_64_files(ask: Any) -> None:
    reply = ask.form("/v1/predict", [("a", b"x")] * 65)
    assert (reply.status, reply.error) == (413, "more than 64 files in a form; send fewer at once")


def test_what_is_compressed_is_not_undone(ask: Any) -> None:
    reply = ask("/v1/predict", b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert (reply.status, reply.error) == (415, "Content-Encoding gzip: is not undone; send the body as it is")


def test_more_bodies_than_are_held_are_asked_to_come_again(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask.running.service.bodies, "_most", 5000)
    reply = ask("/v1/predict", bytes(6000))
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert "bodies of 5,000 bytes are held already" in reply.error
    assert ask.running.service.bodies.bytes == 0


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b"name=f; filename*=UTF-8''%C3%A4%20b.png", "\u00e4 b.png"),
        (b"name=f; filename=a.png; filename*=utf-8'de'%C3%A4.png", "\u00e4.png"),
        (b'name=f; filename="a\\"b.png"', 'a"b.png'),
    ],
)
def test_names_are_read_as_clients_write_them(ask: Any, pictures: Any, disposition: bytes, name: str) -> None:
    head = b"--xyz\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n"
    body = head + pictures() + b"\r\n--xyz--\r\n"
    reply = ask("/v1/predict", body, {"Content-Type": "multipart/form-data; boundary=xyz"})
    assert reply.json["answers"][0]["image"] == name


@pytest.mark.medium
def test_a_form_full_of_almost_boundaries_is_read_in_turn_and_whole(
    ask: Any, formed: Any, pictures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepres.serve import body

    pieces: list[int] = []
    real = body._Form.write
    monkeypatch.setattr(body._Form, "write", lambda self, part: pieces.append(len(part)) or real(self, part))
    picture = pictures() + b"\r\n--xy" * 20_000  # what follows a picture is not read
    reply = ask.form("/v1/predict", [("a.png", picture)])
    assert reply.json["answers"][0]["problem"] is None
    assert sum(pieces) == len(formed([("a.png", picture)])[1])
    assert max(pieces) <= body.PIECE
