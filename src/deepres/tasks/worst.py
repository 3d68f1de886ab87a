"""Which images were answered worst, as a list (CSV) to look through; each task says how it lists them."""

from deepres.base.cells import csv_of
from deepres.data.images import Images
from deepres.tasks.result import Evaluation

FILE = "worst.csv"


def worst_list(evaluation: Evaluation, images: Images) -> str:
    """The list of `images`, on which the evaluation was made, as CSV."""
    return csv_of(evaluation.task.worst(evaluation, images))
