"""Images/s of inference, ResNet-50 at 224 px: `python bench/inference.py [--batch-sizes 1 16] [--output FILE]`.

Contenders: onnxruntime (float32, its default optimisations), torchvision's network in eager float32 and compiled,
ours as built, folded (bfloat16 where the processor has it) and folded and compiled. All have the same weights, and
the same threads. With `--source SOURCE` and `--weights W` the share of its test images on which the fast networks
answer as the plain float32 network does is measured too: noise or random weights would say nothing.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import protocol
import torch
from protocol import Contender
from torch import Tensor, nn

from deepres.data.loader import evaluation_batches
from deepres.data.sources import DataConfig, open_source
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.inference import for_inference
from deepres.serve.predictor import Predictor

CPU = torch.device("cpu")
BASE = "onnxruntime float32"


def contenders(network: ResidualNetwork, images: Tensor, *, tiny: bool) -> list[Contender]:
    """Every way to answer these images, ready and called once."""
    ways = {
        "ours, eager float32": lambda: network.eval(),
        "ours, folded": lambda: for_inference(network, CPU, compiled="no"),
    }
    if not tiny:
        ways["ours, folded float32, compiled"] = lambda: for_inference(
            network, CPU, precision="float32", compiled="yes"
        )
        ways["ours, folded, compiled"] = lambda: for_inference(network, CPU, compiled="yes")
        ways["torchvision, eager float32"] = torchvision_twin
        ways["torchvision, compiled float32"] = lambda: torch.compile(torchvision_twin())
    found = []
    session = onnx_session(network, images)
    if session is not None:
        found.append(Contender(BASE, lambda: session(images), len(images)))
    for name, make in ways.items():

        def ready(make: Any = make) -> Any:
            answer = make()
            with torch.inference_mode():
                answer(images)
            return answer

        answer, seconds = protocol.timed(ready)
        found.append(Contender(name, _without_gradients(answer, images), len(images), seconds))
    return found


def torchvision_twin() -> nn.Module:
    """torchvision's ResNet-50, whose weights cost the same whatever their values."""
    from torchvision.models import resnet50

    twin: nn.Module = resnet50()
    return twin.eval()


def onnx_session(network: ResidualNetwork, images: Tensor) -> Any:
    """The network in onnxruntime on torch's number of threads; None, said aloud, where it is not installed."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as absent:
        print(f"without onnxruntime: {absent}")
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network.eval(), (images,), path, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    return lambda batch: session.run(None, {given: batch.numpy()})[0]


def agreement(weights: str, model: str | None, source: str, batch_size: int, *, tiny: bool) -> dict[str, Any]:
    """The share of the test images (without a split: of all) to which the fast networks answer as the plain one."""
    predictor = Predictor.load(weights, CPU, model=model)
    parts = open_source(DataConfig(source=source, val_fraction=0, test_fraction=0)).parts()
    images = parts.get("test", parts["train"])
    plans = ["no"] if tiny else ["no", "yes"]
    fast = [for_inference(predictor.network, CPU, compiled=compiled) for compiled in plans]
    plain: list[Tensor] = []
    given: list[list[Tensor]] = [[] for _ in fast]
    for batch in evaluation_batches(images, predictor.preparation, predictor.statistics, batch_size=batch_size):
        with torch.inference_mode():
            plain.append(predictor.network(batch.images))
        for answers, answer in zip(given, fast, strict=True):
            answers.append(answer(batch.images))
    wanted = torch.cat(plain)
    rows: dict[str, Any] = {"images": len(wanted), "source": Path(source).name}
    for answer, answers in zip(fast, given, strict=True):
        logits = torch.cat(answers)
        rows[str(answer)] = {
            "same_first_class": float((logits.argmax(1) == wanted.argmax(1)).double().mean()),
            "largest_difference_of_probability": float((logits.softmax(1) - wanted.softmax(1)).abs().max()),
        }
    return rows


def main() -> None:
    """Measure each batch size, print the tables, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[1, 16], help="none: agreement alone")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--weights", help="a run, a file or a name, for --source")
    parser.add_argument("--source", help="images as for deepres train: do the fast networks answer as the plain one?")
    parser.add_argument("--tiny", action="store_true", help="compile nothing: does the program work?")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    network = create_model(given.model)
    what = f"images/s of inference at {given.size} px" if given.batch_sizes else "the fast networks' first class"
    facts = protocol.claim(f"{given.model}: {what}", CPU, given.rounds, clock=given.clock, rows={})
    for batch_size in given.batch_sizes:
        images = torch.randn(batch_size, network.description.input[0], given.size, given.size)
        found = contenders(network, images, tiny=given.tiny)
        calls = max(1, 8 // batch_size)
        seconds = protocol.measure(found, given.rounds, calls=calls, clock=given.clock)
        rows = protocol.rows(found, seconds, base=found[0].name)
        facts["rows"][f"batch {batch_size}"] = rows
        print(protocol.table(f"batch {batch_size}, times as fast as {found[0].name}", rows), flush=True)
    if given.source and given.weights:
        facts["agreement"] = agreement(
            given.weights, given.model, given.source, (given.batch_sizes or [16])[-1], tiny=given.tiny
        )
    protocol.write(facts, given.output)


def _without_gradients(answer: Any, images: Tensor) -> Any:
    def call() -> object:
        with torch.inference_mode():
            return answer(images)

    return call


if __name__ == "__main__":
    main()
