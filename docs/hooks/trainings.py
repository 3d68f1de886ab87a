"""How published weights were trained, as a table: from `nn/weights/trainings.json`."""

from collections.abc import Iterable

from deepres.nn.weights.trainings import Training, trainings

COLUMNS = ("epochs", "batch_size", "optimizer", "rate", "schedule", "augmentation", "loss", "size", "source")


def table() -> str:
    """A row for each way of training; a line for the names of which nothing was found."""
    known = [one for one in trainings() if one.source is not None]
    unknown = [name for one in trainings() if one.source is None for name in one.names]
    titles = ("weights", *(name.replace("_", " ") for name in COLUMNS))
    lines = [_row(titles), _row(["---"] * len(titles)), *map(_of, known)]
    return "\n".join(lines) + f"\n\nNot published here, no public source of how was found: {_names(unknown)}.\n"


def _of(training: Training) -> str:
    return _row([_names(training.names), *(getattr(training, name) or "–" for name in COLUMNS)])


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
