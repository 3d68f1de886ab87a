"""A run in stages (`recipes/stages.py`), each a run in a folder of its own; the end is a run like any other.

`RUN/stages.json` is there from the beginning: the run as it is wanted, and the name that the stages' own names come
from. `RUN/stage-1` to `stage-4` are runs that measure nothing on test images. When all have ended, RUN itself becomes a
run whose weights are those of stage 4, measured once.
"""

import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from deepres.base import records
from deepres.base.errors import InputError, shared
from deepres.base.files import make_folder, write_atomic
from deepres.base.manifest import MANIFEST, RUN, STAGES, holds_run, name_of, read_sealed, sealed
from deepres.base.records import Record
from deepres.data.facts import facts_of
from deepres.recipes.run import Run, require_format
from deepres.recipes.stages import SAYS, begun_with, stage_name, stage_run
from deepres.recipes.stages import STAGES as NUMBERS
from deepres.runs import train
from deepres.runs.budget import Deadline
from deepres.runs.finish import SUMMARY, FinishedRun
from deepres.runs.founding import require_no_run
from deepres.runs.lock import StoppedError, held
from deepres.runs.plan import Planned
from deepres.runs.resuming import DATA_MAY_CHANGE
from deepres.runs.session import Session

MAY_CHANGE = (
    *(f"data.{name}" for name in DATA_MAY_CHANGE),
    *("train.memory", "train.compile", "train.save_every_seconds", "train.log", "license"),
)


class Staged(Record):
    """What `stages.json` holds."""

    run: Run
    name: str


def start(plan: Run | Planned, session: Session, *, deadline: Deadline | None = None) -> FinishedRun:
    """`train.start`, of a run in stages too.

    Raises:
        InputError: as there; and of a run in stages: there is a time in which it has to end.
    """
    run = plan.run if isinstance(plan, Planned) else plan
    if run.train.joint:
        return train.start(plan, session, deadline=deadline)
    if deadline is not None:
        raise shared(
            InputError(
                "--minutes: a run in stages is as long as train.turns says; wanted --set train.joint=true with it"
            )
        )
    folder, once = session.folder, session.processes.on_rank_zero
    once(lambda: _require_none(folder))
    source = session.images(run, listed=plan.source if isinstance(plan, Planned) else None)
    staged = Staged(run=once(lambda: run.fitted(facts_of(source))), name=once(lambda: secrets.token_hex(16)))
    new = once(lambda: not folder.exists() or not any(folder.iterdir()))
    once(lambda: _begin(staged, folder))
    try:
        return _carry_out(staged, session, ())
    except InputError:
        if not once(lambda: holds_run(folder / stage_name(1))):  # nothing has begun
            once(lambda: _undo(folder, whole=new))
        raise


def resume(session: Session, edits: Sequence[str] = (), *, deadline: Deadline | None = None) -> FinishedRun:
    """`train.resume`, of a run in stages too: with the stage that was cut, and those after it.

    Raises:
        InputError: as there; of a run in stages an edit that would make it another.
    """
    folder, once = session.folder, session.processes.on_rank_zero
    if not once(lambda: (folder / STAGES).is_file()):
        return train.resume(session, edits, deadline=deadline)
    for edit in edits:
        if edit.partition("=")[0].strip() not in MAY_CHANGE:
            raise shared(
                InputError(
                    f"--resume {folder}: {edit}: a run in stages keeps what it began with; only "
                    f"{', '.join(MAY_CHANGE)} may change; begin a new run with its weights: --weights {folder}"
                )
            )
    if once(lambda: holds_run(folder)):
        return train.resume(session, edits, deadline=deadline)
    staged = once(lambda: _stages_in(folder))
    return _carry_out(staged.replace(run=records.edit(staged.run, edits)), session, edits)


def _carry_out(staged: Staged, session: Session, edits: Sequence[str]) -> FinishedRun:
    folder, processes = session.folder, session.processes
    with held(folder, processes):
        for stage in NUMBERS:
            own = folder / stage_name(stage)
            if not processes.on_rank_zero(lambda: _is_done(staged, folder, stage)):  # noqa: B023
                session.on_event(f"stage {stage} of {len(NUMBERS)}: {SAYS[stage]}: {own}")
                _train(staged, stage, replace(session, folder=own), edits)
    last = begun_with(staged.run, str(folder / stage_name(NUMBERS[-1])))
    return train.start(Planned(last, session.images(last), trains=False), session)


def _train(staged: Staged, stage: int, session: Session, edits: Sequence[str]) -> None:
    own, once = session.folder, session.processes.on_rank_zero
    try:
        if once(lambda: holds_run(own)):
            train.resume(session, edits, spares_test=True)
            return
        once(lambda: shutil.rmtree(own, ignore_errors=True))  # it was cut while it was set up
        run = stage_run(staged.run, stage, lambda other: str(own.parent / stage_name(other)))
        plan = Planned(run, session.images(run), spares_test=True)
        train.start(plan, session, name=_name(staged, stage))
    except StoppedError as stopped:
        message = stopped.message.replace(f"--resume {own}", f"--resume {own.parent}")
        raise shared(StoppedError(f"stage {stage} of {len(NUMBERS)}: {message}", stopped.exit_code - 128)) from stopped


def _is_done(staged: Staged, folder: Path, stage: int) -> bool:
    """Whether a stage has ended; one that is another run's is refused."""
    own = folder / stage_name(stage)
    found = name_of(own)
    if found != _name(staged, stage) and (found or (own / RUN).is_file()):
        raise InputError(f"{own / MANIFEST}: not of stage {stage} of the run in {folder}; bring that stage back")
    return (own / SUMMARY).is_file()


def _name(staged: Staged, stage: int) -> str:
    return sha256(f"{staged.name} stage {stage}".encode()).hexdigest()[: len(staged.name)]


def _begin(staged: Staged, folder: Path) -> None:
    make_folder(folder)
    write_atomic(folder / STAGES, sealed(staged.model_dump(mode="json")))


def _undo(folder: Path, *, whole: bool) -> None:
    (folder / STAGES).unlink(missing_ok=True)
    shutil.rmtree(folder / stage_name(1), ignore_errors=True)
    if whole:
        with suppress(OSError):
            folder.rmdir()


def _stages_in(folder: Path) -> Staged:
    """The run in stages that the folder holds.

    Raises:
        InputError: it is damaged, or of another format.
    """
    path = folder / STAGES
    fields, whole = read_sealed(path)
    if not whole:
        raise InputError(f"{path}: damaged, or changed by hand; bring it back, or begin the run anew in another folder")
    require_format(fields.get("run", {}), path)
    return records.build(Staged, fields, str(path))


def _require_none(folder: Path) -> None:
    require_no_run(folder)
    if (folder / STAGES).exists():
        raise InputError(
            f"{folder}: holds a run already; continue it with --resume {folder}, or choose another --output"
        )
