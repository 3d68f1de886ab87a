"""The servers that `serve.py` compares, each as a command and a path; and `deepres predict` beside them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

LITSERVE = '''
"""LitServe: eager torch or deepres' own network, batches of 16, as deepres serve has it."""
import sys, torch, litserve
from fastapi import Request
from deepres.data.decode import decode_bytes
from deepres.predict.predictor import Predictor
run, port, fast = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "ours"

class Api(litserve.LitAPI):
    def setup(self, device):
        self.own = Predictor.load(run, "cpu")
        self.own = self.own.optimized(1, compiled="no") if fast else self.own
    def decode_request(self, request: Request):
        return self.own.prepare(decode_bytes(request["file"].file.read(), "image", self.own.preparation.channels))
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
'''

GRANIAN = '''
"""deepres' own routes behind granian, in its event loop."""
import asyncio, signal, sys
from granian.constants import Interfaces
from granian.server.embed import Server
from deepres.serve.limits import Limits
from deepres.serve.logs import Logs
from deepres.serve.run import Options, Running
from deepres.serve.served import Served
run, port = sys.argv[1], int(sys.argv[2])

async def main():
    options = Options("cpu", "auto")
    door = Running([Served.load("model", run, "cpu", "auto")], options, Limits(), Logs()).door
    server = Server(door, port=port, interface=Interfaces.ASGINL, log_enabled=False, backlog=2048)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()

asyncio.run(main())
'''

PREDICT = '''
"""Images/s of `deepres predict RUN FILES`: the network made ready as for so many files, then asked for some seconds."""
import json, os, sys, time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from deepres.predict.predictor import Predictor
run, folder, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
files = sorted(Path(folder).iterdir())
predictor = Predictor.load(run, "cpu").optimized(len(files))
list(predictor.answers(files))
began, cpu, asked = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - began < seconds:
    assert all(one.problem is None for one in predictor.answers(files))
    asked += len(files)
spent = time.perf_counter() - began
print(json.dumps({
    "requests": asked, "requests_per_second": asked / spent,
    "cpu_seconds_per_request": (time.process_time() - cpu) / asked,
    "peak_bytes": 1024 * getrusage(RUSAGE_SELF).ru_maxrss,
}))
'''


class Peer(NamedTuple):
    """What starts a server on a port, and where it takes forms."""

    command: list[str]
    path: str


def peers(run: str, onnx: str | None, port: int, folder: Path, python: str) -> dict[str, Peer]:
    """Name -> server; those that are not installed for `python` are left out, aloud."""
    base = [sys.executable, "-m", "deepres", "serve"]
    found = {"deepres": Peer([*base, run, "--port", str(port), "--device", "cpu"], "/v1/predict")}
    if onnx is not None:
        found["deepres, int8 ONNX"] = Peer([*base, onnx, "--port", str(port)], "/v1/predict")
    for module, text, kinds in (
        ("litserve", LITSERVE, {"LitServe, eager": "eager", "LitServe, deepres' network": "ours"}),
        ("granian", GRANIAN, {"deepres behind granian": "ours"}),
    ):
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode:
            print(f"{module}: not installed for {Path(python).name}, left out; --python names another")
            continue
        program = folder / f"{module}_server.py"
        program.write_text(text)
        path = "/predict" if module == "litserve" else "/v1/predict"
        found |= {name: Peer([python, str(program), run, str(port), which], path) for name, which in kinds.items()}
    return found


def predicted(run: str, folder: Path, seconds: float, **options: object) -> dict[str, float]:
    """What `deepres predict` makes of the files of a folder, in the words of a server's figures."""
    command = [sys.executable, "-c", PREDICT, run, str(folder), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, **options)  # type: ignore[call-overload]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
