"""Requests/s of servers in turn: `python bench/serve.py [RUN] [--photos DIR] [--onnx FILE] [--output FILE]`.

Each contender is started anew for each round, in an order that is reversed each round, and answers a closed loop of 1,
8 and 32 clients, who send the same forms of one JPEG of 400 to 600 px; servers have the first cores, clients the last.
Told: requests/s, p50, p99, images of a batch, CPU seconds a request, peak resident memory; of deepres with one client
the share of the time that is neither queue, decoding nor network. `deepres predict` answers the same files in between.
LitServe and granian take part where `--python` has them. What is measured is written at once into `--output`, and a
second start goes on there. `--seconds 60 --rounds 3` on an idle machine is what a claim needs.
"""

import argparse
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import protocol
import torch
from PIL import Image
from serve_peers import Peer, peers, predicted

from deepres.base.files import write_atomic
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network

PREDICT = "deepres predict"
FIGURES = ("requests_per_second", "p50_ms", "p99_ms", "images_per_batch", "cpu_seconds_per_request", "peak_bytes")
FIGURES += ("http_share",)
Cell = dict[str, Any]


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
    """JPEG files whose long side has 400 to 600 px: of photographs, else of blurred noise."""
    draw, found = np.random.default_rng(0), []
    there = sorted(path for path in (photos.rglob("*") if photos else ()) if path.suffix.lower() in (".jpg", ".jpeg"))
    if photos and not there:
        raise SystemExit(f"{photos}: no JPEG under it")
    paths: Sequence[Path | None] = there[:: max(1, len(there) // number)][:number] or [None] * number
    for path in paths:
        side = int(draw.integers(400, 601))
        if path is None:
            noise = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            image = Image.fromarray(noise).resize((side, 400), Image.Resampling.BICUBIC)
        else:
            image = Image.open(path).convert("RGB")
            scale = side / max(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        out = BytesIO()
        image.save(out, "JPEG", quality=90)
        found.append(out.getvalue())
    return found


def form(data: bytes) -> bytes:
    """A form of one file."""
    head = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
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


def on(cores: set[int]) -> dict[str, Any]:
    """How a process is started that has these cores alone, and a thread of torch for each."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores))}
    return {"preexec_fn": lambda: os.sched_setaffinity(0, cores), "env": environment}


@contextmanager
def started(peer: Peer, port: int, cores: set[int], patience: float) -> Iterator[int]:
    """The server's process, once its port is open; ended afterwards with all that it started."""
    process = subprocess.Popen(
        peer.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **on(cores)
    )
    try:
        ends = time.monotonic() + patience
        while True:
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{shlex.join(peer.command)}: did not start")
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


def counted(port: int) -> dict[str, float]:
    """What deepres' metrics have counted so far, zeros of others: images, batches, and seconds of each part."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode(errors="replace")
    connection.close()
    names = {"images": "batch_size_sum", "batches": "batch_size_count"}
    names |= {name: f"{name}_seconds_sum" for name in ("queue", "decode", "network")}
    sums = {what: re.findall(rf"^deepres_{name}\S* ([\d.e+-]+)$", text, re.MULTILINE) for what, name in names.items()}
    return {what: sum(map(float, found)) for what, found in sums.items()}


def asked(port: int, path: str, forms: list[bytes], clients: int, seconds: float, leader: int) -> Cell:
    """The figures of one server under so many clients."""
    (cpu, _), before, began = of_session(leader), counted(port), time.perf_counter()
    times = load(port, path, forms, clients, seconds)
    spent = time.perf_counter() - began
    (cpu_after, peak), after = of_session(leader), counted(port)
    ranks = quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    cell: Cell = {
        "requests": len(times),
        "requests_per_second": len(times) / spent,
        "p50_ms": 1000 * median(times),
        "p99_ms": 1000 * ranks[98],
        "cpu_seconds_per_request": (cpu_after - cpu) / len(times),
        "peak_bytes": float(peak),
    }
    more = {name: after[name] - before[name] for name in after}
    if more["batches"]:
        cell["images_per_batch"] = more["images"] / more["batches"]
        if clients == 1:
            own = more["queue"] + more["decode"] + more["network"]
            cell["http_share"] = 1 - own / sum(times)
    return cell


def spread(cells: Sequence[Cell], what: str) -> dict[str, float] | None:
    """A figure over rounds; None where nobody tells it."""
    found = [cell[what] for cell in cells if what in cell]
    return protocol.spread(found) if found else None


def rows_of(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row a contender and number of clients, over rounds."""
    groups: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell["contender"], cell["clients"]), []).append(cell)
    return [
        {"contender": name, "clients": clients, "n": len(of)}
        | {what: told for what in FIGURES if (told := spread(of, what)) is not None}
        for (name, clients), of in groups.items()
    ]


def verdict(cells: Sequence[Cell]) -> dict[str, Any]:
    """What was to be reached, as ratios within a round."""
    by = {(cell["round"], cell["contender"], cell["clients"]): cell for cell in cells}
    rounds, most = sorted({cell["round"] for cell in cells}), max(cell["clients"] for cell in cells)

    def ratios(own: tuple[str, int], other: tuple[str, int], what: str, over: str = "") -> dict[str, float] | None:
        pairs = [(by.get((each, *own)), by.get((each, *other))) for each in rounds]
        found = [one[what] / two[over or what] for one, two in pairs if one and two]
        return protocol.spread(found) if found else None

    eager, ours = ("LitServe, eager", most), ("deepres", most)
    return {
        "requests_per_second_of_litserve_eager": ratios(ours, eager, "requests_per_second"),
        "p99_of_litserve_eager": ratios(ours, eager, "p99_ms"),
        "throughput_of_predict": ratios(ours, (PREDICT, 0), "requests_per_second"),
        "p99_of_p50_with_one_client": ratios(("deepres", 1), ("deepres", 1), "p99_ms", "p50_ms"),
        "granian_of_uvicorn": ratios(("deepres behind granian", most), ours, "requests_per_second"),
    }


def kept(path: Path | None, settings: dict[str, Any]) -> list[Cell]:
    """The cells that an earlier start wrote; SystemExit where it measured something else."""
    if path is None or not path.exists():
        return []
    facts = json.loads(path.read_text())
    if facts.get("settings") != settings:
        raise SystemExit(f"{path}: holds other settings, {facts.get('settings')}; give another --output")
    found: list[Cell] = facts["cells"]
    return found


def main() -> None:
    """Measure all contenders in turn, write after each, print a row each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="by default --model, with random weights")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--onnx")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="these contenders alone")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has LitServe and granian")
    parser.add_argument("--patience", type=float, default=180.0, help="seconds for a server to start")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    settings = {"model": given.model if given.run is None else Path(given.run).name, "seconds": given.seconds}
    settings |= {"photos": given.photos and given.photos.name, "clients": given.clients}
    cells = kept(given.output, settings)
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    servers, clients_on = set(cores[:half]), set(cores[half:]) or set(cores)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as place:
        run = given.run or str(random_network(given.model, Path(place) / given.model))
        files = Path(place) / "files"
        files.mkdir()
        data = bodies(given.photos)
        for number, one in enumerate(data):
            (files / f"{number:02}.jpg").write_bytes(one)
        forms = [form(one) for one in data]
        contenders = peers(run, given.onnx, port, Path(place), given.python)
        names = [name for name in (*contenders, PREDICT) if given.only is None or name in given.only]
        os.sched_setaffinity(0, clients_on)

        def note(each: int, name: str, clients: int, load_before: float, cell: Cell) -> None:
            told = {what: float(f"{value:.4g}") for what, value in cell.items()}
            cells.append({"round": each, "contender": name, "clients": clients, "load_before": load_before, **told})
            print(f"round {each + 1}  {name:28}{clients:3} clients  {told['requests_per_second']:8.1f} /s", flush=True)
            if given.output is not None:
                write_atomic(given.output, json.dumps(claim(settings, half, cells), indent=1) + "\n")

        for each in range(given.rounds):
            for name in names if each % 2 == 0 else reversed(names):
                done = {cell["clients"] for cell in cells if (cell["round"], cell["contender"]) == (each, name)}
                wanted = [one for one in ([0] if name == PREDICT else given.clients) if one not in done]
                if not wanted:
                    continue
                before = round(os.getloadavg()[0], 2)
                if name == PREDICT:
                    note(each, name, 0, before, predicted(run, files, given.seconds, **on(servers)))
                    continue
                with started(contenders[name], port, servers, given.patience) as leader:
                    load(port, contenders[name].path, forms, 1, min(2.0, given.seconds))  # warm
                    for clients in wanted:
                        found = asked(port, contenders[name].path, forms, clients, given.seconds, leader)
                        note(each, name, clients, before, found)
    facts = claim(settings, half, cells)
    if given.output is None:
        protocol.write(facts, None)
    for what, told in facts["verdict"].items():
        print(f"{what}: {told and told['median']}")


def claim(settings: dict[str, Any], half: int, cells: Sequence[Cell]) -> dict[str, Any]:
    """All that was measured so far, with what it needs to stand."""
    facts = protocol.claim(
        "requests/s of a closed loop over HTTP, one JPEG each",
        torch.device("cpu"),
        1 + max(cell["round"] for cell in cells),
        settings=settings,
        server_cores=half,
    )
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    facts["command"] = shlex.join(["python", "bench/serve.py", *words])
    facts["load_before"] = max(cell["load_before"] for cell in cells)
    return {**facts, "rows": rows_of(cells), "verdict": verdict(cells), "cells": list(cells)}


if __name__ == "__main__":
    main()
