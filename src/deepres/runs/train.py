"""Carrying a run out: start or resume, train, keep states; stopping at any moment loses nothing that was saved."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from torch import nn

from deepres.arch.readings.norms import fewest_images
from deepres.arch.readings.segments import CheckpointPlan
from deepres.base.errors import shared
from deepres.base.events import Detail, Doing, progress_of
from deepres.base.files import make_folder
from deepres.base.heap import keep_freed_memory
from deepres.data.facts import facts_of
from deepres.nn.memory import apply
from deepres.nn.model import told_by
from deepres.recipes.run import Run
from deepres.runs.autotune import pace_of, settle_steps, settle_workers
from deepres.runs.budget import Budget, Deadline, fitted, going_on
from deepres.runs.contents import require_same_contents
from deepres.runs.context import RunContext, norms_together, skipped_before
from deepres.runs.finish import FinishedRun, conclude, report_so_far
from deepres.runs.founding import as_begun, require_no_run, rewrite, set_up, with_rates
from deepres.runs.introduce import introduced
from deepres.runs.lock import StoppedError, asked_to_stop, held
from deepres.runs.logbook import begin_session, logged
from deepres.runs.opening import opening
from deepres.runs.plan import Planned
from deepres.runs.rescue import rescued, resumable
from deepres.runs.resuming import by_patience, edited, new_rates, require_same_images, require_steps_left
from deepres.runs.saving import Saving
from deepres.runs.seen import own_now
from deepres.runs.session import Session
from deepres.tasks.task import require
from deepres.tasks.validation import Validation
from deepres.train.checkpoint import load_newest, save_best, save_state
from deepres.train.history import HistoryWriter
from deepres.train.loggers.logger import Logger
from deepres.train.loggers.logs import AllLoggers, loggers
from deepres.train.loop import Epoch, Step, TrainingContext, train
from deepres.train.state import Progress, State, replicate

Event = Step | Epoch | Doing | Detail | str
"""What the caller is shown as it happens: steps, epochs, what is being done, and lines of text."""

OnEvent = Callable[[Event], None]


def start(
    plan: Run | Planned, session: Session, *, deadline: Deadline | None = None, name: str | None = None
) -> FinishedRun:
    """Train from the first step in a new folder.

    With `deadline` the run is made to fit (`budget.py`): shorter, or where that is allowed also on smaller images; one
    of several folds (`fold_time.py`) is only cut.
    `name` is what the run is called in its manifest; by default it is drawn. A run that comes with its images
    (`Planned`) has them listed already.

    Raises:
        InputError: the folder already holds a run, or cannot be written; anything that images or training refuse.
        StoppedError: a signal asked for it.
    """
    run, listed = (plan.run, plan.source) if isinstance(plan, Planned) else (plan, None)
    trains, spares_test = (plan.trains, plan.spares_test) if isinstance(plan, Planned) else (True, False)
    about = plan.said if isinstance(plan, Planned) else ()
    folder, device, processes, on_event = session.folder, session.device, session.processes, session.on_event
    once = processes.on_rank_zero
    once(lambda: require_no_run(folder))
    shown_by = dict[str, Logger]()
    once(lambda: shown_by.update(loggers(run.train.log)))
    source = session.images(run, listed=listed)
    run = once(lambda: run.fitted(facts_of(source)))
    run, found = session.teachers(run, source)
    budget = None
    if deadline is not None:
        require(run.task, "--minutes", run.data.source)
        on_event(Doing("measuring what fits into the time"))
        taught = 0 if found is None else found.macs
        measure = partial(pace_of, source=source, device=device, processes=processes, taught=taught)
        if deadline.ends is None:
            budget = fitted(run, source, deadline, measure, processes, deadline.any_size and found is None)
        else:
            budget = going_on(run, source, deadline, measure)
        run = budget.run
    twice = session.memory_plan(run, found)
    # what is wrong with it is refused before anything is written
    first, said = session.state(run, source, begin=processes.first)
    first.progress = first.progress if trains else _as_it_begins(first.progress)
    new = once(lambda: not folder.exists() or not any(folder.iterdir()))
    once(lambda: make_folder(folder))
    with held(folder, processes) as hold:
        once(lambda: require_no_run(folder))  # another start may have been faster
        try:
            on_event(Doing("mean and spread of the training images"))
            begun_as = (run, source, folder, first, device, name)
            run, statistics = once(lambda: set_up(*begun_as, on_event))
            progress, first = first.progress, with_rates(first.network, run)
            first.progress = progress
        except BaseException:
            if new:
                hold.remove()
            raise
        context = session.context(run, source, statistics, found, hold, begun=once(lambda: said))
        context = replace(context, spares_test=spares_test, about_numbers=about, loggers=shown_by)
        return _carry_out(context, first, twice, on_event, budget)


def resume(
    session: Session, edits: Sequence[str] = (), *, deadline: Deadline | None = None, spares_test: bool = False
) -> FinishedRun:
    """Go on from the newest whole state; `edits` such as `train.epochs=60` extend a run that has finished.

    With `deadline` the steps that are left are cut where they would not end in time. `spares_test` as in `Planned`.

    Raises:
        InputError: no run there, no whole state, or the images are not those that the run began with.
        StoppedError: a signal asked for it.
    """
    folder, device, processes, on_event = session.folder, session.device, session.processes, session.on_event
    once = processes.on_rank_zero
    before, run = once(lambda: edited(folder, edits))
    shown_by = dict[str, Logger]()
    once(lambda: shown_by.update(loggers(run.train.log)))
    source = session.images(run, own=lambda: own_now(folder, run))
    once(lambda: require_same_images(source, folder))
    once(lambda: require_same_contents(source, folder))
    run, found = session.teachers(run, source)
    plan = session.memory_plan(run, found)
    with held(folder, processes) as hold:
        statistics = once(lambda: as_begun(folder, on_event))
        skipped = once(lambda: skipped_before(folder))
        context = session.context(run, source, statistics, found, hold, skipped=skipped)
        context = replace(context, spares_test=spares_test, loggers=shown_by)
        state, _ = session.state(run, source, begin=False)
        for line in once(lambda: load_newest(state, folder / "state")):
            on_event(f"passed over a state that cannot be used: {line}")
        if any(edit.startswith(("train.epochs=", "train.iterations=")) for edit in edits):
            state.progress = state.progress.replace(bend=None)  # the length is given anew
        once(lambda: require_steps_left(before, run, state.progress, len(source.train), folder))
        if (rates := new_rates(before, run, state.progress, len(source.train))) is not None:
            on_event(rates)
        if run != before:
            once(lambda: rewrite(run, folder))
        budget = None
        if deadline is not None:
            on_event(Doing("measuring what fits into the time"))
            measure = partial(pace_of, source=source, device=device, processes=processes)
            budget = going_on(run, source, deadline, measure)
        return _carry_out(context, state, plan, on_event, budget)


def _as_it_begins(progress: Progress) -> Progress:
    """Of a run that ends before its first step."""
    return progress.bent(0, 1, "no step was wanted").replace(finished=True)


def _carry_out(
    context: RunContext, state: State, plan: CheckpointPlan, on_event: OnEvent, budget: Budget | None = None
) -> FinishedRun:
    config, processes = context.run.train, context.processes
    processes.require_same("precision", f"{context.precision.dtype}")
    replicate(state, processes)
    total = state.progress.length(config.steps(len(context.source.train)))
    early_stopped = config.patience is not None and state.progress.epochs_since_best >= config.patience
    if state.progress.finished and state.progress.step < total and not early_stopped:  # the run has been extended
        state.progress = state.progress.replace(finished=False)
    if processes.first:
        on_event = logged(context.folder, on_event)
        begin_session(context.folder, state.progress.step, context.precision.device, context.command)
    network = state.network
    context = replace(context, teachers=introduced(context, network, on_event))
    for words in budget.sentences if budget is not None else ():
        on_event(words)
    for line in opening(context, state.progress.step, total):
        on_event(line)
    if plan.segments:
        on_event(Detail(f"saving memory: {plan}"))
    if early_stopped and state.progress.step < total:
        more = state.progress.epochs_since_best + 5
        on_event(f"{by_patience(context.run, state.progress)}; to go on: --set train.patience={more}, or =none")
    with AllLoggers(context.loggers, on_event, StoppedError) as logs, resumable(context.folder):
        processes.on_rank_zero(lambda: logs.begin(context.about(state.progress.step)))
        if not state.progress.finished:
            on_event(Doing("measuring how many workers pay"))
            rate, settled = None, processes.on_rank_zero(lambda: settle_workers(context, network))
            if settled is not None:
                on_event(Detail(settled.sentence))
                context, rate = replace(context, workers=settled.worker_plan), settled.step_rate
            _train(context, state, plan, on_event, logs, budget, rate)
            if state.progress.step < state.progress.length(total):
                on_event(by_patience(context.run, state.progress))
        done = conclude(context, state, on_event)
        logs.result({} if done.result is None else done.result.figures())
        return done


def _train(
    context: RunContext,
    state: State,
    plan: CheckpointPlan,
    on_event: OnEvent,
    logs: AllLoggers,
    budget: Budget | None,
    step_rate: float | None,
) -> None:
    config, states, val = context.run.train, context.folder / "state", context.source.val
    processes = context.processes
    loader = processes.on_all_ranks(context.loader)

    def evaluate_val(network: nn.Module) -> Validation:
        assert val is not None
        result = context.evaluate(network, val, "val", on_progress=progress_of(on_event, "held-out images")).result
        return context.run.task.validation(result, config.balance)

    if config.compile != "off" and not plan.segments:
        keep_freed_memory()
    on_event(Doing("measuring whether compiling pays"))
    in_haste = budget is not None and budget.too_short_to_compile(context.precision.device.type)
    compile_plan = processes.on_rank_zero(
        lambda: settle_steps(context, state, plan, in_haste=in_haste, step_rate=step_rate)
    )
    on_event(Detail(str(compile_plan)))
    on_event(Doing("compiling the first steps" if compile_plan.compiled else "training"))
    events = train(
        state,
        config,
        loader,
        context.loss(),
        None if val is None else evaluate_val,
        TrainingContext(
            num_images=len(context.source.train),
            precision=context.precision,
            seed=context.run.seed,
            forward=compile_plan.forward(state.network),
            capture=compile_plan.capture,
            fewest_images=fewest_images(told_by(state.network).description, config.frozen),
            from_nothing=context.run.weights is None,
            processes=processes,
        ),
    )
    saving = Saving(config.save_every_seconds)

    def written(event: Step | Epoch, whole: bool) -> None:
        context.hold.require_here()
        if isinstance(event, Epoch):
            if event.best or event.kept:
                state.digests[event.step] = save_best(state.judged, states, event.step)
            logs.row(journal.write(event))
        context.keep_skipped()
        if whole:
            with saving.timed():
                save_state(state, states)

    with ExitStack() as stack:
        stack.enter_context(rescued(context, state, plan, loader))
        if processes.first:
            journal = HistoryWriter(context.folder, state.progress.step)
        asked = stack.enter_context(asked_to_stop())
        stack.enter_context(apply(state.network, plan))
        stack.enter_context(norms_together(context, state.network))
        for event in events:
            due = processes.first and saving.due(event, finished=state.progress.finished)
            cut = budget.cut(event, state.progress) if processes.first and budget is not None else None
            signalled, save, total = processes.highest(asked[0] if asked else 0, int(due), cut or 0)
            if total and budget is not None:
                on_event(budget.said(event, total))
                state.progress = budget.bent(state.progress, total)
            ends = isinstance(event, Step) and (event.ends_epoch or total == event.step)  # its epoch comes next
            whole = bool(save or signalled or total)
            if (whole or isinstance(event, Epoch)) and not ends:
                for skipped in processes.all_gather(lambda: loader.skipped):
                    context.skipped.update(skipped)
                processes.on_rank_zero(lambda: written(event, whole))  # noqa: B023
            on_event(event)
            if signalled and not ends and not state.progress.finished:
                processes.on_rank_zero(lambda: report_so_far(context, state.progress.step))
                message = f"stopped after step {state.progress.step:,}, state saved; continue with: "
                raise shared(StoppedError(f"{message}deepres train --resume {context.folder}", signalled))
