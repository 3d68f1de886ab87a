"""One page that answers photos in a browser, opened from a disk, network off: runtime, wasm and network are inside it.

The runtime is onnxruntime's for browsers. It comes from npm, not from pip: a folder is named, or npm fetches the one
version that is pinned here, once; what comes is told by its digest. It is never part of deepres.
"""

import base64
import gzip
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, StrictUndefined

from deepres.base.errors import InputError
from deepres.base.files import cache_folder, explained, folder_atomic, read_bytes, read_text, write_atomic
from deepres.base.reading import reading
from deepres.predict.exported import onnx_session
from deepres.predict.exported.bundle import Bundle

PAGE, LICENSES = "index.html", "LICENSES"
PACKAGE = "onnxruntime-web"
PINNED = "1.30.0"
CODE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
_DIGESTS = {
    CODE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 of what the page needs of it."""
_SECONDS = 300
_MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


@dataclass(frozen=True)
class Runtime:
    """The two files of onnxruntime that a page holds."""

    code: bytes
    wasm: bytes


def runtime(folder: Path | None = None) -> Runtime:
    """The pinned runtime, from `folder` (an unpacked package), else from the cache, else fetched by npm into it.

    Raises:
        InputError: it is not there and cannot be fetched, or is another version.
    """
    if folder is not None:
        return _in(folder)
    kept = cache_folder() / f"{PACKAGE}-{PINNED}"
    if not kept.is_dir():
        _fetch(kept)
    return _in(kept)


def write(folder: Path, network: bytes, bundle: Bundle, parts: Runtime) -> Path:
    """Write `index.html`, which answers by `network`, an ONNX file of one picture at a time, and `LICENSES`."""
    source = files("deepres.export").joinpath("browser.html.jinja").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    page = environment.from_string(source).render(bundle=bundle, facts=_facts(bundle))
    for mark, content in (
        ("@@RUNTIME@@", parts.code),
        ("@@WASM@@", parts.wasm),
        ("@@NETWORK@@", network),
    ):
        before, found, behind = page.partition(mark)
        assert found
        page = before + base64.b64encode(gzip.compress(content, 9, mtime=0)).decode() + behind
    write_atomic(folder / PAGE, page)
    write_atomic(folder / LICENSES, _licenses(bundle))
    return folder / PAGE


def session(page: Path) -> onnx_session.OnnxSession:
    """The network that stands in a page that was just written, asked by onnxruntime here."""
    text = read_text(page, "page")
    begin, _, rest = text.partition('id="network">')
    assert begin
    content = gzip.decompress(base64.b64decode(rest.partition("<")[0]))
    with TemporaryDirectory(prefix="deepres-page-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(content)
        return onnx_session.session(file)


def _facts(bundle: Bundle) -> Any:
    """What the page's code reads, as JSON that can stand in a page."""
    from markupsafe import Markup

    task: Any = bundle.task
    preparation: Any = bundle.preparation
    facts = {
        "names": bundle.names,
        "form": bundle.asked("the file").form,
        "output": bundle.answers,
        "shape": bundle.shape,
        "fixed": not bundle.any_size,
        "strip": preparation["resize"] if preparation["fit"] == "crop" else None,
        "thresholds": (task.get("thresholds") or {}).get("values"),
        "bounds": (task.get("bounds") or {}).get("values"),
    }
    return Markup(json.dumps(facts).replace("<", "\\u003c"))


def _licenses(bundle: Bundle) -> str:
    return (
        f"This page holds {PACKAGE} {PINNED}, Copyright (c) Microsoft Corporation, under the MIT License below.\n"
        "What it is made of in turn: https://github.com/microsoft/onnxruntime/blob/main/ThirdPartyNotices.txt\n"
        "The page around it was made by deepres, under the Apache License 2.0.\n"
        f"The licence of the weights ({bundle.network}): {bundle.license}.\n\n{_MIT}"
    )


def _in(folder: Path) -> Runtime:
    found = {}
    for name, wanted in _DIGESTS.items():
        places = [folder / name, folder / "dist" / name, folder / "package" / "dist" / name]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise InputError(f"{folder}: no {name} in it; wanted {PACKAGE} {PINNED} as npm unpacks it")
        with explained(place):
            content = read_bytes(place)
        if sha256(content).hexdigest() != wanted:
            raise InputError(f"{place}: not that of {PACKAGE} {PINNED}; bring that version, or remove the folder")
        found[name] = content
    return Runtime(found[CODE], found[WASM])


def _fetch(kept: Path) -> None:
    remedy = f"bring {PACKAGE} {PINNED} and name its folder: --runtime FOLDER (npm pack {PACKAGE}@{PINNED}, unpacked)"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            f"--format browser: needs onnxruntime's package for browsers, and there is no npm here; {remedy}"
        )
    with TemporaryDirectory(prefix="deepres-npm-") as place:
        command = [npm, "pack", f"{PACKAGE}@{PINNED}", "--silent"]
        try:
            subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError) as cause:
            told = str(getattr(cause, "stderr", "") or cause).strip().splitlines()[:1]
            raise InputError(f"--format browser: npm cannot fetch it ({' '.join(told)[:160]}); {remedy}") from cause
        (archive,) = Path(place).glob("*.tgz")
        kept.parent.mkdir(parents=True, exist_ok=True)
        with folder_atomic(kept) as folder, reading(archive, f"{PACKAGE} as npm packs it"):
            with tarfile.open(archive) as packed:
                for name in _DIGESTS:
                    member = packed.extractfile(f"package/dist/{name}")
                    assert member is not None
                    (folder / name).write_bytes(member.read())
            _in(folder)
