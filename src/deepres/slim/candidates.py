"""One candidate: units left out, fine-tuned, measured on held-out images, timed, written down."""

import shutil
from pathlib import Path
from typing import Any

import torch

from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.files import digest
from deepres.base.manifest import holds_run
from deepres.base.records import Record, load
from deepres.base.wording import counted
from deepres.nn.weights.files import WEIGHTS
from deepres.nn.weights.part import part_of
from deepres.predict.predictor import Predictor
from deepres.runs import train
from deepres.runs.finish import FinishedRun
from deepres.runs.lock import StoppedError
from deepres.runs.plan import Planned
from deepres.runs.session import Session
from deepres.slim.frontier import Candidate
from deepres.slim.gate import compared
from deepres.slim.ladder import Rung, next_rung
from deepres.slim.speed import Answering, Speed, ready, speed_of
from deepres.slim.subject import Subject
from deepres.slim.work import Work, name_of
from deepres.tasks.task import Learning
from deepres.train.loop import Step


class Ladder(Record):
    """What was left out so far, in order."""

    rungs: tuple[Rung, ...] = ()


def first_to_go(work: Work, count: int) -> tuple[str, ...]:
    """The first `count` units to go, one by one, ranked anew each time; kept as they are found."""
    path = work.folder / "ladder.json"
    ladder = load(Ladder, path, "record of units left out") if path.is_file() else Ladder()
    loss = work.subject.run.task.loss(Learning())
    while len(ladder.rungs) < count:
        gone = tuple(rung.unit for rung in ladder.rungs)
        network = part_of(work.subject.network, gone) if gone else work.subject.network
        what = f"ranking the units, {len(gone) + 1} of {count}"
        rung = next_rung(network, work.subject.looked_at, loss, work.progress(what))
        ladder = Ladder(rungs=(*ladder.rungs, rung))
        ladder.save(path)
    return tuple(rung.unit for rung in ladder.rungs[:count])


def candidate(work: Work, dropped: tuple[str, ...]) -> Candidate:
    """The network without these units, fine-tuned; as it was measured before, where it was."""
    name = name_of(dropped)
    work.tried.append(name)
    if (before := work.frontier.named(name)) is not None:
        return before
    subject, folder = work.subject, work.place(dropped)
    epochs = work.epochs if dropped else 0
    what = f"{counted(len(dropped), 'unit')} out" if dropped else "the intact network"
    plan = Planned(subject.candidate(dropped, epochs), subject.source, trains=bool(epochs), spares_test=True)
    done = carried_out(work, folder, plan, what)
    assert done.result is not None
    head = done.result.headline
    own = Predictor.load(folder, work.device)
    if not dropped:
        _require_alike(subject, own, folder)
    one = Candidate(
        name=name,
        dropped=dropped,
        epochs=epochs,
        file=WEIGHTS,
        sha256=digest(folder / WEIGHTS),
        num_bytes=(folder / WEIGHTS).stat().st_size,
        speed=timed(work, ready(own.network, work.device), what),
        figure=head.name,
        value=head.value,
        low=head.low,
        high=head.high,
        lower_is_better=head.lower_is_better,
        told=f"{head.text} ({head.interval})" if head.interval else head.text,
        loss=compared(work.place(()), folder) if dropped else None,
    )
    work.keep(one)
    return one


def carried_out(work: Work, folder: Path, plan: Planned, what: str) -> FinishedRun:
    """The run of a candidate, begun or gone on with; only how far it is is shown of it."""

    def show(event: Any) -> None:
        work.listen()  # a signal that came before training began to hear them
        if isinstance(event, Step):
            event = Doing("training", event.step, event.total)
        if isinstance(event, Doing):
            work.on_event(Doing(f"{what}: {event.what}", event.done, event.total))

    work.listen()
    session = Session(folder, work.device, show, command=work.command)
    try:
        if holds_run(folder):
            return train.resume(session, spares_test=plan.spares_test)
        return train.start(plan, session)
    except StoppedError as cause:
        raise work.stopped(cause.exit_code - 128) from cause


def timed(work: Work, answer: Answering, what: str) -> Speed:
    """How fast it answers, in turn with the intact network."""
    size = work.subject.network.description.input
    return speed_of(answer, work.intact, size, work.device, work.progress(f"{what}: timing"))


def _require_alike(subject: Subject, own: Predictor, folder: Path) -> None:
    """Refuse where the intact network as a run of its own would be shown other images than it is by itself."""
    first, second = subject.predictor.statistics, own.statistics
    pairs = [(first.mean, second.mean), (first.std, second.std)]
    if first.mean_image is not None and second.mean_image is not None:
        pairs.append((first.mean_image, second.mean_image))
    alike = all(torch.allclose(one.cpu(), other.cpu(), rtol=1e-5, atol=1e-6) for one, other in pairs)
    if own.preparation != subject.predictor.preparation or not alike:
        shutil.rmtree(folder)
        raise InputError(
            f"{subject.place}: its images are prepared otherwise than those of {subject.source.name} would be; slim "
            "cannot fine-tune it there"
        )
