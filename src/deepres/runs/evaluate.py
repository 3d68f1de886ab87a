"""Measuring weights on images: those of a run as it goes, or a run's folder later, on its own images or on others."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.base.events import UNSAID, OnProgress
from deepres.base.files import digest
from deepres.base.heap import keep_freed_memory
from deepres.base.records import Record
from deepres.data.images import Batch, Images
from deepres.data.loading.config import LoaderConfig, OnBadImage
from deepres.data.loading.loader import evaluation_batches
from deepres.data.loading.workers import resolved
from deepres.data.readable import require_readable
from deepres.data.sources.config import DataConfig
from deepres.nn.build import ResidualNetwork
from deepres.nn.environment import hardware, versions
from deepres.nn.weights.hub import weights_file
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.backends import OTHERS, Backend, InPlace, Question, answering, seconds_of
from deepres.predict.predictor import Predictor
from deepres.predict.preprocessing import Prepared
from deepres.recipes.run import load_run
from deepres.runs.classes_of import among
from deepres.runs.measured_on import images_of, relabelled
from deepres.runs.seen import run_of
from deepres.runs.together import batch_size, largest_side
from deepres.tasks.evaluator import NO_FACTS, EvaluationMethod, ResultFacts, evaluate
from deepres.tasks.kinds import AnyTask
from deepres.tasks.protocols import CENTER, Protocol, protocol_named, require_fitting
from deepres.tasks.result import Evaluation
from deepres.tasks.task import require
from deepres.tasks.together import Participant, with_others
from deepres.train.config import PrecisionChoice
from deepres.train.distributed import SINGLE_PROCESS, Distributed
from deepres.train.precision import Precision, choose


class EvaluationConfig(Record):
    """What is measured, and how: the part of the images, the views of each (`protocols.py`), the number format.

    `split` None: test, of a source without splits all images. `on_bad_image` None: as the images, or the run, say.
    `force` also measures what the run was trained on; `keep_scores` keeps the log-probabilities of all classes.
    `measure` is how boxes are measured, where not as their task says. `backend` answers (`predict/backends.py`): torch,
    another, or with "auto" the fastest on this CPU. `classes_of` says which classes weights without names know
    (`classes_of.py`).
    """

    split: str | None = None
    protocol: str = "center"
    precision: PrecisionChoice = "float32"
    on_bad_image: OnBadImage | None = None
    force: bool = False
    keep_scores: bool = False
    measure: str | None = None
    backend: Backend = "torch"
    classes_of: str | None = None


USUAL = EvaluationConfig()

Loading = Callable[[WeightsSpec, torch.device], Predictor]


@dataclass(frozen=True)
class EvaluationSetup:
    """How a network is measured: its images read as `data` says, computed in `precision`, asked `task`.

    `protocol` is a spelling of `tasks/protocols.py`; `keep_scores` keeps the scores of all classes; `task` None is one
    class an image. `one_by_one`: pictures of any size, which are answered as they are. `beside` are detectors that
    answer together with it.
    """

    data: DataConfig
    precision: Precision
    protocol: str = "center"
    keep_scores: bool = False
    task: AnyTask | None = None
    one_by_one: bool = False
    beside: tuple[Participant, ...] = ()


def evaluate_network(
    network: nn.Module,
    images: Images,
    prepared: Prepared,
    setup: EvaluationSetup,
    *,
    split: str,
    facts: ResultFacts = NO_FACTS,
    on_progress: OnProgress | None = None,
    processes: Distributed = SINGLE_PROCESS,
) -> Evaluation:
    """`network`, which lies on the precision's device, on every one of `images`; `facts` go into the result.

    Each of `processes` takes some of the batches; all get the result, bitwise that of one process. In bfloat16 a task
    that makes networks fast in a way of its own is asked by that (`Task.made_fast`).

    Raises:
        InputError: an unknown protocol, one that the network's head cannot follow, one larger than the images.
    """
    data, precision, preparation, skipped = setup.data, setup.precision, prepared.preparation, dict[str, str]()
    asked, autocast = _made_fast(network, setup)
    shown = (protocol_named if setup.task is None else setup.task.protocol)(setup.protocol, preparation)
    if isinstance(network, ResidualNetwork) and isinstance(shown, Protocol):
        require_fitting(shown, network.description)
    own = Participant(asked, preparation, prepared.statistics, tuple(range(len(images.classes))), setup.task)
    others = [replace(one, network=_made_fast(one.network, setup)[0]) for one in setup.beside]
    asked, pictures = shown.together([own, *others])
    alone = setup.one_by_one or len(pictures) > 1
    loading = LoaderConfig(
        batch_size=1 if alone else batch_size(largest_side(images, preparation, shown.showing), precision.device),
        workers=-(-resolved(data.workers) // len(pictures)),
        device=precision.device,
        on_bad_image=data.on_bad_image,
        rank=processes.rank,
        world_size=processes.size,
    )
    batches: Iterable[Batch]
    batches, *more = (
        evaluation_batches(images, *how, loading, skipped=skipped, showing=shown.showing) for how in pictures
    )
    batches = with_others(batches, more) if more else batches
    count = None if on_progress is None else lambda done, total: on_progress(min(done * processes.size, total), total)
    found = processes.on_all_ranks(
        lambda: evaluate(
            asked,
            batches,
            images,
            split=split,
            on_progress=count,
            all_gather=processes.all_gather,
            method=EvaluationMethod(
                protocol=shown,
                shown=shown.sentence(preparation),
                keep_scores=setup.keep_scores,
                task=setup.task,
                precision=autocast,
                computed_in=precision.name,
            ),
            facts=replace(facts, skipped=skipped),
        )
    )
    return found if setup.keep_scores else replace(found, predictions=found.predictions.lean())


def _made_fast(network: nn.Module, setup: EvaluationSetup) -> tuple[nn.Module, Callable[[], Any]]:
    """What answers in the network's place in the setup's precision, and the context that it wants."""
    precision = setup.precision
    if precision.dtype is not torch.float32 and setup.task is not None:
        fast = setup.task.made_fast(network, precision.device, "bfloat16")
        if fast is not None:
            return fast, nullcontext
    return network, precision.autocast


def evaluate_weights(
    weights: WeightsSpec | Path | str,
    data: DataConfig | None = None,
    config: EvaluationConfig = USUAL,
    *,
    device: torch.device,
    command: str = UNSAID,
    on_progress: OnProgress | None = None,
    processes: Distributed = SINGLE_PROCESS,
    load: Loading = Predictor.load,
) -> tuple[Evaluation, Images]:
    """The evaluation of a run's weights, or of others (`Predictor.load`), and the images that it was made on.

    Without `data`, or where that is the run's source under whatever spelling, these are the run's own; of another
    source that has no split all images are taken. Labels are matched by the *name* of the class: the order of classes
    may differ. Weights without names of classes are taken to have those of the source, in its order.
    A run's own temperature is measured too, but on the images that it was found on, and shown as it was found alone.
    Images that the run has seen are refused (seen.py), under `config.force` measured, and the result's notes say so.
    `load` gives the network that is asked, where others than the weights themselves answer for them.

    Raises:
        InputError: no images to measure on, no such split, class names that the network does not know, images that the
            run has seen, anything that weights or images refuse.
    """
    target = processes.on_all_ranks(
        lambda: resolve_target(WeightsSpec.of(weights), data, config, device, command, load)
    )
    return evaluate_target(target, config, on_progress=on_progress, processes=processes), target.images


def evaluate_target(
    target: "EvaluationTarget",
    config: EvaluationConfig,
    *,
    beside: tuple[Participant, ...] = (),
    on_progress: OnProgress | None = None,
    processes: Distributed = SINGLE_PROCESS,
) -> Evaluation:
    """`evaluate_weights` of weights and images that are opened; detectors `beside` it answer together with it."""
    keep_freed_memory(of_any_size=True)
    predictor = target.predictor
    network = target.precision.place(predictor.network)
    if config.backend != "torch":
        network, target = _by_backend(network, target, config, processes)
    return evaluate_network(
        network,
        target.images,
        Prepared(predictor.preparation, predictor.statistics),
        EvaluationSetup(
            target.data,
            target.precision,
            config.protocol,
            config.keep_scores,
            predictor.task.measured_as(own_protocol=config.protocol == str(CENTER), found_here=target.found_here),
            predictor.any_size,
            beside,
        ),
        split=target.split,
        facts=ResultFacts(target.provenance, target.notes),
        on_progress=on_progress,
        processes=processes,
    )


@dataclass(frozen=True)
class EvaluationTarget:
    """Which weights are measured, on which images."""

    predictor: Predictor
    images: Images
    data: DataConfig
    split: str
    precision: Precision
    provenance: dict[str, JsonValue]
    notes: tuple[str, ...] = ()
    found_here: bool = False  # on these the run found what held-out images settle


def resolve_target(
    spec: WeightsSpec,
    data: DataConfig | None,
    config: EvaluationConfig,
    device: torch.device,
    command: str,
    load: Loading = Predictor.load,
) -> EvaluationTarget:
    """The weights and the images that a call of `evaluate_weights` speaks of; errors as there."""
    weights = spec.name
    folder = run_of(weights)
    run = None if folder is None else load_run(folder)
    predictor = _asked_by(load(spec, device), config, weights)
    if data is not None and data.targets == "auto":
        data = data.model_copy(update={"targets": predictor.task.form})  # what was said stays what was said
    chosen = images_of(folder, run, weights, data, config)
    own_config, found = chosen.data, chosen.images
    if own_config.on_bad_image == "stop":
        require_readable({"test": found}, "stop")
    if config.classes_of is not None:
        predictor, notes = among(predictor, found, config.classes_of, weights)
        chosen = replace(chosen, notes=(*chosen.notes, *notes))
    unnamed = predictor.unnamed and len(predictor.classes) == len(found.classes)
    known = tuple(map(str, range(len(predictor.classes)))) if predictor.unnamed else predictor.classes
    images = found if unnamed else relabelled(found, known, own_config.source)
    precise = choose(config.precision, device, training=False)
    file = weights_file(weights)
    provenance: dict[str, JsonValue] = {
        "command": command,
        "run": weights,
        "model": predictor.network.description.name,
        "source": own_config.source,
        "weights_sha256": None if file is None else digest(file),
        "precision": str(precise),
        **({"preprocessing": predictor.said} if predictor.said else {}),
        "versions": dict(versions()),
        "hardware": hardware(device),
    }
    if chosen.notes:
        provenance["note"] = "; ".join(chosen.notes)
    found_here = chosen.own and chosen.split == predictor.task.settled_on
    return EvaluationTarget(predictor, images, own_config, chosen.split, precise, provenance, chosen.notes, found_here)


def _by_backend(
    network: nn.Module, target: EvaluationTarget, config: EvaluationConfig, processes: Distributed
) -> tuple[nn.Module, EvaluationTarget]:
    """What answers in the network's place, and the same target, which says so; where it is torch both as they are.

    Raises:
        InputError: a back end asked for that cannot answer this.
    """
    predictor, precision, asked = target.predictor, target.precision, config.backend
    told: list[str] = []
    if not isinstance(network, ResidualNetwork):
        told.append(f"--backend {asked}: {predictor.task.kind} is answered by torch alone" if asked in OTHERS else "")
    elif config.protocol != str(CENTER) or processes.size > 1 or precision.device.type != "cpu":
        if asked in OTHERS:
            raise InputError(
                f"--backend {asked}: answers one view of an image, by one process, on the CPU; wanted --backend torch"
            )
    else:

        def plain(batch: Tensor) -> Tensor:
            with torch.inference_mode(), precision.autocast():
                answer: Tensor = network(precision.images(batch))
            return answer

        size = predictor.input_size
        one = torch.zeros(1, *size)
        asked_how = (config.precision, plain, "eval", lambda: seconds_of(plain, one))
        question = Question(network, predictor.task, size, len(target.images), *asked_how)
        if (found := answering(question, asked, told.append)) is not None:
            network = InPlace(network, found[1])
            precision = replace(precision, dtype=found[1].dtype)
            told.append(str(found[1]))
    facts = {**target.provenance, **({"backend": "; ".join(filter(None, told))} if any(told) else {})}
    return network, replace(target, precision=precision, provenance=facts)


def _asked_by(predictor: Predictor, config: EvaluationConfig, weights: str) -> Predictor:
    """The same, asked by the measure that is wanted; what its task does not know is refused."""
    if config.protocol != str(CENTER):
        require(predictor.task, "--protocol", weights)
    if config.measure is None:
        return predictor
    require(predictor.task, "--measure", weights)
    return replace(predictor, task=predictor.task.replace(measure=config.measure))
