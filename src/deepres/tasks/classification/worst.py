"""Which images were answered wrongly, and which rightly but least surely, as a list (CSV) to look through.

    image                 as the run calls it: a path, or set/part/number
    truth, predicted      classes
    probability           of the predicted class
    probability_of_truth  of the true one
    loss                  -log of that
    split                 the split that was measured
    wrong                 1 or 0

All that are wrong, the highest loss first; then of the right ones those of the least probability, one in UNSURE_OF, at
least LEAST_UNSURE.
"""

from deepres.data.images import Images
from deepres.tasks.result import Evaluation

HEAD = ("image", "truth", "predicted", "probability", "probability_of_truth", "loss", "split", "wrong")
UNSURE_OF = 20
LEAST_UNSURE = 24


def worst_rows(evaluation: Evaluation, images: Images) -> list[tuple[object, ...]]:
    """The list of `images`, on which the evaluation was made, its head first."""
    answers, result = evaluation.predictions, evaluation.result
    wrong = (answers.rank > 0).nonzero()[:, 0]
    right = (answers.rank == 0).nonzero()[:, 0]
    by_loss = wrong[answers.loss[wrong].argsort(descending=True, stable=True)]
    unsure = right[answers.probability[right].argsort(stable=True)][: max(LEAST_UNSURE, len(right) // UNSURE_OF)]
    rows: list[tuple[object, ...]] = [HEAD]
    for place in [*by_loss.tolist(), *unsure.tolist()]:
        figures = (answers.probability, answers.probability_of_truth, answers.loss)
        rows.append(
            (
                images.name(int(answers.indices[place])),
                result.classes[int(answers.truth[place])],
                result.classes[int(answers.predicted[place])],
                *(round(float(figure[place]), 6) for figure in figures),
                result.split,
                int(answers.rank[place] > 0),
            )
        )
    return rows
