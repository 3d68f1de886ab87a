"""Images/s of inference, ResNet-50 at 224 px: `python bench/inference.py [--batch-sizes 1 16] [--output FILE]`.

Contenders: onnxruntime (float32, its default optimisations), OpenVINO (float32, and bfloat16 where the processor has
it), torchvision's network in eager float32 and compiled, ours as built, folded (bfloat16 where the processor has it),
folded and compiled, and by each back end. All have the same weights, and the same threads. Without more they answer
noise, with random weights, and close calls are not answered again: all would be. With `--weights` and `--source` (one
or several) the images are those of the first source, and the share of each source's test images on which the fast
networks answer as the plain float32 network does is measured too.
"""

import argparse
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import protocol
import torch
from protocol import Contender
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.hardware import multiplies_bfloat16
from deepres.nn.inference import CLOSE, Compiled, InferencePrecision, for_inference
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.backends import OTHERS, Backend, Question, made
from deepres.predict.exported import openvino_network
from deepres.predict.predictor import Predictor
from deepres.tasks.classification.task import Classification

CPU = torch.device("cpu")
BASE = "onnxruntime float32"


def contenders(network: ResidualNetwork, batches: list[Tensor], *, tiny: bool, close_calls: bool) -> list[Contender]:
    """Every way to answer these batches, all of one size, ready and called once."""

    def optimized(precision: InferencePrecision, compiled: Compiled) -> Any:
        return for_inference(network, CPU, precision=precision, compiled=compiled, close_calls=close_calls)

    ways = {"ours, eager float32": lambda: network.eval(), "ours, folded": lambda: optimized("auto", "no")}
    if not tiny:
        ways["ours, folded float32, compiled"] = lambda: optimized("float32", "yes")
        ways["ours, folded, compiled"] = lambda: optimized("auto", "yes")
        if network.description.name in ("resnet50", "resnet50_caffe"):
            first = network.description.name == "resnet50_caffe"
            ways["torchvision, eager float32"] = lambda: torchvision_twin(first)
            ways["torchvision, compiled float32"] = lambda: torch.compile(torchvision_twin(first))
    found = []
    num_images = sum(map(len, batches))
    for name, session in by_others(network, batches[0]).items():
        found.append(Contender(name, _answering(session, batches), num_images))
    for backend in OTHERS:
        if all(find_spec(library) for library in (backend, "onnxscript")):
            ways[f"ours, by {backend}"] = lambda backend=backend: by_backend(network, batches[0], backend, close_calls)
    for name, make in ways.items():

        def ready(make: Any = make) -> Any:
            answer = make()
            with torch.inference_mode():
                answer(batches[0])
            return answer

        answer, seconds = protocol.timed(ready)
        found.append(Contender(name, _answering(answer, batches), num_images, seconds))
    return found


def torchvision_twin(stride_first: bool) -> nn.Module:
    """torchvision's ResNet-50, whose weights cost the same whatever their values.

    `stride_first` as the paper's authors have it: units that halve the map do so in their first convolution.
    """
    from torchvision.models import resnet50

    twin = resnet50()
    for stage in (twin.layer2, twin.layer3, twin.layer4) if stride_first else ():
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    fixed: nn.Module = twin.eval()
    return fixed


def by_others(network: ResidualNetwork, images: Tensor) -> dict[str, Any]:
    """The network in onnxruntime and OpenVINO on torch's number of threads; what is not installed is said aloud."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as absent:
        print(f"without onnxruntime: {absent}")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network.eval(), (images,), path, dynamo=True, verbose=False, external_data=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        content = path.read_bytes()
    given = session.get_inputs()[0].name
    found: dict[str, Any] = {BASE: lambda batch: session.run(None, {given: batch.numpy()})[0]}
    try:
        reader = openvino_network.core()
    except InputError as absent:
        print(f"without OpenVINO: {absent}")
        return found
    for name, precision in (("float32", "f32"), ("bfloat16", "bf16")):
        if precision == "f32" or multiplies_bfloat16(CPU):
            model = reader.read_model(content)
            run = openvino_network.on_cpu(model, torch.get_num_threads(), precision=precision)
            found[f"OpenVINO {name}"] = lambda batch, run=run: run({given: batch.numpy()})[0]
    return found


def by_backend(network: ResidualNetwork, images: Tensor, backend: Backend, close_calls: bool) -> Any:
    """The network as predict and eval have it answered by that back end."""
    task, size = Classification(), tuple(images.shape[1:])
    question = Question(network, task, size, len(images), "auto", network, "bench", lambda: 0.0)
    found = made(question, backend)
    return found if close_calls else replace(found, exact=None)


def images_of(predictor: Predictor, source: str, batch_size: int) -> list[Tensor]:
    """The test images of a source, without a split all of them, as the network wants them."""
    parts = open_source(DataConfig(source=source, val_fraction=0, test_fraction=0)).splits()
    images = parts.get("test", parts["train"])
    loaded = evaluation_batches(
        images, predictor.preparation, predictor.statistics, LoaderConfig(batch_size=batch_size)
    )
    return [batch.images for batch in loaded]


def agreement(network: ResidualNetwork, batches: list[Tensor], *, tiny: bool) -> dict[str, Any]:
    """The share of images that the fast networks answer as the plain one does, and that they answer twice.

    `moved` is how far rounding moves features towards the border between the two likeliest classes or away from it,
    in units of their root mean square, as `CLOSE` is.
    """
    with torch.inference_mode():
        wanted = torch.cat([network(batch) for batch in batches])
    rows: dict[str, Any] = {"images": len(wanted)}
    plans: list[Compiled] = ["no"] if tiny else ["no", "yes"]
    for compiled in plans:
        answer = for_inference(network, CPU, compiled=compiled)
        with torch.inference_mode():
            quick, distance = (torch.cat(part) for part in zip(*map(answer.quickly, batches), strict=True))
        logits = torch.cat([answer(batch) for batch in batches])
        values, classes = quick.topk(2, dim=1)
        margin, exact = values[:, 0] - values[:, 1], wanted.gather(1, classes)
        moved = (1 - (exact[:, 0] - exact[:, 1]) / margin) * distance
        rows[str(answer)] = {
            "num_different": int((logits.argmax(1) != wanted.argmax(1)).sum()),
            "num_different_without_second_answer": int((quick.argmax(1) != wanted.argmax(1)).sum()),
            "answered_twice": float((distance < CLOSE).double().mean()),
            "largest_difference_of_probability": float((logits.softmax(1) - wanted.softmax(1)).abs().max()),
            "moved": {"root_mean_square": float(moved.square().mean().sqrt()), "largest": float(moved.abs().max())},
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
    parser.add_argument("--source", nargs="*", default=[], help="images as for deepres train; speed is of the first")
    parser.add_argument("--mean", type=float, nargs="*", help="what bare weights were trained with, as for predict")
    parser.add_argument("--std", type=float, nargs="*")
    parser.add_argument("--tiny", action="store_true", help="compile nothing: does the program work?")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sources: dict[str, list[Tensor]] = {}
    network = create_model(given.model)
    if given.weights:
        scaling = {name: tuple(getattr(given, name)) for name in ("mean", "std") if getattr(given, name)}
        predictor = Predictor.load(WeightsSpec(given.weights, given.model, **scaling), CPU)
        network = predictor.network
        sources = {source: images_of(predictor, source, 16) for source in given.source}
    what = f"images/s of inference at {given.size} px" if given.batch_sizes else "the fast networks' first class"
    facts = protocol.claim(f"{given.model}: {what}", CPU, given.rounds, clock=given.clock, rows={})
    for batch_size in given.batch_sizes:
        channels, *_ = network.description.input
        noise = torch.randn(max(8, batch_size), channels, given.size, given.size)
        images = torch.cat(next(iter(sources.values()), [noise]))
        batches = [part for part in images.split(batch_size) if len(part) == batch_size]
        found = contenders(network, batches, tiny=given.tiny, close_calls=bool(sources))
        seconds = protocol.measure(found, given.rounds, clock=given.clock)
        rows = protocol.rows(found, seconds, base=found[0].name)
        facts["rows"][f"batch {batch_size}"] = rows
        print(protocol.table(f"batch {batch_size}, times as fast as {found[0].name}", rows), flush=True)
    for source, parts in sources.items():
        facts.setdefault("agreement", []).append(
            {"source": Path(source).name, **agreement(network, parts, tiny=given.tiny)}
        )
    protocol.write(facts, given.output)


def _answering(answer: Any, batches: list[Tensor]) -> Any:
    def call() -> None:
        with torch.inference_mode():
            for batch in batches:
                answer(batch)

    return call


if __name__ == "__main__":
    main()
