"""A network made slim: candidates tried one after the other, kept as they come, one of them chosen and put in place."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepres.base.errors import InputError, RunError
from deepres.base.events import UNSAID, Doing
from deepres.base.files import flush, make_folder, write_atomic
from deepres.base.manifest import writing
from deepres.base.wording import counted
from deepres.data.sources.config import DataConfig
from deepres.runs.finish import FinishedRun
from deepres.runs.lock import alone, asked_to_stop
from deepres.runs.plan import Planned
from deepres.slim.candidates import candidate, carried_out, first_to_go
from deepres.slim.frontier import Candidate, Frontier, choose
from deepres.slim.gate import allowed_loss
from deepres.slim.int8 import answered, in_8_bits, require_possible
from deepres.slim.ladder import most, require_few
from deepres.slim.page import write_page
from deepres.slim.speed import ready
from deepres.slim.subject import subject_of
from deepres.slim.work import CANDIDATES, FACTS, PAGE, SlimConfig, Work, taken_up
from deepres.tasks.paired import load_saved


@dataclass(frozen=True)
class Slimmed:
    """The `folder` of the slim network, what answers in it (the `file` in 8 bits, else itself), and all that was tried.

    `finished` is what its run measured in the end.
    """

    folder: Path
    file: Path
    frontier: Frontier
    finished: FinishedRun


def slim(
    weights: Path | str,
    output: Path,
    config: SlimConfig,
    *,
    data: DataConfig | None = None,
    device: torch.device,
    on_event: Callable[[Any], None],
    command: str = UNSAID,
) -> Slimmed:
    """Make a network slimmer, and put it into the new folder `output`: a run like any other, with `slim.json` beside.

    Units are left out one by one, ranked anew each time (`ladder.py`); what comes of it is fine-tuned with the intact
    network as its teacher. Held-out images say what is lost (`gate.py`), and one candidate is taken (`frontier.py`),
    which alone answers the test images. Until then everything lies in `OUTPUT.candidates`, and a second call goes on
    there, with other limits too.

    Raises:
        InputError: nothing to leave out, no held-out images, a place that is taken; anything that weights or images
            refuse.
        RunError: no candidate may be taken; nothing lies at `output` then.
        StoppedError: a signal asked for it.
    """
    if output.is_symlink() or (output.exists() and (not output.is_dir() or any(output.iterdir()))):
        raise InputError(f"--output {output}: is there already; choose another folder")
    on_event(Doing("reading the network and listing its images"))
    subject = subject_of(weights, data, device)
    if config.drop is not None:
        subject.require_spare()
    if isinstance(config.drop, int):
        require_few(subject.network, config.drop)
    folder = output.with_name(output.name + CANDIDATES)
    make_folder(folder)
    with alone(folder), asked_to_stop() as asked:
        frontier = taken_up(folder, subject, config, device, command)
        intact = ready(subject.network, device)
        work = Work(subject, config, folder, device, on_event, command, frontier, asked, intact)
        with _told_where(work):
            _try(work)
            chosen, why = choose(work.frontier, work.tried, config.target_ms, accept_uncertain=config.accept_uncertain)
        return _put_in_place(work, output, chosen, why)


def _try(work: Work) -> None:
    """Measure the intact network, then what is to be tried; in 8 bits what may be taken."""
    config = work.config
    if config.int8:
        require_possible(work)
    intact = candidate(work, ())
    work.tried.clear()
    if config.target_ms is not None and intact.speed.milliseconds <= config.target_ms:
        raise InputError(
            f"--target-ms {config.target_ms:g}: {work.frontier.network} answers in {intact.speed.milliseconds:.3g} ms "
            f"as it is ({work.frontier.hardware}, {counted(work.frontier.threads, 'thread')}); nothing is to go"
        )
    allowed = allowed_loss(config.max_loss, load_saved(work.place(())).compared, intact.told)
    if config.max_loss is None:
        work.on_event(f"up to {allowed:g} points may be lost (--max-loss)")
    work.frontier = work.frontier.replace(max_loss=allowed)
    if config.drop is not None and config.epochs is None:
        taught = "the intact network as teacher" if work.subject.can_be_taught else "the labels alone"
        work.on_event(
            f"each candidate is fine-tuned for {counted(work.epochs, 'epoch')} by {taught} (--finetune-epochs)"
        )
    if isinstance(config.drop, int):
        candidate(work, first_to_go(work, config.drop))
    elif config.drop == "auto":
        _as_many_as_may_be(work)
    if config.int8:
        for one in [intact, *(one for name in work.tried if (one := work.frontier.named(name)) is not None)]:
            if _may_be_taken(work, one):
                in_8_bits(work, one)


def _as_many_as_may_be(work: Work) -> None:
    """1, 2, 4, … units out until one may not be taken; then halved between the last two."""
    can, good, bad = most(work.subject.network), 0, None
    while (count := min(2 * good or 1, can) if bad is None else (good + bad) // 2) > good:
        if _may_be_taken(work, candidate(work, first_to_go(work, count))):
            good = count
        else:
            bad = count


def _may_be_taken(work: Work, one: Candidate) -> bool:
    verdict = one.verdict(work.allowed)
    return verdict == "passed" or (verdict == "not shown" and work.config.accept_uncertain)


def _put_in_place(work: Work, output: Path, chosen: str, why: str) -> Slimmed:
    """The chosen candidate answers the test images, and becomes the folder that was asked for."""
    one = work.frontier.named(chosen)
    assert one is not None
    place = work.place(one.dropped)
    done = carried_out(work, place, Planned(work.subject.run, work.subject.source), "the chosen network")
    result = done.result
    if one.precision == "int8" and work.subject.source.test is not None:
        result = answered(work, work.folder / one.name / one.file, work.subject.source.test, "test").result
    told = ""
    if result is not None:
        head = result.headline
        told = f"{head.text} ({head.interval}) on {counted(result.num_images, f'{result.split} image')}"
    frontier = work.frontier.replace(chosen=chosen, why=why, test=told)
    with writing(place) as new:
        write_atomic(new / FACTS, frontier.to_json())
        write_page(new / PAGE, frontier)
        if one.precision == "int8":
            file = work.folder / one.name / one.file
            copy = shutil.copytree if file.is_dir() else shutil.copy
            copy(file, new / file.name)
    if output.exists():
        output.rmdir()  # it is empty
    place.rename(output)
    flush(output.absolute().parent)
    shutil.rmtree(work.folder)
    answers = output / one.file if one.precision == "int8" else output
    return Slimmed(output, answers, frontier, FinishedRun(output, done.result, done.samples))


@contextmanager
def _told_where(work: Work) -> Iterator[None]:
    """Where no candidate may be taken, what was tried can be seen, and gone on with."""
    try:
        yield
    except RunError as cause:
        if work.frontier.candidates:
            page = work.folder / PAGE
            write_page(page, work.frontier)
            cause.message += f"; all that was tried: {page}"
        raise
