"""Servers in trouble: clients killed amid their upload, no room on the disk, the run deleted, a network that fails.

Each trial starts a server in a process of its own, and says what was wrong, or None.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from serving import Server, bodies, network

LIMIT = 1_000_000
UPLOAD = """
import socket, sys, time
port, head = int(sys.argv[1]), sys.argv[2].encode().decode("unicode_escape").encode()
with socket.create_connection(("127.0.0.1", port)) as connection:
    connection.sendall(head)
    print("begun", flush=True)
    while True:
        connection.sendall(bytes(10_000))
        time.sleep(0.005)
"""
HEADS = (
    "POST /v1/predict HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 900000\\r\\n\\r\\n",
    "POST /v1/predict HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: multipart/form-data; boundary=x\\r\\n"
    'Content-Length: 900000\\r\\n\\r\\n--x\\r\\nContent-Disposition: form-data; name="f"; filename="a"\\r\\n\\r\\n',
    "POST /v2/models/net/infer HTTP/1.1\\r\\nHost: x\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nffffff\\r\\n",
    "POST /v1/pre",
)
FAILS = """
import random, sys
from deepres.predict.predictor import Predictor
real, draw, told = Predictor.probabilities, random.Random(0), []
def probabilities(self, images):
    told.append(1)
    kind = draw.randrange(4) if len(told) > 4 else 3  # it is tried before it is asked
    if kind == 0:
        raise RuntimeError("secret-of-the-network")
    if kind == 1:
        raise MemoryError
    return real(self, images * float("nan") if kind == 2 else images)
Predictor.probabilities = probabilities
from deepres.cli.main import main
main()
"""


@contextmanager
def served(place: Path, *words: str, **options: Any) -> Iterator[Server]:
    """A server of a small network, which ends with exit code 0."""
    folder = place / "net"
    if not folder.exists():
        network(folder)
    server = Server(folder, *words, **options)
    try:
        yield server
        code = server.end()
        assert code == 0, f"exit code {code}"
    finally:
        server.process.kill()
        server.process.wait()


def posted(port: int, body: bytes, path: str = "/v1/predict", kind: str = "image/png") -> tuple[int, bytes]:
    """Status and answer; (0, b"") where the connection ends before there is one."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (ConnectionError, TimeoutError):
        return 0, b""
    finally:
        connection.close()


def form(data: bytes) -> bytes:
    """A form of one file, for the boundary x."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return head + data + b"\r\n--x--\r\n"


FORM = "multipart/form-data; boundary=x"


def clients_killed(place: Path, draw: random.Random) -> str | None:
    """kill -9 of clients amid their upload: nothing is held of them, the next is answered."""
    with served(place, "--max-bytes", str(LIMIT)) as server:
        for head in HEADS:
            process = subprocess.Popen(
                [sys.executable, "-c", UPLOAD, str(server.port), head],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.3 * draw.random())
            process.kill()
            process.wait()
            process.stdout.close()
        for _ in range(100):
            if (held := server.metric("deepres_held_bytes")) == 0:
                break
            time.sleep(0.05)
        status, _ = posted(server.port, bodies()[2])
        return None if (held, status) == (0, 200) else f"{held} bytes held, then status {status}"


def no_room(place: Path, draw: random.Random) -> str | None:
    """No byte can be written anywhere, logs included: uploads of forms are answered as ever, and leave nothing."""
    temporary = place / "temporary"
    temporary.mkdir(exist_ok=True)
    full, words = Path("/dev/full").open("w"), ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(temporary)]  # noqa: SIM115
    mounted = bool(shutil.which("mount")) and subprocess.run(words, capture_output=True, check=False).returncode == 0
    try:
        if mounted:
            with suppress(OSError):
                (temporary / "all").write_bytes(bytes(5000))
        before = sorted(path.name for path in temporary.iterdir())
        options = {"env": {**os.environ, "TMPDIR": str(temporary)}, "stdout": full}
        with served(place, "--max-bytes", "5MB", **options) as server:
            found = [posted(server.port, form(body), kind=FORM)[0] for body in bodies()]
            wanted = [posted(server.port, body)[0] for body in bodies()]
            lost = server.metric("deepres_log_lines_lost")
        left = sorted(path.name for path in temporary.iterdir())
        if found != wanted or {200, 422} - {*found}:
            return f"statuses {found}, without forms {wanted}"
        return None if left == before and lost else f"{left} in the temporary folder, {lost} lines of the log lost"
    finally:
        full.close()
        if mounted:
            subprocess.run(["umount", str(temporary)], check=True)


def run_deleted(place: Path, draw: random.Random) -> str | None:
    """The run is deleted, or a file of it: the network goes on, SIGHUP is refused; put back, it is taken up."""
    with served(place) as server:
        picture = bodies()[2]
        _, wanted = posted(server.port, picture)
        kept, gone = place / "kept", draw.choice(("", "model.safetensors", "config.json"))
        shutil.copytree(place / "net", kept)
        shutil.rmtree(place / "net") if not gone else (place / "net" / gone).unlink()
        server.reloaded()
        refused = server.metric('deepres_reloads_total{model="net",outcome="refused"}')
        status, told = posted(server.port, picture)
        shutil.rmtree(place / "net", ignore_errors=True)
        kept.rename(place / "net")
        server.reloaded()
        done = server.metric('deepres_reloads_total{model="net",outcome="done"}')
        answers = [json.loads(one)["answers"] for one in (told, wanted)]
        right = (refused, done, status) == (1, 1, 200) and answers[0] == answers[1]
        return None if right else f"without {gone or 'the run'}: refused {refused}, done {done}, status {status}"


def network_fails(place: Path, draw: random.Random) -> str | None:
    """A network that raises or gives NaN: 500 with the request's number, counted, without a word of Python."""
    program = place / "fails.py"
    program.write_text(FAILS)
    with served(place, program=[str(program)]) as server:
        told = [posted(server.port, bodies()[2]) for _ in range(40)]
        failed = server.metric('deepres_images_total{model="net",outcome="failed"}')
    statuses = [status for status, _ in told]
    said = b" ".join(body for _, body in told)
    if {*statuses} != {200, 500} or failed != statuses.count(500):
        return f"statuses {statuses}, {failed} counted"
    if any(word in said for word in (b"Traceback", b"secret", b"RuntimeError", b"nan", b"NaN")):
        return f"{said[:300]!r}"
    return None if all(b"request " in body for status, body in told if status == 500) else "no number told"


def uploads_beyond(place: Path, draw: random.Random) -> str | None:
    """Ten limits' worth of a body, sent in every way: 413, memory grows by less than two limits, no file is left."""
    temporary, limit = place / "spool", 20_000_000
    temporary.mkdir(exist_ok=True)
    own = {"TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": str(place / "inductor")}  # no upload lies in the latter
    with served(place, env={**os.environ, **own}) as server:
        posted(server.port, bodies()[2])
        for chunked in (False, True):
            for kind in ("image/png", FORM):
                server.forget_peak()
                before = server.peak
                status = _streamed(server.port, 10 * limit, kind, chunked)
                grown = server.peak - before
                if status not in (0, 413) or grown > 2 * limit or list(temporary.iterdir()):
                    return f"{kind}, chunked {chunked}: status {status}, {grown:,} bytes more, {[*temporary.iterdir()]}"
        status, _ = posted(server.port, bodies()[2])
        return None if status == 200 else f"then status {status}"


def _streamed(port: int, size: int, kind: str, chunked: bool) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    head = form(b"").partition(b"\r\n--x--")[0] if kind == FORM else b"\x89PNG"

    def parts() -> Iterator[bytes]:
        yield head
        for _ in range(size // 100_000):
            yield bytes(100_000)

    headers = {"Content-Type": kind} if chunked else {"Content-Type": kind, "Content-Length": str(size + len(head))}
    with suppress(ConnectionError, TimeoutError):  # an early answer
        connection.request("POST", "/v1/predict", parts(), headers, encode_chunked=chunked)
    try:
        return connection.getresponse().status
    except (ConnectionError, TimeoutError):
        return 0
    finally:
        connection.close()


def ended_amid(place: Path, draw: random.Random) -> str | None:
    """SIGTERM at a random moment under 32 clients: exit code 0, and no request that was accepted goes unanswered."""
    failed, statuses, stop = list[str](), list[int](), threading.Event()
    picture = bodies()[2]

    def client(port: int) -> None:
        while not stop.is_set():
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.connect()
            except OSError:
                return
            with suppress(StopIteration):
                try:
                    while True:
                        connection.request("POST", "/v1/predict", picture)
                        answer = connection.getresponse()
                        answer.read()
                        statuses.append(answer.status)
                        if answer.getheader("connection") == "close":
                            break
                except OSError as cause:
                    failed.append(repr(cause))
                    return
                finally:
                    connection.close()

    with served(place) as server:
        threads = [threading.Thread(target=client, args=(server.port,)) for _ in range(32)]
        for thread in threads:
            thread.start()
        time.sleep(0.5 + 2 * draw.random())
        server.process.send_signal(draw.choice((signal.SIGTERM, signal.SIGINT)))
        server.process.wait(60)
        stop.set()
        for thread in threads:
            thread.join()
    return None if not failed and {*statuses} == {200} else f"statuses { ({*statuses}) }, failed {failed[:3]}"


TRIALS: dict[str, Callable[[Path, random.Random], str | None]] = {
    "clients killed": clients_killed,
    "no room on the disk": no_room,
    "run deleted": run_deleted,
    "network fails": network_fails,
    "uploads beyond the limit": uploads_beyond,
    "ended amid requests": ended_amid,
}


def tried(name: str, draw: random.Random) -> str | None:
    """What was wrong in one trial; whatever falls over is."""
    with tempfile.TemporaryDirectory(prefix="deepres-servers-") as place:
        try:
            return TRIALS[name](Path(place), draw)
        except (AssertionError, OSError, RuntimeError, subprocess.SubprocessError) as cause:
            return f"{type(cause).__name__}: {cause}"
