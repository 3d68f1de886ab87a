"""How strongly the layers of a run answer, as its analysis has written it down."""

from pathlib import Path

from deepres.base.reading import json_object, reading
from deepres.studies.plan import Job


def mean_response(job: Job, home: Path) -> float | None:
    """The mean over layers of the standard deviation of their responses; None where it was not analysed."""
    stds = response_stds(job, home)
    return sum(stds) / len(stds) if stds else None


def response_stds(job: Job, home: Path) -> list[float]:
    """The standard deviation of each 3x3 layer's response, in the layers' order."""
    path = job.folder(home) / "analysis" / "responses.json"
    if not path.is_file():
        return []
    facts = json_object(path, "analysis of responses", "remove it")
    with reading(path, "an analysis of responses", "remove it"):
        return [float(layer["std"]) for layer in facts["numbers"]["responses"]["layers"]]
