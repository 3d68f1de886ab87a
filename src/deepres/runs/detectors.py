"""Several detectors as one: the proposals of all, looked at by each, scores and boxes averaged."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import JsonValue

from deepres.base.events import OnProgress
from deepres.data.sources.config import DataConfig
from deepres.nn.weights.spec import WeightsSpec
from deepres.runs.evaluate import EvaluationConfig, evaluate_target, resolve_target
from deepres.tasks.ensemble import Member, orders_of
from deepres.tasks.result import Evaluation
from deepres.tasks.together import Participant
from deepres.train.distributed import SINGLE_PROCESS, Distributed


def evaluate_detectors(
    members: Sequence[Member],
    specs: Sequence[WeightsSpec],
    data: DataConfig | None,
    config: EvaluationConfig,
    provenance: dict[str, JsonValue],
    *,
    device: torch.device,
    on_progress: OnProgress | None = None,
    processes: Distributed = SINGLE_PROCESS,
) -> Evaluation:
    """The evaluation of detectors that answer together, each of `specs` measured alone already (`members`).

    What is shown, thinned and counted goes by the first one's settings; each sees pictures as it was trained on them.

    Raises:
        InputError: other classes, or other images.
    """
    targets = processes.on_all_ranks(lambda: [resolve_target(one, data, config, device, "") for one in specs])
    orders = orders_of(members)
    first, *others = targets
    beside = tuple(
        Participant(
            first.precision.place(one.predictor.network),
            one.predictor.preparation,
            one.predictor.statistics,
            tuple(order),
            one.predictor.task,
        )
        for one, order in zip(others, orders[1:], strict=True)
    )
    notes = tuple(dict.fromkeys(note for one in targets for note in one.notes))
    return evaluate_target(
        replace(first, provenance=provenance, notes=notes),
        config,
        beside=beside,
        on_progress=on_progress,
        processes=processes,
    )
