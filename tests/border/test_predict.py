"""What `predict` can be asked about, through the command line: each kind of word, and what is said where it cannot be."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.arch.families.resnet import ResNetConfig
from deepres.cli.main import run as deepres
from deepres.data.decode import BadImageError, decode
from deepres.data.images import ArrayImages
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.per_image import fit
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from deepres.predict import addresses, videos
from deepres.predict.addresses import fetch
from deepres.predict.maps import GAP, beside, file_name, seen
from deepres.predict.pictures import Picture, of_file

CLASSES = ("cat", "dog", "emu")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = ResNetConfig(
        name="small", stem="cifar", stem_width=4, depths=(1, 1), widths=(4, 8), input=(3, 16, 16), num_classes=3
    )
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preparation = Preparation(fit="crop", resize=18, crop=16)
    save_network(folder, create_model(config.architecture()), CLASSES, preparation.model_dump(mode="json"))
    noise = ArrayImages(pixels, torch.arange(6) % 3, CLASSES, "noise")
    measure_statistics(noise, Preparation()).save(folder / "statistics.safetensors")
    return folder


def _picture(path: Path, seed: int = 0, size: tuple[int, int] = (20, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`photos/` with x.jpg, x.png, a/x.jpg, b/x.jpg, notes.txt, .hidden/x.jpg and an empty folder; the working folder."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("x.jpg", "x.png", "a/x.jpg", "b/x.jpg", ".hidden/x.jpg")):
        _picture(tmp_path / "photos" / name, seed)
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    (tmp_path / "photos" / "empty").mkdir()
    return tmp_path


Asked = Callable[..., tuple[int, list[dict[str, object]], list[str]]]


@pytest.fixture
def ask(network: Path, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Exit code, answers, lines on stderr."""

    def asked(*words: object) -> tuple[int, list[dict[str, object]], list[str]]:
        capsys.readouterr()
        code = deepres(["predict", str(network), *map(str, words), "--json", "--device", "cpu"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, [json.loads(line) for line in said.out.splitlines()], said.err.splitlines()

    return asked


@pytest.mark.medium
@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("photos", ["a/x.jpg", "b/x.jpg", "x.jpg", "x.png"]),
        ("photos/*.jpg", ["x.jpg"]),
        ("photos/x.*", ["x.jpg", "x.png"]),
        ("photos/**/*.jpg", ["a/x.jpg", "b/x.jpg", "x.jpg"]),
        ("photos/**", ["a/x.jpg", "b/x.jpg", "x.jpg", "x.png"]),
        ("**", ["a/x.jpg", "b/x.jpg", "x.jpg", "x.png"]),
        ("photos/*/x.jpg", ["a/x.jpg", "b/x.jpg"]),
        ("photos/[ab]/*", ["a/x.jpg", "b/x.jpg"]),
        ("./photos/../photos/*.png", ["x.png"]),
        ("photos/?.jpg", ["x.jpg"]),
    ],
)
def test_a_folder_or_a_quoted_pattern_is_all_its_images(word: str, wanted: list[str], here: Path, ask: Asked) -> None:
    code, answers, said = ask(word)
    assert (code, said) == (0, [])
    assert sorted(str(Path(str(one["image"])).resolve().relative_to(here / "photos")) for one in answers) == wanted


@pytest.mark.medium
def test_an_absolute_pattern_and_names_that_only_look_like_one(here: Path, ask: Asked) -> None:
    assert len(ask(f"{here}/photos/*.jpg")[1]) == 1
    _picture(here / "photo[1].jpg")
    code, answers, _ = ask("photo[1].jpg")
    assert (code, [one["image"] for one in answers]) == (0, ["photo[1].jpg"])


@pytest.mark.medium
@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("nothing/*.jpg", "nothing/*.jpg: matches no image; wanted a pattern such as 'photos/*.jpg'"),
        ("photos/*.tif", "photos/*.tif: matches no image"),
        ("photos/empty", "photos/empty: no images in this folder; name image files"),
        ("photos/empty/*", "photos/empty/*: matches no image"),
        ("missing.jpg", "missing.jpg: cannot be opened (No such file or directory)"),
        ("file:///etc/passwd", "file:///etc/passwd: file: is not read; wanted a path, or an address by http(s)"),
        ("FILE:///etc/passwd", "FILE: is not read"),
        ("ftp://example.org/cat.jpg", "ftp: is not read"),
        ("data:image/png;base64,AAAA", "data: is not read"),
        ("http://", "no host in it"),
        ("http:///cat.jpg", "no host in it"),
        ("photos/notes.txt", 'photos/notes.txt: not an image that can be read (it begins with "not a pictur")'),
        ("", "an empty name"),
        ("x" * 5000, "no name of a file"),
        ("a\0b", "no name of a file"),
    ],
)
def test_what_cannot_be_asked_about_is_one_line_and_hides_no_other_answer(
    word: str, reason: str, here: Path, ask: Asked
) -> None:
    code, answers, said = ask(word)
    assert code == 2
    assert len(said) == 1
    assert reason in said[0]
    assert answers[0]["problem"] == said[0].removeprefix("deepres: ")
    code, answers, said = ask("photos/x.png", word, "photos/x.jpg")
    assert code == 1
    assert [bool(one["problem"]) for one in answers] == [False, True, False]
    assert [one["image"] for one in answers][::2] == ["photos/x.png", "photos/x.jpg"]
    assert reason in str(answers[1]["problem"])
    assert said == ["deepres: 1 of 3 images could not be read; the others are answered above"]


def test_where_none_can_be_read_it_is_the_input(here: Path, network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "one.jpg").write_bytes(b"")
    (here / "two.jpg").write_bytes(b"\xff\xd8\xff\0\1\2")
    assert deepres(["predict", str(network), "one.jpg", "two.jpg"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "one.jpg: empty (0 bytes); replace or remove the file"
    assert "b'" not in said[1]
    assert said[2] == "deepres: none of the 2 images could be read; see above"


@pytest.mark.medium
def test_many_files_a_circle_of_links_and_order(here: Path, ask: Asked) -> None:
    (here / "photos" / "a" / "loop").symlink_to(here / "photos")
    code, answers, said = ask("photos/**/*.jpg")
    assert (code, len(answers)) == (0, 3), said
    names = [f"photos/{name}" for name in ("x.png", "b/x.jpg", "x.jpg", "a/x.jpg", "x.png")] * 6
    code, answers, _ = ask(*names)
    assert (code, [one["image"] for one in answers]) == (0, names)


@pytest.mark.medium
def test_the_bytes_of_an_image_from_a_pipe(here: Path, ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    piped((here / "photos" / "x.png").read_bytes())
    code, answers, _ = ask("-", "photos/x.png")
    assert code == 0
    assert answers[0]["image"] == "stdin"
    assert answers[0]["guesses"] == answers[1]["guesses"]
    piped(b"")
    assert ask("-")[2] == ["deepres: stdin: empty (0 bytes); replace or remove the file"]
    monkeypatch.setattr(addresses, "MOST_BYTES", 10)
    monkeypatch.setattr("deepres.predict.pictures.MOST_BYTES", 10)
    piped(b"x" * 100)
    assert "stdin: more than 0 MiB" in ask("-")[2][0]


def test_a_keyboard_is_no_pipe(here: Path, ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyboard(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Keyboard(io.BytesIO()))
    code, _, said = ask("-")
    assert (code, len(said)) == (2, 1)
    assert "nothing is piped in" in said[0]


class Server(BaseHTTPRequestHandler):
    def __init__(self, photo: bytes, *arguments: object) -> None:
        self.photo = photo
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        moved = {"/moved": "/cat.png", "/round": "/round", "/file": "file:///etc/passwd", "/ftp": "ftp://localhost/x"}
        if path in moved:
            self.send_response(302)
            self.send_header("Location", moved[path])
            self.end_headers()
            return
        if path == "/missing.png":
            self.send_error(404)
            return
        kinds = {"/page": "text/html; charset=utf-8", "/octets": "application/octet-stream", "/text.png": "image/png"}
        body = {"/text.png": b"this is no picture", "/page": b"<html>", "/large.png": b"\0" * 5000}.get(
            path, self.photo
        )
        self.send_response(200)
        if path != "/unsaid":
            self.send_header("Content-Type", kinds.get(path, "image/png"))
        if path in ("/cut.png", "/drip.png"):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if path == "/silent.png":
            time.sleep(0.6)
        try:
            if path == "/drip.png":
                for place in range(40):
                    self.wfile.write(body[place : place + 1])
                    time.sleep(0.05)
            else:
                self.wfile.write(body[:20] if path == "/cut.png" else body)
        except OSError:
            pass


@pytest.fixture
def server(here: Path) -> Iterator[str]:
    photo = (here / "photos" / "x.png").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, photo)) as serving:
        thread = threading.Thread(target=partial(serving.serve_forever, poll_interval=0.02), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/cat.png", "/cat.png?size=9&q=a b", "/moved", "/octets", "/unsaid", "/ü/é.png"])
@pytest.mark.medium
def test_an_address_is_downloaded(path: str, server: str, here: Path, ask: Asked) -> None:
    code, answers, said = ask(server + path, "photos/x.png")
    assert (code, said) == (0, [])
    assert answers[0]["guesses"] == answers[1]["guesses"]
    assert answers[0]["image"] == server + path


@pytest.mark.medium
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing.png", "answered 404 Not Found; check the address"),
        ("/page", "is no picture but text/html; wanted the address of the image itself"),
        ("/text.png", 'not an image that can be read (it begins with "this is no p")'),
        ("/large.png", "more than 0.00390625 MiB; download it, and give the file"),
        ("/cut.png", "ended after 20 of"),
        ("/drip.png", "took longer than 0.3 s; download it, and give the file"),
        ("/silent.png", "did not answer within 0.1 s; download it, and give the file"),
        ("/round", "infinite loop"),
        ("/file", "Redirection to url 'file:///etc/passwd' is not allowed"),
        ("/ftp", "it redirects to ftp://localhost/x, which is not read"),
    ],
)
def test_an_address_that_gives_no_picture_is_one_line(
    path: str, reason: str, server: str, here: Path, ask: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = partial(fetch, seconds=0.3, most_bytes=4096)
    monkeypatch.setattr("deepres.predict.pictures.fetch", limited)
    began = time.monotonic()
    code, answers, said = ask(server + path, "photos/x.png")
    assert code == 1
    assert reason in str(answers[0]["problem"])
    assert str(answers[0]["problem"]).startswith(f"{server}{path}: ")
    assert answers[1]["problem"] is None
    assert said == ["deepres: 1 of 2 images could not be read; the others are answered above"]
    assert time.monotonic() - began < 5


def test_nobody_listens_there(here: Path) -> None:
    with pytest.raises(BadImageError, match=r"http://127\.0\.0\.1:9/x\.png: cannot be had \(.*refused.*\); check the"):
        fetch("http://127.0.0.1:9/x.png", seconds=3)


def _video(path: Path, frames: int = 30, rate: int = 10, turned: int = 0) -> Path:
    av = pytest.importorskip("av", reason="videos are read by an extra: pip install 'deepres[video]'")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        for number in range(frames):
            pixels = np.full((32, 48, 3), 8 * number, dtype=np.uint8)
            pixels[:8, :8] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.medium
def test_a_video_is_a_frame_every_so_many_seconds(here: Path, ask: Asked) -> None:
    film = _video(here / "film.mp4")
    code, answers, said = ask("photos/x.png", "film.mp4")
    assert code == 0
    assert [one["image"] for one in answers] == ["photos/x.png", "film.mp4@0.0s", "film.mp4@1.0s", "film.mp4@2.0s"]
    assert said[0] == "film.mp4: a frame every second; others: --every SECONDS"
    assert [one["image"] for one in ask("film.mp4", "--every", "1.5")[1]] == ["film.mp4@0.0s", "film.mp4@1.5s"]
    shades = [int(pixels.float().mean()) for _, pixels in videos.frames(film, 1.0)]
    assert shades == pytest.approx([11, 88, 164], abs=4)


@pytest.mark.parametrize(("turned", "corner"), [(0, (0, 0)), (90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
@pytest.mark.medium
def test_a_video_taken_on_its_side_stands_upright(turned: int, corner: tuple[int, int], here: Path) -> None:
    _, pixels = next(videos.frames(_video(here / "film.mov", 2, turned=turned), 1.0))
    assert tuple(pixels.shape) == ((3, 48, 32) if abs(turned) == 90 else (3, 32, 48))
    assert pixels[:, corner[0], corner[1]].float().mean() > 200


@pytest.mark.parametrize("kind", ["nothing", "text", "cut"])
@pytest.mark.medium
def test_a_broken_video_is_one_line(kind: str, here: Path, ask: Asked) -> None:
    whole = _video(here / "film.mp4").read_bytes()
    (here / "film.mp4").write_bytes({"nothing": b"", "text": b"no film", "cut": whole[: len(whole) // 2]}[kind])
    code, _, said = ask("film.mp4", "--every", "1")
    assert code == 2
    assert "film.mp4: damaged or cut short" in said[-1]


@pytest.mark.medium
def test_wherever_a_video_is_cut_it_is_whole_or_damaged(here: Path) -> None:
    film = _video(here / "film.mp4")
    whole = film.read_bytes()
    damaged = 0
    for length in range(0, len(whole), 37):
        film.write_bytes(whole[:length])
        try:
            assert len(list(videos.frames(film, 1.0))) == 3  # what was cut off belongs to no frame
        except BadImageError as error:
            assert "film.mp4: damaged or cut short" in str(error)  # noqa: PT017
            damaged += 1
    assert damaged > 40


def test_a_film_of_sound_alone_has_no_video(here: Path) -> None:
    av = pytest.importorskip("av", reason="videos are read by an extra: pip install 'deepres[video]'")
    with av.open(str(here / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(BadImageError, match="a file without a video"):
        list(videos.frames(here / "sound.mp4", 1.0))


@pytest.mark.medium
def test_without_the_extra_a_video_names_it(here: Path, ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (here / "film.mp4").write_bytes(b"film")
    code, answers, _ = ask("photos/x.png", "film.mp4", "--every", "1")
    assert code == 1
    assert answers[1]["problem"] == "film.mp4: reading videos needs an extra: pip install 'deepres[video]'"
    assert answers[0]["problem"] is None
    assert ask("photos/x.png", "--every", "2")[2] == ["deepres: --every 2: no video is among the images; leave it out"]


def test_a_table_of_the_answers(here: Path, ask: Asked) -> None:
    (here / "photos" / "bad,name.jpg").write_text("no picture")
    code, answers, _ = ask("photos", "--csv", "new/out.csv", "--top-k", "2")
    assert code == 1
    with (here / "new" / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "class", "probability", "class_2", "probability_2", "problem"]
    assert [row["image"] for row in rows] == [one["image"] for one in answers]
    for row, one in zip(rows, answers, strict=True):
        guesses = one["guesses"]
        assert isinstance(guesses, list)
        if guesses:
            assert (row["class"], row["class_2"]) == (guesses[0]["name"], guesses[1]["name"])
            assert float(row["probability"]) == pytest.approx(guesses[0]["probability"], abs=1e-6)
            assert row["problem"] == ""
        else:
            assert row["class"] == row["probability"] == ""
            assert row["problem"].startswith("not an image that can be read")


@pytest.mark.medium
def test_maps_of_equal_names_never_meet_and_the_same_picture_keeps_its_name(here: Path, ask: Asked) -> None:
    code, answers, said = ask("photos", "--cam", "maps")
    assert code == 0, said
    first = [str(one["map"]) for one in answers]
    assert len(set(first)) == 4
    assert all(Path(name).is_file() for name in first)
    _, answers, _ = ask("./photos/b/x.jpg", "photos/x.png", "--cam", "maps")
    assert [str(one["map"]) for one in answers] == [first[1], first[3]]
    assert len(list((here / "maps").iterdir())) == 4


@pytest.mark.parametrize("name", ["...jpg", "a b/ü.jpg", "http://x.org/p?i=1", "n" * 300, "-.png"])
def test_the_file_of_a_map_has_a_name_that_any_system_takes(name: str) -> None:
    given = file_name(Picture(name, lambda: b"x"))
    assert len(given) < 120
    assert "/" not in given
    assert not given.startswith(".")
    assert given.endswith("_cam.png")
    assert given != file_name(Picture(name, lambda: b"y"))


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (37, 37), (20, 300)])
@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(fit="crop", resize=18, crop=16),
        Preparation(fit="squash", crop=16),
        Preparation(fit="pad", crop=16),
        Preparation(),
    ],
)
def test_a_map_lies_on_what_the_network_saw(size: tuple[int, int], preparation: Preparation) -> None:
    """A gradient shown to the network and read back at the box's corners."""
    height, width = size
    left, top, right, bottom = seen(preparation, height, width)
    rows = torch.linspace(0, 255, height)[:, None].expand(height, width).round().to(torch.uint8)
    shown = fit(rows[None].expand(3, -1, -1), preparation)[0].float()
    inside = shown[:, shown.shape[1] // 2]
    if preparation.fit != "pad":
        spread = 255 / (height - 1)
        first, last = (max(0, top) + 0.5) * spread, (min(height, bottom) - 0.5) * spread
        pixel = spread * (bottom - top) / shown.shape[0] + 2
        assert inside[0] == pytest.approx(first, abs=1.5 * pixel)
        assert inside[-1] == pytest.approx(last, abs=1.5 * pixel)
    assert right - left == bottom - top or preparation.fit in (None, "squash")


def test_the_map_stands_beside_the_photo_at_its_own_size_with_scale_and_answer(here: Path) -> None:
    image = decode(_picture(here / "wide.png", 3, (120, 200)))
    preparation = Preparation(fit="crop", resize=18, crop=16)
    heat = torch.zeros(16, 16)
    heat[4, 12] = 2.5
    drawn = beside(image, heat, preparation, "wide.png: dog 93.1 %")
    pixels = torch.from_numpy(np.asarray(drawn).copy()).permute(2, 0, 1)
    top = drawn.height - GAP - 120
    assert torch.equal(pixels[:, top : top + 120, GAP : GAP + 200], image)
    mapped = pixels[:, top : top + 120, 2 * GAP + 200 : 2 * GAP + 400].float()
    left, up, right, down = seen(preparation, 120, 200)
    yellow = mapped[0] + mapped[1] - 2 * mapped[2]
    found = (yellow[up:down, left:right].flatten().argmax() % (right - left)).item() / (right - left)
    assert found == pytest.approx(12.5 / 16, abs=0.15)
    outside = mapped[:, :, : left - 1]
    assert torch.equal(outside[0], outside[2])  # without colour
    assert outside.max() <= 127
    head = pixels[:, :top]
    assert (head.float().mean(0) < 128).sum() > 50  # letters
    bar = pixels[:, top : top + 120, 3 * GAP + 402].tolist()
    assert (bar[0][0], bar[2][-1]) == (253, 84)  # viridis: yellow at the top, violet below


def test_a_picture_from_a_file_is_read_where_it_lies(here: Path) -> None:
    assert torch.equal(of_file(here / "photos" / "x.png").pixels(3), decode(here / "photos" / "x.png"))
    assert of_file(here / "photos" / "x.png").pixels(1).shape[0] == 1


@pytest.mark.slow
def test_a_name_that_the_terminal_cannot_show_ends_nothing(network: Path, tmp_path: Path) -> None:
    _picture(tmp_path / "photos" / "caf\udce9.png")
    words = [sys.executable, "-m", "deepres", "predict", str(network), str(tmp_path / "photos")]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(words, env=strict, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert r"caf\udce9.png: " in done.stdout
