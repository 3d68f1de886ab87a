"""A network without some units: `python bench/slim.py WEIGHTS IMAGES [--dropped 0 2 4] [--steps N] [--output FILE]`.

WEIGHTS is a run, a file or a name, IMAGES a source with a test part. Units go one by one, ranked anew each time on
training images; for each number of `--dropped` the error on all test images is measured before and after `--steps`
steps of fine-tuning with the intact network as teacher, and the speed in turn with the intact one. That is what
`deepres slim --drop-blocks N` does, but for the gate: here the test images are measured for every number, and choose
nothing.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import protocol
import torch
from protocol import Contender

from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.nn.build import ResidualNetwork
from deepres.nn.weights.files import save_network
from deepres.nn.weights.part import part_of
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.predictor import Predictor
from deepres.predict.preprocessing import STATISTICS, Prepared, preprocessing_of
from deepres.runs import train
from deepres.runs.evaluate import EvaluationSetup, evaluate_network
from deepres.runs.plan import Planned
from deepres.runs.session import Session
from deepres.slim.ladder import next_rung
from deepres.slim.speed import ready
from deepres.slim.subject import RECIPE, Subject, subject_of
from deepres.tasks.classification.result import ClassificationResult
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


def tested(subject: Subject, network: ResidualNetwork) -> ClassificationResult:
    """The network on all test images, float32."""
    images = subject.source.test
    assert images is not None
    prepared = Prepared(subject.predictor.preparation, subject.predictor.statistics)
    setup = EvaluationSetup(subject.run.data, choose("float32", CPU))
    result: ClassificationResult = evaluate_network(network, images, prepared, setup, split="test").result
    return result


def tuned(subject: Subject, names: tuple[str, ...], steps: int, folder: Path) -> ClassificationResult:
    """The network without these units after so many steps of fine-tuning, on all test images."""
    run = subject.candidate(names, 1)
    run = run.replace(train=run.train.replace(epochs=None, iterations=steps), select="last")
    done = train.start(Planned(run, subject.source), Session(folder, CPU))
    assert isinstance(done.result, ClassificationResult)
    return done.result


def told(result: ClassificationResult) -> dict[str, Any]:
    """Its error with the interval, and of how many images."""
    error = {"error": result.error, "interval_95": [result.error_low, result.error_high]}
    return {**error, "num_wrong": result.num_wrong, "num_images": result.num_images}


def main() -> None:
    """Measure each number of units, print the table, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("images")
    parser.add_argument("--dropped", type=int, nargs="*", default=[0, 2, 4, 6, 8, 10])
    parser.add_argument("--steps", type=int, default=120, help="of fine-tuning; 0: none")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "processor"], default="processor")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = DataConfig(source=given.images)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        folder = as_folder(given.weights, open_source(data).classes, place / "intact")
        subject = subject_of(folder, data, CPU)
        rungs = ladder(subject, max(given.dropped))
        size = subject.network.description.input
        networks = {
            count: part_of(subject.network, tuple(unit for unit, _, _ in rungs[:count])) for count in given.dropped
        }
        speeds: dict[int, dict[int, Any]] = {}
        for batch, calls in ((1, 8), (16, 1)):
            images = torch.rand(batch, *size)
            contenders = [Contender(str(count), _asked(network, images), batch) for count, network in networks.items()]
            seconds = protocol.measure(contenders, given.rounds, calls=calls, clock=given.clock)
            for row in protocol.rows(contenders, seconds, base=str(given.dropped[0])):
                speeds.setdefault(int(row["contender"]), {})[batch] = row
        rows = []
        for count, network in networks.items():
            names = tuple(unit for unit, _, _ in rungs[:count])
            row: dict[str, Any] = {"units_out": count, "units": list(names), "before": told(tested(subject, network))}
            if count and given.steps:
                row["after"] = told(tuned(subject, names, given.steps, place / f"drop-{count}"))
            row |= {f"batch {batch}": found for batch, found in speeds[count].items()}
            rows.append(row)
            after = f", {100 * row['after']['error']:.2f} % after {given.steps} steps" if "after" in row else ""
            times = ", ".join(f"x{row[f'batch {b}']['times_as_fast']['median']:.2f} at batch {b}" for b in (1, 16))
            print(f"{count} units out: {100 * row['before']['error']:.2f} %{after}; {times}", flush=True)
        train_config = subject.candidate((), 1).train
        facts = protocol.claim(
            f"{subject.network.description.name}: units left out, before and after fine-tuning",
            CPU,
            given.rounds,
            clock=given.clock,
            weights=Path(given.weights).name,
            recipe=RECIPE,
            seed=subject.run.seed,
            steps=given.steps,
            batch_size=train_config.batch_size,
            schedule=train_config.schedule.model_dump(mode="json"),
            ranked_on=f"{len(subject.looked_at.images)} training images",
            ladder=[{"unit": unit, "loss_before": before, "loss_after": after} for unit, before, after in rungs],
            rows=rows,
        )
    protocol.write(facts, given.output)


def _asked(network: ResidualNetwork, images: torch.Tensor) -> Any:
    answer = ready(network, CPU)

    def call() -> None:
        with torch.inference_mode():
            answer(images)

    return call


if __name__ == "__main__":
    main()
