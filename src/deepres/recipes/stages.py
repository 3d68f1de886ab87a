"""A detector that learns in four stages (Ren et al. 2015, section 3.2, "4-step alternating training"), each a run.

| stage | learns                    | begins with                  | stands still         | looks at                 |
| ----- | ------------------------- | ---------------------------- | -------------------- | ------------------------ |
| 1     | proposals, with the body  | the run's weights            | what judges regions  | anchors                  |
| 2     | regions, with the body    | the run's weights            | what proposes        | the proposals of stage 1 |
| 3     | proposals                 | stage 2                      | all but what learns  | anchors                  |
| 4     | regions                   | stage 3                      | body, what proposes  | the proposals of stage 3 |

The body is what is computed once a picture: with a C4 the parts behind the tap are of the regions. After stage 4 both
stand on one body, that of stage 2. The paper writes the proposals of stages 1 and 3 down; here they are made anew of
each picture as it is shown, by the detector that proposes them, so that a mirrored picture has its own (ours). What
proposes begins anew in stage 3, as it does in stage 1.
"""

from collections.abc import Callable, Iterable

from deepres.arch.detector import Detector
from deepres.base.errors import InputError
from deepres.recipes.run import Run

STAGES: tuple[int, ...] = (1, 2, 3, 4)
SAYS = {
    1: "proposals are learnt, with the body",
    2: "regions are learnt, with a body of their own, among the proposals of stage 1",
    3: "proposals are learnt on the body of stage 2, which stands still",
    4: "regions are learnt among the proposals of stage 3, on the same body",
}


def stage_name(stage: int) -> str:
    """What the folder of a stage is called, in that of the run."""
    return f"stage-{stage}"


def stage_run(run: Run, stage: int, place: Callable[[int], str]) -> Run:
    """The run of a stage; `place` says where the weights of another lie."""
    turns, detector = run.train.turns, run.model.architecture()
    assert turns is not None
    assert isinstance(detector, Detector)
    proposes = stage in (1, 3)
    turn = turns.proposals if proposes else turns.regions
    children = list(dict.fromkeys(each.name.partition(".")[0] for each in detector.places))
    behind = [name for name, _ in detector.per_region]
    body = [name for name in children if name not in (*behind, "proposals", "regions")]
    still = {
        1: [*behind, "regions"],
        2: ["proposals"],
        3: [name for name in children if name != "proposals"],
        4: [*body, "proposals"],
    }[stage]
    schedule = run.train.schedule
    train = run.train.replace(
        joint=True,
        turns=None,
        epochs=None,
        iterations=turn.iterations,
        batch_size=turn.batch_size,
        accumulate=run.train.accumulate if turn.batch_size % run.train.accumulate == 0 else 1,
        schedule=schedule.replace(milestones=turn.milestones) if schedule.kind == "steps" else schedule,
        learns="proposals" if proposes else "regions",
        proposals_of=f"../{stage_name(1)}" if stage == 2 else None,
        frozen=tuple(name for name in children if name in still or name in run.train.frozen),
    )
    found = run.replace(train=train)
    return found if stage < 3 else begun_with(found, place(stage - 1))


def begun_with(run: Run, weights: str) -> Run:
    """The run, beginning with the weights of one of its stages, which say all of themselves."""
    return run.replace(weights=weights, variant=None, weights_mean=None, weights_std=None, new_head=False)


def require_used_by(run: Run, edits: Iterable[str]) -> None:
    """Refuse edits of fields that a run in stages has no use for.

    Raises:
        InputError: one is; the line says what does that there.
    """
    if run.train.joint:
        return
    for edit in edits:
        name = edit.partition("=")[0].strip().removeprefix("train.")
        if name in UNUSED:
            raise InputError(
                f"train.{name}: proposals and regions learn in turn here, each as long as train.turns.proposals and "
                "train.turns.regions say (iterations, batch_size, milestones); or at once: train.joint=true"
            )


UNUSED = ("epochs", "iterations", "batch_size", "schedule.milestones", "patience", "head_only_fraction")
"""Fields of `train` that a run in stages has no use for."""
