"""A network without some units: `python bench/slim.py WEIGHTS IMAGES [--dropped 0 2 4] [--steps N] [--output FILE]`.

WEIGHTS is a run, a file or a name, IMAGES a source with a test part. Units go one by one, ranked anew each time on
training images; for each number of `--dropped` the error on all test images is measured before and after `--steps`
steps of fine-tuning with the intact network as teacher, and the speed in turn with the intact one. That is what
`deepres slim --drop-blocks N` does, but for the gate: here the test images are measured for every number, and choose
nothing. With `--int8` what is left is put in 8 bits too, by each runtime that is there: its error on all test images,
and its speed against the intact network in float32 by onnxruntime, in turn. Stopped, the same command goes on behind
the last number that stands in FILE.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import protocol
import torch
from protocol import Contender

from deepres.base.files import make_folder
from deepres.base.records import edit
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.export import onnx_file
from deepres.export.facts import bundle_of
from deepres.nn.build import ResidualNetwork
from deepres.nn.hardware import multiplies_int8
from deepres.nn.inference import folded
from deepres.nn.weights.files import save_network
from deepres.nn.weights.part import part_of
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.exported import onnx_session
from deepres.predict.predictor import Predictor
from deepres.predict.preprocessing import STATISTICS, Prepared, preprocessing_of
from deepres.runs import train
from deepres.runs.evaluate import EvaluationSetup, evaluate_network
from deepres.runs.plan import Planned
from deepres.runs.session import Session
from deepres.slim.int8 import RUNTIMES, calibration, is_there
from deepres.slim.ladder import next_rung
from deepres.slim.speed import ready
from deepres.slim.subject import Subject, subject_of
from deepres.tasks.task import Learning
from deepres.train.precision import choose

CPU = torch.device("cpu")


def as_folder(weights: str, classes: tuple[str, ...], folder: Path) -> Path:
    """The weights as a folder that says all of itself, with these names of classes."""
    predictor = Predictor.load(WeightsSpec(weights), CPU)
    prepared = preprocessing_of(predictor.preparation, predictor.statistics, predictor.network.description)
    names = predictor.classes if not predictor.unnamed else classes
    folder.mkdir()
    save_network(folder, predictor.network, names, predictor.preparation.model_dump(mode="json"), prepared)
    predictor.statistics.save(folder / STATISTICS)
    return folder


def ladder(subject: Subject, count: int) -> list[tuple[str, float, float]]:
    """The first `count` units to go, with the loss on training images before and after."""
    loss, network, found = subject.run.task.loss(Learning()), subject.network, []
    while len(found) < count:
        rung = next_rung(network, subject.looked_at, loss)
        found.append((rung.unit, rung.before, rung.after))
        print(f"{len(found):3} {rung.unit}  {rung.before:.4f} -> {rung.after:.4f}", flush=True)
        network = part_of(network, (rung.unit,))
    return found


def _known(path: Path) -> list[tuple[str, float, float]]:
    rungs = json.loads(path.read_text())["ladder"]
    return [(rung["unit"], rung["loss_before"], rung["loss_after"]) for rung in rungs]


def _done(path: Path | None, steps: int) -> dict[int, dict[str, Any]]:
    """The rows of an earlier call of so many steps, by how many units are out."""
    facts = json.loads(path.read_text()) if path is not None and path.is_file() else {"steps": None}
    return {row["units_out"]: row for row in facts["rows"]} if facts["steps"] == steps else {}


def tested(subject: Subject, network: ResidualNetwork) -> dict[str, Any]:
    """The network's error on all test images, in float32, norms folded."""
    quick = folded(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _error(subject, quick, subject.predictor)


def _error(subject: Subject, network: Any, predictor: Predictor) -> dict[str, Any]:
    images = subject.source.test
    assert images is not None
    prepared = Prepared(predictor.preparation, predictor.statistics)
    setup = EvaluationSetup(subject.run.data, choose("float32", CPU), task=predictor.task.unsettled())
    found = evaluate_network(network, images, prepared, setup, split="test").result
    error = {"error": found.error, "interval_95": [found.error_low, found.error_high]}
    return {**error, "num_wrong": found.num_wrong, "num_images": found.num_images}


def in_8_bits(subject: Subject, weights: Path, intact: Path, folder: Path, clock: protocol.Clock) -> dict[str, Any]:
    """By runtime: the error in 8 bits of the network of a folder, and its speed against the intact one's."""
    predictor, pictures, found = Predictor.load(weights, CPU), calibration(subject), {}
    for runtime, make in RUNTIMES.items():
        if not is_there(runtime):
            continue
        own = folder / runtime
        make_folder(own)
        made = make(own, weights, predictor, pictures)
        exported = Predictor.load(made.file)
        found[runtime] = _error(subject, exported.network, exported) | _beside(made.int8, intact, clock)
    return found


def _beside(asked: Any, intact: Path, clock: protocol.Clock) -> dict[str, Any]:
    predictor, found = Predictor.load(intact, CPU), {}
    bundle = bundle_of(predictor, str(intact))
    whole = onnx_session.session_of(onnx_file.fitted(predictor, bundle).SerializeToString(), bundle, "float32")
    for batch, calls in ((1, 8), (16, 1)):
        pictures = torch.randint(0, 256, (batch, *predictor.network.description.input), dtype=torch.uint8)
        both = [
            Contender(*each, batch)
            for each in (("float32", lambda p=pictures: whole(p)), ("int8", lambda p=pictures: asked(p)))
        ]
        rows = protocol.rows(both, protocol.measure(both, 15, calls=calls, clock=clock), base="float32")
        found[f"batch {batch}"] = {name: rows[1][name] for name in ("images_per_second", "times_as_fast")}
    return found


def tuned(subject: Subject, names: tuple[str, ...], steps: int, folder: Path) -> ResidualNetwork:
    """The network without these units after so many steps of fine-tuning."""
    run = subject.candidate(names, 1)
    run = run.replace(train=run.train.replace(epochs=None, iterations=steps, compile="off"), select="last")
    train.start(Planned(run, subject.source, spares_test=True), Session(folder, CPU))
    network: ResidualNetwork = Predictor.load(folder, CPU).network
    return network


def timed(networks: dict[int, ResidualNetwork], rounds: int, clock: protocol.Clock) -> dict[int, dict[str, Any]]:
    """How fast each answers, one image and sixteen, in turn."""
    found: dict[int, dict[str, Any]] = {count: {} for count in networks}
    for batch, calls in ((1, 8), (16, 1)):
        images = torch.rand(batch, *next(iter(networks.values())).description.input)
        contenders = [Contender(str(count), _asked(network, images), batch) for count, network in networks.items()]
        seconds = protocol.measure(contenders, rounds, calls=calls, clock=clock)
        for row in protocol.rows(contenders, seconds, base=str(min(networks))):
            found[int(row["contender"])][f"batch {batch}"] = {**row, "against": {}}
    return found


def main() -> None:
    """Measure each number of units, print the table, write the evidence after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("images")
    parser.add_argument("--dropped", type=int, nargs="*", default=[0, 2, 4, 6, 8, 10])
    parser.add_argument("--steps", type=int, default=60, help="of fine-tuning; 0: none")
    parser.add_argument("--ladder", type=Path, help="an earlier --output, whose ranking is taken")
    parser.add_argument("--int8", action="store_true", help="8 bits too, of what is left")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "processor"], default="processor")
    parser.add_argument("--set", dest="edits", nargs="*", default=[], metavar="A=B", help="how IMAGES are cut and read")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = edit(DataConfig(source=given.images), given.edits)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        subject = subject_of(as_folder(given.weights, open_source(data).classes, place / "intact"), data, CPU)
        done = _done(given.output, given.steps)
        earlier = given.output if done else given.ladder
        rungs = _known(earlier) if earlier else ladder(subject, max(given.dropped))
        units = [unit for unit, _, _ in rungs]
        networks = {count: part_of(subject.network, tuple(units[:count])) for count in given.dropped}
        speeds = timed(networks, given.rounds, given.clock)
        config, rows = subject.candidate((), 1).train, list[dict[str, Any]]()
        facts = protocol.claim(
            f"{subject.network.description.name}: units left out, error before and after fine-tuning",
            CPU,
            given.rounds,
            clock=given.clock,
            weights=Path(given.weights).name,
            training_images=len(subject.source.train),
            seed=subject.run.seed,
            steps=given.steps,
            batch_size=config.batch_size,
            schedule=config.schedule.model_dump(mode="json"),
            ranked_on=len(subject.looked_at.images),
            multiplies_int8=multiplies_int8(),
            ladder=[{"unit": unit, "loss_before": before, "loss_after": after} for unit, before, after in rungs],
            rows=rows,
        )
        for count, network in networks.items():
            if count in done:
                rows.append({**done[count], **speeds[count]})
                protocol.write(facts, given.output)
                continue
            row: dict[str, Any] = {"units_out": count, "before": tested(subject, network)}
            told, weights = f"{count} units out: {100 * row['before']['error']:.2f} %", place / "intact"
            if count and given.steps:
                weights = place / f"{count}"
                row["after"] = tested(subject, tuned(subject, tuple(units[:count]), given.steps, place / f"{count}"))
                told += f", {100 * row['after']['error']:.2f} % after {given.steps} steps"
            if given.int8 and (weights == place / "intact") == (count == 0):
                folder = place / f"{count} in 8 bits"
                row["int8"] = in_8_bits(subject, weights, place / "intact", folder, given.clock)
                for runtime, cell in row["int8"].items():
                    told += f", {100 * cell['error']:.2f} % in 8 bits by {runtime}"
                    told += f" (x{cell['batch 1']['times_as_fast']['median']:.2f})"
            rows.append({**row, **speeds[count]})
            times = [f"x{speeds[count][f'batch {batch}']['times_as_fast']['median']:.2f}" for batch in (1, 16)]
            print(f"{told}; {' and '.join(times)} at batch 1 and 16", flush=True)
            protocol.write(facts, given.output)


def _asked(network: ResidualNetwork, images: torch.Tensor) -> Any:
    answer = ready(network, CPU)

    def call() -> None:
        with torch.inference_mode():
            answer(images)

    return call


if __name__ == "__main__":
    main()
