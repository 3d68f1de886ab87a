"""`--minutes` of a run in folds: one length is planned for all, and each gets an equal share of what is left."""

from dataclasses import dataclass, replace
from functools import partial

from deepres.base.events import Doing
from deepres.data.facts import facts_of
from deepres.data.sources.open import find
from deepres.recipes.run import Run
from deepres.runs.autotune import Pace, pace_of
from deepres.runs.budget import END_SECONDS, Deadline, fitted
from deepres.runs.fold_plan import Folds
from deepres.runs.session import Session


@dataclass(frozen=True)
class FoldTime:
    """The time of all folds together; `after` seconds of it are for pooling them, `pace` is what was measured."""

    deadline: Deadline
    after: float = END_SECONDS
    pace: Pace | None = None

    def share(self, left: int) -> Deadline:
        """The deadline of the next fold, where so many are left: time that one does not need goes to the others."""
        seconds = (self.deadline.left - self.after) / left
        return replace(self.deadline, ends=self.deadline.clock() + seconds, pace=self.pace)


def planned_in_time(plan: Folds, deadline: Deadline, session: Session) -> tuple[Folds, FoldTime]:
    """The plan with as many epochs as fit in each fold, at most the recipe's, if need be on smaller images.

    Raises:
        InputError: not even one epoch of each fits; the message has the shortest time that would do.
    """
    processes, began, folds = session.processes, deadline.clock(), plan.folds
    source = session.images(plan.run)
    run, found = session.teachers(processes.on_rank_zero(lambda: plan.run.fitted(facts_of(source))), source)
    apart = processes.on_rank_zero(lambda: _num_apart(plan.run))
    session.on_event(Doing("measuring what fits into the time"))
    opened = processes.on_rank_zero(lambda: deadline.clock() - began)
    taught = 0 if found is None else found.macs
    measure = partial(pace_of, source=source, device=session.device, processes=processes, taught=taught)
    known = list[FoldTime]()

    def measured(candidate: Run) -> Pace:
        pace = measure(candidate)
        time = FoldTime(deadline, END_SECONDS * pace.burden + folds * apart * pace.answered, pace)
        known.append(time)
        return pace.replace(before=pace.before + opened + time.after / folds)

    budget = fitted(
        run, source, replace(deadline, folds=folds), measured, processes, deadline.any_size and found is None
    )
    for line in budget.sentences:
        session.on_event(line)
    own, made = plan.run, budget.run
    length = {"epochs": made.train.epochs, "iterations": made.train.iterations}
    return (
        plan.replace(run=own.replace(train=own.train.replace(**length), preparation=made.preparation)),
        known[-1],
    )


def _num_apart(run: Run) -> int:
    """How many images all folds answer together in the end: those that the source gives as test, or else as val."""
    splits = find(run.data).splits
    return len(splits.get("test", splits.get("val", ())))
