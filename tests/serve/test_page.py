"""The page in a browser, as its user meets it; without Chromium only what its text tells."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<img src=x onerror=window.evil=1>.png"


@pytest.mark.medium
def test_the_page_asks_nothing_of_elsewhere(ask: Any) -> None:
    for path in ("/", "/docs"):
        reply = ask(path)
        text = reply.body.decode()
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        (nonce,) = set(re.findall(r'nonce="([^"]+)"', text))
        assert f"script-src 'nonce-{nonce}'" in policy
        assert nonce not in ask(path).body.decode()
        addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
        assert {
            one for one in addresses if not one.startswith(("http://localhost:8000/", "http://www.w3.org/"))
        } == set()
        assert "innerHTML" not in text


@pytest.mark.medium
def test_the_api_page_tells_of_every_route(ask: Any) -> None:
    text = ask("/docs").body.decode()
    for path in ask("/openapi.json").json["paths"]:
        assert path in text


@pytest.fixture
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """`visit(client)`: its page, 360 px wide and dark; afterwards nothing went wrong in it, and none else was asked."""
    ends: list[Callable[[], None]] = []

    def go(client: Any) -> Any:
        context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
        page, errors, outside, own = context.new_page(), list[str](), list[str](), f"http://127.0.0.1:{client.port}/"
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: outside.append(request.url))
        page.goto(own)
        _until(page, "model !== null")

        def end() -> None:
            assert errors == []
            assert {url for url in outside if not url.startswith((own, "blob:", "data:"))} == set()
            context.close()

        ends.append(end)
        return page

    yield go
    for end in ends:
        end()


@pytest.fixture
def opened(visit: Callable[..., Any], ask: Any) -> Any:
    return visit(ask)


def _serious(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


def _until(page: Any, holds: str) -> None:
    """Once the expression holds; asked from outside, for the page's policy lets nobody evaluate texts in it."""
    for _ in range(900):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(100)
    raise AssertionError(holds)


def _answered(page: Any, number: int) -> None:
    _until(page, f"document.getElementById('status').textContent.startsWith('{number} of {number} ')")


@pytest.mark.slow
def test_pictures_that_are_dropped_are_answered_as_predict_does(
    opened: Any, ask: Any, pictures: Callable[..., bytes], tmp_path: Path
) -> None:
    files = [(f"{n:02}.png", pictures(n)) for n in range(20)] + [(EVIL, b"no image"), ("=1+1.png", pictures(3))]
    expected = [ask("/v1/predict", data).json for _, data in files]
    opened.evaluate(
        """files => {
            const carried = new DataTransfer();
            for (const [name, bytes] of files) carried.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
            document.dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
        }""",
        [[name, list(data)] for name, data in files],
    )
    _answered(opened, len(files))
    assert opened.inner_text("#status") == "22 of 22 answered, 1 with a problem"
    cards = opened.locator("#answers > li")
    for place, told in enumerate(expected):
        card, (answer,) = cards.nth(place), told["answers"]
        assert card.locator("h2").inner_text() == files[place][0]
        if answer["problem"] is None:
            assert card.locator(".name").first.inner_text() == answer["guesses"][0]["name"]
            assert card.locator(".share").first.inner_text() == f"{100 * answer['guesses'][0]['probability']:.1f} %"
        else:
            assert "not an image that can be read" in card.locator(".problem").inner_text()
    assert opened.evaluate("window.evil") is None
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
    cards.first.get_by_role("button").first.click()
    _until(opened, "document.querySelector('#answers img').alt.startsWith('Map of ')")
    assert _serious(opened) == []
    opened.emulate_media(color_scheme="light")
    assert _serious(opened) == []
    for button, name in (("#json", "answers.json"), ("#csv", "answers.csv")):
        with opened.expect_download() as download:
            opened.click(button)
        download.value.save_as(tmp_path / name)
    saved = json.loads((tmp_path / "answers.json").read_text())
    assert [one["image"] for one in saved] == [name for name, _ in files]
    lines = (tmp_path / "answers.csv").read_text().splitlines()
    assert lines[0].startswith("image,model,class,probability,class_2")
    assert lines[0].endswith(",problem")
    assert lines[-1].startswith("'=1+1.png,")
    assert len(lines) == 23


@pytest.mark.slow
def test_a_server_that_has_gone_is_told_in_words(
    browser: Any, starting: Any, small: Path, pictures: Callable[..., bytes]
) -> None:
    client, page = starting(small), browser.new_page()
    page.goto(f"http://127.0.0.1:{client.port}/")
    _until(page, "model !== null")
    client.loop.call_soon_threadsafe(client.running.server.abort)
    for listener in client.running.server.servers:
        client.loop.call_soon_threadsafe(listener.close)
    page.set_input_files("#files", [{"name": "a.png", "mimeType": "image/png", "buffer": pictures()}])
    _answered(page, 1)
    assert "The server does not answer" in page.inner_text("#trouble")
    assert "The server does not answer" in page.locator(".problem").inner_text()


@pytest.mark.slow
def test_it_is_used_with_the_keyboard_alone(opened: Any, pictures: Callable[..., bytes]) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.id") == "files"
    opened.set_input_files("#files", [{"name": "a.png", "mimeType": "image/png", "buffer": pictures()}])
    _answered(opened, 1)
    opened.focus("#clear")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "where?"
    opened.keyboard.press("Enter")
    _until(opened, "document.querySelector('#answers img').alt.startsWith('Map of ')")
    assert opened.evaluate("document.activeElement.textContent") == "where?"


@pytest.mark.slow
def test_every_task_is_shown_in_its_own_way(
    visit: Callable[..., Any], all_of_them: Any, pictures: Callable[..., bytes]
) -> None:
    page, data = visit(all_of_them), pictures(1, (60, 45))
    told = {
        name: all_of_them(f"/v1/models/{name}/predict{more}", data).json["answers"][0]
        for name, more in (("labels", ""), ("numbers", ""), ("boxes", "?above=0.05"))
    }

    def chosen(name: str, done: int) -> Any:
        page.select_option("#model", name)
        if name == "boxes":
            page.evaluate("document.getElementById('score').value = 0.05")
        page.set_input_files("#files", [{"name": f"{name}.png", "mimeType": "image/png", "buffer": data}])
        _answered(page, done)
        return page.locator("#answers > li").last

    card = chosen("labels", 1)
    assert ", ".join(told["labels"]["labels"]) in card.inner_text() if told["labels"]["labels"] else True
    assert card.locator(".bar b").count() == 3
    notes = {text.strip() for text in card.locator(".guesses .note").all_inner_texts()}
    assert notes == {"said from 20.0 %", "said from 90.0 %", "said from 5.0 %"}
    card = chosen("numbers", 2)
    assert card.locator(".value").count() == 3
    first = told["numbers"]["values"][0]
    assert float(card.locator(".value").first.inner_text()) == pytest.approx(first["value"], rel=1e-3)
    texts = card.locator("p").all_inner_texts()
    assert "90 % of such pictures lie between" in texts[0]
    assert "between" not in texts[1]
    card = chosen("boxes", 3)
    boxes = told["boxes"]["boxes"]
    assert boxes
    assert card.locator("svg rect").count() == card.locator(".guesses .tag").count() == len(boxes)
    assert card.locator(".frame .tag").count() == min(25, len(boxes))
    assert [float(text) for text in card.locator(".share").all_inner_texts()] == [
        pytest.approx(one["score"], abs=0.006) for one in boxes
    ]
    photo, drawn = card.locator("img").bounding_box(), card.locator("svg rect").first.bounding_box()
    x1, y1, _, y2 = boxes[0]["corners"]
    assert drawn["x"] - photo["x"] == pytest.approx(x1 / 60 * photo["width"], abs=3)
    assert drawn["height"] == pytest.approx((y2 - y1) / 45 * photo["height"], abs=5)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert _serious(page) == []
    page.emulate_media(color_scheme="light")
    assert _serious(page) == []


@pytest.mark.slow
def test_all_guesses_of_a_localiser_are_shown(
    visit: Any, starting: Any, localiser: Path, pictures: Callable[..., bytes]
) -> None:
    client, data = starting(localiser), pictures(1, (60, 45))
    page = visit(client)
    assert page.locator("#above").is_hidden()
    page.set_input_files("#files", [{"name": "a.png", "mimeType": "image/png", "buffer": data}])
    _answered(page, 1)
    told = client("/v1/predict", data).json["answers"][0]
    card = page.locator("#answers > li").last
    assert card.locator("svg rect").count() == len(told["boxes"]) == 3
    assert [float(text) for text in card.locator(".share").all_inner_texts()] == [
        pytest.approx(one["score"], abs=0.006) for one in told["boxes"]
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_masks_lie_on_the_photograph(visit: Any, starting: Any, masked: Path, pictures: Callable[..., bytes]) -> None:
    """What the page paints is what pycocotools decodes of the answer."""
    theirs = pytest.importorskip("pycocotools.mask")
    client, data = starting(masked), pictures(1, (60, 45))
    page = visit(client)
    page.evaluate("document.getElementById('score').value = 0.05")
    page.set_input_files("#files", [{"name": "masked.png", "mimeType": "image/png", "buffer": data}])
    _answered(page, 1)
    page.wait_for_selector(".frame canvas")
    told = client("/v1/models/masked/predict?above=0.05", data).json["answers"][0]
    wanted = sum(theirs.decode(one["segmentation"]).astype(int) for one in told["boxes"]) > 0
    assert wanted.any()
    painted = page.evaluate(
        "(() => { const one = document.querySelector('.frame canvas'), facts = one.getContext('2d')"
        ".getImageData(0, 0, one.width, one.height); return [...facts.data].filter((_, place) => place % 4 === 3); })()"
    )
    assert np.array_equal(np.array(painted).reshape(45, 60) > 0, wanted)
