"""Numbers as they are and as they are answered -> errors, R2, intervals. N images, K columns, all float64."""

from dataclasses import dataclass
from math import ceil, fsum

from torch import Tensor

from deepres.tasks.collected import Collected, require_finite
from deepres.tasks.regression.losses import in_units


@dataclass(frozen=True, eq=False)
class NumberAnswers:
    """What the network answered, in the units of the table: `indices` int64 (N,), `truth` and `predicted` (N, K)."""

    indices: Tensor
    truth: Tensor
    predicted: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def lean(self) -> "NumberAnswers":
        """As it is: nothing in it is only for some."""
        return self

    def at(self, places: Tensor) -> "NumberAnswers":
        """The answers at these places."""
        return NumberAnswers(self.indices[places], self.truth[places], self.predicted[places])

    @property
    def errors(self) -> Tensor:
        """predicted - truth."""
        return self.predicted - self.truth


class NumberMetrics:
    """Collects answers batch by batch; outputs are standardised, what is collected is in units."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self._mean, self._std = mean, std
        self._seen = Collected()

    def update(self, outputs: Tensor, targets: Tensor, indices: Tensor) -> None:
        """Add a batch: outputs (N, K), targets in units (N, K), places (N,).

        Raises:
            RunError: an output is not finite.
        """
        z = outputs.detach().cpu().double()
        require_finite(z, indices)
        self._seen.add(indices=indices, truth=targets.double(), predicted=in_units(z, self._mean, self._std))

    def merge(self, other: "NumberMetrics") -> None:
        """Add all that `other` has seen."""
        self._seen.merge(other._seen)

    def answers(self) -> NumberAnswers:
        """All answers so far, in order; errors as `Collected.columns`."""
        return NumberAnswers(**self._seen.columns())


def mean_of(values: Tensor) -> float:
    """The mean of (N,), summed exactly."""
    return fsum(values.tolist()) / len(values)


def interval_of_mean(values: Tensor) -> tuple[float, float]:
    """Student's 95 % interval of the mean of (N,), not below 0; the mean alone of one value."""
    mean, n = mean_of(values), len(values)
    if n < 2:
        return mean, mean
    from scipy.stats import t as student  # here, for it takes long to load and is asked last

    spread = (fsum(((values - mean) ** 2).tolist()) / (n - 1) / n) ** 0.5
    half = float(student.ppf(0.975, n - 1)) * spread
    return max(0.0, mean - half), mean + half


def r2(truth: Tensor, predicted: Tensor) -> float | None:
    """1 - sum (y - f)^2 / sum (y - mean y)^2, of (N,); None where all y are equal."""
    mean = mean_of(truth)
    total = fsum(((truth - mean) ** 2).tolist())
    return 1 - fsum(((truth - predicted) ** 2).tolist()) / total if total else None


def bound(errors: Tensor, coverage: float) -> float | None:
    """The ceil((N + 1) coverage)-th smallest of |errors| (N,): as wide as the errors of held-out images say.

    Of a new image like these the error is at most so large with probability `coverage` or more (split conformal
    prediction; Lei et al. 2018, theorem 2.2). None of so few that no number says it.
    """
    place = ceil((len(errors) + 1) * coverage)
    return float(errors.abs().sort().values[place - 1]) if place <= len(errors) else None
