"""Answers as a file: one row an image, with what has to be known of the network that gave them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from deepres.base.files import write_atomic
from deepres.data.images import Images
from deepres.tasks.plans import RunPlan
from deepres.tasks.result import Evaluation, printable


def save_predictions(path: Path, evaluation: Evaluation, images: Images, plan: RunPlan | None = None) -> None:
    """Write the answers as `.npz`: index, name, and the columns of the task's answers.

    Of one class an image these are truth, predicted, rank, probability, probability_of_truth, loss, and with kept
    scores `scores`, float32 (N, C). `about` is JSON: model, source, weights_sha256, split, protocol, classes (of
    numbers: the columns), precision, notes, the `task`, and the `plan` of the run.
    """
    predictions, result = evaluation.predictions, evaluation.result
    saved = evaluation.task.saved(predictions)
    columns: dict[str, Any] = {name: column.numpy() for name, column in saved.items()}
    columns["index"] = columns.pop("indices")
    if "scores" in columns:
        columns["scores"] = columns["scores"].astype(np.float32)
    columns["name"] = np.array([printable(images.name(i)) for i in predictions.indices.tolist()])
    about = {name: result.provenance.get(name) for name in ("model", "source", "weights_sha256")}
    about |= {"split": result.split, "protocol": result.protocol, "classes": list(result.names)}
    about |= {"precision": result.precision, "notes": list(result.notes)}
    about |= {"task": evaluation.task.model_dump(mode="json")}
    about |= {} if plan is None else {"plan": plan.model_dump(mode="json")}
    content = io.BytesIO()
    np.savez_compressed(content, about=np.array(json.dumps(about)), **columns)
    write_atomic(path, content.getvalue())
