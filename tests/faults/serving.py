"""A server asked for long, and reloaded again and again: whether its memory stays flat.

`python tests/faults/serving.py [--requests 10000] [--reloads 20]` prints what was measured; 1 where it grew by 5 %.
"""

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network

sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import Popen

MOST_GROWTH = 1.05
SIZES = ((32, 32), (60, 40), (333, 500), (640, 480), (1200, 900), (2000, 50))


def network(folder: Path) -> Path:
    """ResNet-20 of ten classes, as no run has trained it."""
    folder.mkdir()
    preparation = Preparation(fit="crop", resize=64, crop=56)
    names = tuple("abcdefghij")
    save_network(folder, create_model("resnet20_cifar", seed=0), names, preparation.model_dump(mode="json"))
    third = torch.full((3,), 0.45)
    Statistics(third, third / 2, torch.ones(3), torch.eye(3), None, 0).save(folder / "statistics.safetensors")
    return folder


@cache
def bodies() -> list[bytes]:
    """Pictures of many sizes in three formats, one that is none, one cut short, one that is too large; made once."""
    draw, found = np.random.default_rng(0), [b"none", bytes(2_000_000)]
    for size in SIZES:
        small = Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize(size)
        for kind in ("JPEG", "PNG", "WEBP"):
            out = BytesIO()
            small.save(out, kind)
            found.append(out.getvalue())
    return [*found, found[-1][:-100]]


class Server:
    """`deepres serve` in a process of its own; `program` starts it in another way, `options` are Popen's."""

    def __init__(self, folder: Path, *words: str, program: Sequence[str] = ("-m", "deepres"), **options: Any) -> None:
        command = [sys.executable, *program, "serve", str(folder), "--port", "0", "--device", "cpu", *words]
        options = {"stdout": subprocess.DEVNULL, **options}
        self.process = Popen(command, stderr=subprocess.PIPE, text=True, **options)
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            if found := re.search(r"ready at http://[^:]+:(\d+)", line):
                self.port = int(found[1])
                return
        raise RuntimeError(f"the server did not start: {said[-300:]}")

    def asked(self, all_: list[bytes], times: int, clients: int = 4) -> dict[int, int]:
        """Statuses of so many requests, and how often each came."""
        found: dict[int, int] = {}
        lock = threading.Lock()

        def client(number: int) -> None:
            draw = random.Random(number)
            connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
            for _ in range(times // clients):
                try:
                    connection.request("POST", "/v1/predict", draw.choice(all_))
                    answer = connection.getresponse()
                    answer.read()
                    status = answer.status
                except (BrokenPipeError, ConnectionResetError):  # an early answer to too large a body
                    connection.close()
                    status = 413
                with lock:
                    found[status] = found.get(status, 0) + 1
            connection.close()

        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def reloaded(self) -> float:
        """Reload once; how many there were."""
        before = self.metric("deepres_reloads_total")
        self.process.send_signal(signal.SIGHUP)
        while (now := self.metric("deepres_reloads_total")) == before:
            time.sleep(0.05)
        return now

    def metric(self, name: str) -> float:
        """The sum of the samples whose line begins so."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    @property
    def resident(self) -> int:
        """Bytes in memory that belong to no file."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.findall(r"RssAnon:\s+(\d+)", status)[0])

    def forget_peak(self) -> None:
        """From now on `peak` is that of what comes."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def peak(self) -> int:
        """The most bytes that were in memory."""
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[0])

    def end(self) -> int:
        """The exit code."""
        self.process.terminate()
        code = self.process.wait(300)  # the machine may be anybody's
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def measured(requests: int, reloads: int) -> dict[str, Any]:
    """What memory did; a tenth of the requests, and two reloads, come before it is looked at."""
    with tempfile.TemporaryDirectory() as place:
        server = Server(network(Path(place) / "net"), "--max-bytes", "1MB")
        try:
            all_ = bodies()
            server.asked(all_, requests // 10)
            first = server.resident
            statuses = server.asked(all_, requests - requests // 10)
            last = server.resident
            for _ in range(2):
                server.reloaded()
            before = server.resident
            for _ in range(reloads):
                server.reloaded()
            after = server.resident
        finally:
            code = server.end()
    return {
        "requests": requests,
        "statuses": dict(sorted(statuses.items())),
        "bytes_after_a_tenth": first,
        "bytes_in_the_end": last,
        "growth": round(last / first, 4),
        "reloads": reloads,
        "growth_by_reloads": round(after / before, 4) if reloads else 1.0,
        "exit_code": code,
    }


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--reloads", type=int, default=20)
    given = parser.parse_args()
    facts = measured(given.requests, given.reloads)
    print(json.dumps(facts))
    return int(max(facts["growth"], facts["growth_by_reloads"]) >= MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
