"""A server in a thread of this process, and a small network for it."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image

from deepres.arch.catalogue.lookup import entry
from deepres.arch.detector import DetectorConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.localiser import on
from deepres.arch.regions import Anchors, MaskHead, Proposals, Regions
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from deepres.serve import connections, run
from deepres.serve.limits import Limits
from deepres.serve.logs import Logs
from deepres.serve.run import Options, Running, bound
from deepres.serve.served import Served
from deepres.tasks.detection.detector import create
from deepres.tasks.localisation.network import create as create_localiser
from deepres.tasks.localisation.task import Localising

CLASSES = ("ant", "bee", "cat <b>")
SMALL = "resnet20_cifar+depths=1,1,1+widths=16,16,16"
THIRD = torch.full((3,), 0.45)
OF_NUMBERS = {"kind": "regression", "mean": [30.0, 1.0, 2.0], "std": [10.0, 2.0, 3.0]}
OF_NUMBERS["bounds"] = {"values": [4.5, None, 0.25], "coverage": 0.9, "found_on": "held-out images", "images": 40}
OF_LABELS = {
    "kind": "multilabel",
    "thresholds": {"values": [0.2, 0.9, 0.05], "chosen": 3, "found_on": "held-out images", "images": 9},
}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


class Client:
    """Asks a server; `port`, `running` and `lines` of its log for those who want to know more."""

    def __init__(self, port: int, running: Running, lines: list[str], loop: asyncio.AbstractEventLoop) -> None:
        self.port, self.running, self._lines, self.loop = port, running, lines, loop

    def __call__(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> Reply:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def form(self, path: str, files: list[tuple[str, bytes]], headers: dict[str, str] | None = None) -> Reply:
        kind, body = form(files)
        return self(path, body, {"Content-Type": kind, **(headers or {})})

    def log(self, event: str, least: int = 1, **facts: Any) -> list[dict[str, Any]]:
        """The lines of that event with these facts, once there are so many."""
        for _ in range(500):
            lines = [line for line in map(json.loads, list(self._lines)) if line["event"] == event]
            found = [line for line in lines if facts.items() <= line.items()]
            if len(found) >= least:
                return found
            time.sleep(0.01)
        raise AssertionError(f"no {least} lines {event} {facts}")

    def metric(self, name: str) -> float:
        """The sum of a metric's samples whose line begins with `name`."""
        lines = self("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def form(files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """A multipart/form-data body by hand, and its type."""
    parts = [
        b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="'
        + name.encode()
        + b'"\r\n\r\n'
        + data
        + b"\r\n"
        for name, data in files
    ]
    return "multipart/form-data; boundary=xyz", b"".join(parts) + b"--xyz--\r\n"


def picture(number: int = 0, size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    """Noise, another for each number."""
    draw = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 256, (size[1], size[0], 3), dtype=torch.uint8, generator=draw)
    out = BytesIO()
    Image.fromarray(pixels.numpy()).save(out, kind)
    return out.getvalue()


def network_at(folder: Path, seed: int = 0) -> Path:
    """The folder of a small network of three classes."""
    folder.mkdir(exist_ok=True)
    preparation = Preparation(fit="crop", resize=24, crop=20)
    net = create_model(SMALL, num_classes=3, seed=seed)
    save_network(folder, net, CLASSES, preparation.model_dump(mode="json"))
    Statistics(THIRD, THIRD / 2, torch.ones(3), torch.eye(3), None, 0).save(folder / "statistics.safetensors")
    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return network_at(tmp_path_factory.mktemp("serve") / "small")


Start = Callable[..., Client]


@pytest.fixture(scope="module")
def starting() -> Iterator[Start]:
    """`starting(folder, …, limits=Limits(…), options=Options(…))`: a server, which ends with the module's tests."""
    ends: list[Callable[[], None]] = []

    def start(*folders: Path, limits: Limits | None = None, options: Options | None = None) -> Client:
        given = options or Options("cpu", "float32")
        served = [Served.load(folder.name, str(folder), given.device, given.precision) for folder in folders]
        taken, lines = bound("127.0.0.1", 0), list[str]()
        ready, made = threading.Event(), list[Any]()

        def work() -> None:
            async def main() -> None:
                logs = Logs(lines.append)
                running, stop = Running(served, given, limits or Limits(), logs), asyncio.Event()
                await running.begin(taken)
                made.extend([running, asyncio.get_running_loop(), stop])
                ready.set()
                await stop.wait()
                await running.drained()
                logs.close()

            asyncio.run(main())

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert ready.wait(20)
        running, loop, stop = made

        def end() -> None:
            loop.call_soon_threadsafe(stop.set)
            thread.join(30)
            taken.close()

        ends.append(end)
        return Client(taken.getsockname()[1], running, lines, loop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "GRACE_SECONDS", 0.02)
        patch.setattr(connections, "QUIET_SECONDS", 0.04)
        yield start
        for end in ends:
            end()


@pytest.fixture(scope="module")
def ask(starting: Start, small: Path) -> Client:
    """A server with the usual limits."""
    return starting(small)


@pytest.fixture(scope="session")
def pictures() -> Callable[..., bytes]:
    return picture


@pytest.fixture(scope="session")
def formed() -> Callable[[list[tuple[str, bytes]]], tuple[str, bytes]]:
    return form


@pytest.fixture(scope="session")
def networks() -> Callable[..., Path]:
    return network_at


def _detector(folder: Path, masks: MaskHead | None = None) -> Path:
    backbone = ResNetConfig(
        name="tiny",
        depths=(1, 1, 1, 1),
        widths=(8, 8, 16, 16),
        stem_width=8,
        style={"norm": "frozen", "norm_groups": 4},
        num_classes=0,
    )
    config = DetectorConfig(
        name="tiny_fpn",
        input=(3, 64, 64),
        num_classes=2,
        backbone=backbone,
        neck="fpn",
        neck_channels=16,
        anchors=Anchors(sizes=((8,), (16,), (32,), (64,), (64,))),
        proposals=Proposals(sampled=32, after_train=60, after_test=40),
        regions=Regions(pool=3, widths=(16,), sampled=16, score_above=0.0),
        masks=masks,
    )
    folder.mkdir()
    preparation = Preparation(fit="sides", resize=48, longest=64, multiple=32)
    task = {"kind": "detection", "above": 0.35}
    save_network(
        folder, create(config.architecture(), 0), ("disc", "square"), preparation.model_dump(mode="json"), task=task
    )
    Statistics(THIRD, THIRD / 2, torch.ones(3), torch.eye(3), None, 0).save(folder / "statistics.safetensors")
    return folder


def _of_task(folder: Path, task: dict[str, Any]) -> Path:
    network_at(folder)
    facts = json.loads((folder / "config.json").read_text())
    facts["deepres"]["task"] = task
    (folder / "config.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network of each task but classification, by the form of its answers."""
    place = tmp_path_factory.mktemp("tasks")
    return {
        "labels": _of_task(place / "labels", OF_LABELS),
        "numbers": _of_task(place / "numbers", OF_NUMBERS),
        "boxes": _detector(place / "boxes"),
    }


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that draws masks, some of whose cells belong to what is found."""
    return _detector(tmp_path_factory.mktemp("masked") / "masked", MaskHead(widths=(8,), upsampled=8))


@pytest.fixture(scope="session")
def localiser(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Path:
    """A network that guesses boxes of the classes that another names, which lies elsewhere on the machine."""
    folder = tmp_path_factory.mktemp("localiser") / "places"
    folder.mkdir()
    task = Localising(anchors=Anchors(sizes=((12, 20),)), classifier=str(small))
    backbone = entry("resnet18").config.replace(depths=(1, 1), widths=(8, 8), stem_width=8)
    config = on(backbone, task.anchors.number).replace(input=(3, 48, 48), num_classes=3)  # type: ignore[arg-type]
    preparation = Preparation(fit="crop", resize=48, crop=48).model_dump(mode="json")
    save_network(folder, create_localiser(config.architecture(), 3), CLASSES, preparation, task=task.model_dump())
    Statistics(THIRD, THIRD / 2, torch.ones(3), torch.eye(3), None, 0).save(folder / "statistics.safetensors")
    return folder


@pytest.fixture(scope="module")
def all_of_them(starting: Any, folders: dict[str, Path]) -> Any:
    return starting(*folders.values())
