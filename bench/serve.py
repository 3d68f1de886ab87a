"""Requests/s of servers in turn: `python bench/serve.py [RUN] [--photos DIR] [--onnx FILE] [--output FILE]`.

Each contender is started anew for each round and answers a closed loop of 1, 8 and 32 clients, who send the same forms
of one JPEG of 400 to 600 px; servers have the first cores, clients the last. Told: requests/s, p50, p99, images of a
batch, CPU seconds a request, peak resident memory. LitServe, where it is installed, serves the same network in eager
torch, and deepres' own predictor. `--seconds 60 --rounds 3` on an idle machine is what a claim needs.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import protocol
import torch
from PIL import Image

from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network

LITSERVE = """
import sys, torch, litserve
from fastapi import UploadFile
from deepres.data.decode import decode_bytes
from deepres.predict.predictor import Predictor
run, port, fast = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "ours"

class Api(litserve.LitAPI):
    def setup(self, device):
        self.own = Predictor.load(run, "cpu")
        self.own = self.own.optimized(1, compiled="no") if fast else self.own
    def decode_request(self, request: UploadFile):
        return self.own.prepare(decode_bytes(request.file.read(), "image", self.own.preparation.channels))
    def batch(self, inputs):
        return torch.stack(inputs)
    def predict(self, batch):
        return self.own.probabilities(batch)
    def unbatch(self, output):
        return list(output)
    def encode_response(self, output):
        likeliest = output.topk(5)
        return {"classes": likeliest.indices.tolist(), "probabilities": likeliest.values.tolist()}

if __name__ == "__main__":
    api = Api(max_batch_size=16, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu").run(port=port, generate_client_file=False, log_level="error")
"""


def contenders(run: str, onnx: str | None, port: int, folder: Path) -> dict[str, tuple[list[str], str]]:
    """Name -> command and path; peers that are not installed are left out, aloud."""
    base = [sys.executable, "-m", "deepres", "serve"]
    found = {"deepres": ([*base, run, "--port", str(port), "--device", "cpu"], "/v1/predict")}
    if onnx is not None:
        found["deepres, int8 ONNX"] = ([*base, onnx, "--port", str(port)], "/v1/predict")
    if find_spec("litserve") is None:
        print("LitServe: not installed, left out")
        return found
    program = folder / "lit.py"
    program.write_text(LITSERVE)
    for name, which in (("LitServe, eager", "eager"), ("LitServe, deepres' network", "ours")):
        found[name] = ([sys.executable, str(program), run, str(port), which], "/predict")
    return found


def random_network(model: str, folder: Path) -> Path:
    """The folder of a network that no run has trained, of the usual preparation for its size."""
    network = create_model(model, seed=0)
    side = network.description.input[1]
    preparation = Preparation(fit="crop", resize=round(side / 0.875), crop=side)
    names = tuple(f"class {number}" for number in range(network.num_classes))
    folder.mkdir()
    save_network(folder, network, names, preparation.model_dump(mode="json"))
    third = torch.full((3,), 0.45)
    Statistics(third, third / 2, torch.ones(3), torch.eye(3), None, 0).save(folder / "statistics.safetensors")
    return folder


def bodies(photos: Path | None, number: int = 32) -> list[bytes]:
    """JPEG files of 400 to 600 px: of photographs, else of blurred noise."""
    draw, found = np.random.default_rng(0), []
    paths = sorted(photos.rglob("*.jp*g"))[:number] if photos else [None] * number
    for path in paths:
        side = int(draw.integers(400, 601))
        if path is None:
            noise = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            image = Image.fromarray(noise).resize((side, 400), Image.Resampling.BICUBIC)
        else:
            image = Image.open(path).convert("RGB")
            image.thumbnail((side, side))
        out = BytesIO()
        image.save(out, "JPEG", quality=90)
        found.append(out.getvalue())
    return found


def form(data: bytes) -> bytes:
    """A form of one file, under the name that LitServe wants."""
    head = (
        b'--xyz\r\nContent-Disposition: form-data; name="request"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return head + data + b"\r\n--xyz--\r\n"


def load(port: int, path: str, forms: list[bytes], clients: int, seconds: float) -> list[float]:
    """Seconds of each request of a closed loop; RuntimeError where one fails."""
    times: list[float] = []
    failed: list[str] = []
    ends = time.monotonic() + seconds

    def client(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        turn = number
        while time.monotonic() < ends and not failed:
            began = time.perf_counter()
            connection.request(
                "POST", path, forms[turn % len(forms)], {"Content-Type": "multipart/form-data; boundary=xyz"}
            )
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 200:
                failed.append(f"{answer.status} {told[:200]!r}")
            times.append(time.perf_counter() - began)
            turn += clients
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(failed[0])
    return times


@contextmanager
def started(command: list[str], port: int, cores: set[int], patience: float) -> Iterator[int]:
    """The server's process, once its port is open; ended afterwards with all that it started."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    try:
        ends = time.monotonic() + patience
        while True:
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{' '.join(command[:4])}: did not start")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def of_session(leader: int) -> tuple[float, int]:
    """CPU seconds, and bytes resident at the peak, of all processes of a session."""
    ticks, peak = 0.0, 0
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdecimal() else []
            if fields and int(fields[3]) == leader:
                ticks += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                found = re.search(r"VmHWM:\s+(\d+) kB", (entry / "status").read_text())
                peak += int(found[1]) * 1024 if found else 0
        except OSError:  # it has ended
            continue
    return ticks, peak


def batch_of(port: int) -> tuple[float, float]:
    """Images and batches so far, by deepres' metrics; zeros of others."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode(errors="replace")
    connection.close()
    sums = [re.findall(rf"^deepres_batch_size_{part}\S* ([\d.e+]+)$", text, re.MULTILINE) for part in ("sum", "count")]
    return tuple(sum(map(float, found)) for found in sums)  # type: ignore[return-value]


def main() -> None:
    """Measure all contenders in turn, print a row each, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="by default --model, with random weights")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--onnx")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=180.0, help="seconds for a server to start")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    forms = [form(data) for data in bodies(given.photos)]
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    values: dict[tuple[str, int], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = given.run or str(random_network(given.model, Path(folder) / given.model))
        asked = contenders(run, given.onnx, port, Path(folder))
        os.sched_setaffinity(0, set(cores[half:]) or set(cores))
        for _ in range(given.rounds):
            for name, (command, path) in asked.items():
                with started(command, port, set(cores[:half]), given.patience) as leader:
                    load(port, path, forms, 1, min(2.0, given.seconds))  # warm
                    for clients in given.clients:
                        (cpu, _), (images, batches) = of_session(leader), batch_of(port)
                        began = time.perf_counter()
                        times = load(port, path, forms, clients, given.seconds)
                        seconds = time.perf_counter() - began
                        (cpu_after, peak), (more, of) = of_session(leader), batch_of(port)
                        ranks = quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
                        row = values.setdefault((name, clients), {})
                        for what, value in (
                            ("requests_per_second", len(times) / seconds),
                            ("p50_ms", 1000 * median(times)),
                            ("p99_ms", 1000 * ranks[98]),
                            ("cpu_seconds_per_request", (cpu_after - cpu) / len(times)),
                            ("peak_bytes", float(peak)),
                            ("images_per_batch", (more - images) / (of - batches) if of > batches else 0.0),
                        ):
                            row.setdefault(what, []).append(value)
    rows: list[dict[str, Any]] = []
    for (name, clients), row in values.items():
        told = {what: protocol.spread(found) for what, found in row.items()}
        rows.append({"contender": name, "clients": clients, **told})
        print(
            f"{name:28}{clients:3} clients  {told['requests_per_second']['median']:8.1f} req/s  "
            f"p50 {told['p50_ms']['median']:7.1f} ms  p99 {told['p99_ms']['median']:7.1f} ms"
        )
    facts = protocol.claim(
        "requests/s of a closed loop over HTTP, one JPEG each",
        torch.device("cpu"),
        given.rounds,
        seconds=given.seconds,
        server_cores=half,
    )
    protocol.write({**facts, "rows": rows}, given.output)


if __name__ == "__main__":
    main()
