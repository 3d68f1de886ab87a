import re
from collections.abc import Callable
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from small_run import SMALL, noise

from deepres.base.errors import InputError
from deepres.base.files import cache_folder
from deepres.export import browser
from deepres.export.export import ExportConfig, Quantising, export
from deepres.predict.exported.onnx_session import session
from deepres.predict.predictor import Predictor

FAKE = browser.Runtime(b"export const env = {};", b"\0asm")


def test_a_page_holds_all_that_it_needs_and_asks_nobody(small: Path, tmp_path: Path) -> None:
    odd = SMALL.replace(names=("</script><b>", "bee", "cat"))
    page = browser.write(tmp_path, small.read_bytes(), odd, FAKE)
    text = page.read_text()
    assert not re.findall(r"https?:", text)
    assert "</script><b>" not in text
    assert "connect-src" not in text
    assert "default-src 'none'" in text
    torch.testing.assert_close(browser.session(page)(noise(2)), session(small)(noise(2)))
    licences = (tmp_path / "LICENSES").read_text()
    assert "MIT" in licences
    assert "weights (small): not stated" in licences


def test_another_runtime_or_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no ort\.wasm\.bundle\.min\.mjs in it; wanted onnxruntime-web 1\.30\.0"):
        browser.runtime(tmp_path)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / browser.CODE).write_text("x")
    with pytest.raises(InputError, match=r"not that of onnxruntime-web 1\.30\.0"):
        browser.runtime(tmp_path)
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"there is no npm here; bring onnxruntime-web 1\.30\.0"):
        browser.runtime()


@pytest.mark.slow
@pytest.mark.parametrize("bits", [32, 8])
def test_photos_are_answered_in_a_browser_without_a_request(
    loaded: Callable[[str], Predictor], tmp_path: Path, bits: int
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = which("chromium") or which("chromium-browser") or which("google-chrome")
    if chromium is None or not (cache_folder() / f"{browser.PACKAGE}-{browser.PINNED}").is_dir():
        pytest.skip("no Chromium, or no runtime in the cache: deepres export RUN --format browser fetches it")
    predictor = loaded("classification")
    int8 = Quantising(list(noise(100)), lambda file, eighth: None) if bits == 8 else None
    export(predictor, "none", tmp_path / "out", ExportConfig(format="browser"), None, int8=int8)
    if bits == 8:  # what the browser computes is asked, not what 8 bits lose
        export(predictor, "none", tmp_path / "file", ExportConfig(format="onnx"), None, int8=int8)
        predictor = Predictor.load(tmp_path / "file" / "model.onnx")
    photos = tmp_path / "photos"
    photos.mkdir()
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for number, image in enumerate(noise(20, 40, 60)):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        match number % 5:
            case 0:
                picture.save(photos / f"{number}.jpg", exif=turned, quality=95)
            case 1:
                picture.convert("L").save(photos / f"{number}.png")
            case 2:
                clear = picture.convert("RGBA")
                clear.putalpha(128)
                clear.save(photos / f"{number}.png")
            case _:
                picture.save(photos / f"{number}.png")
    paths = sorted(photos.iterdir())
    answers = {path.name: answer for path, answer in zip(paths, predictor.answers(paths), strict=True)}
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "broken.jpg").write_bytes(paths[0].read_bytes()[:200])
    asked: list[str] = []
    failed: list[object] = []
    with playwright.sync_playwright() as here:
        page = (
            here.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_context(offline=True).new_page()
        )
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(error))
        page.goto((tmp_path / "out" / "index.html").as_uri())
        page.wait_for_selector("body[data-ready]", state="attached", timeout=120_000)
        page.set_input_files("#files", [*map(str, paths), str(tmp_path / "broken.jpg"), str(tmp_path / "deep.png")])
        for name, answer in answers.items():
            said = page.inner_text(f"article[data-file='{name}'] .row:first-of-type", timeout=120_000).split()
            best, second = answer.guesses[:2]
            assert said[0] == best.name or best.probability - second.probability < 0.02, name
            assert abs(float(said[1]) / 100 - best.probability) < 0.02
        for name, told in (("broken.jpg", "no picture that this browser reads"), ("deep.png", "more than 8 bits")):
            assert told in page.inner_text(f"article[data-file='{name}']", timeout=120_000)
    assert not failed
    assert [url for url in asked[1:] if not url.startswith("blob:")] == []
