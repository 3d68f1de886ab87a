"""The next batch of a run, which all processes have or none; one that cannot be had stops the run between two steps."""

from collections.abc import Iterator

from deepres.base.errors import DeepresError, InputError
from deepres.data.images import Batch
from deepres.train.distributed import Distributed


class UnfedError(DeepresError):
    """The batch of the next step cannot be had, as `refusal` says; the state is that after the step before it."""

    def __init__(self, refusal: DeepresError) -> None:
        super().__init__(refusal.message, refusal.table)
        self.refusal, self.exit_code, self.shared = refusal, refusal.exit_code, refusal.shared


def next_batch(drawn: Iterator[Batch], pieces: int, fewest: int, processes: Distributed) -> Batch | None:
    """The next batch; one process makes fewer pieces of a short one, the norms of several count on as many in each.

    Raises:
        DeepresError: any process cannot have its share.
    """
    return processes.on_all_ranks(lambda: _own(drawn, pieces, fewest, processes))


def batch_or_refusal(
    drawn: Iterator[Batch], pieces: int, fewest: int, processes: Distributed
) -> Batch | DeepresError | None:
    """`next_batch`, or why there is none: the step that is being computed is ended first."""
    try:
        return next_batch(drawn, pieces, fewest, processes)
    except DeepresError as refusal:
        return refusal


def _own(drawn: Iterator[Batch], pieces: int, fewest: int, processes: Distributed) -> Batch | None:
    batch = next(drawn, None)
    pieces = pieces if processes.size > 1 else 1
    if batch is None or len(batch) >= pieces * fewest:
        return batch
    each = f", {pieces} pieces to make of them" if pieces > 1 else ""
    alone = f", and its norms want {fewest} at once" if fewest > 1 else ""
    raise InputError(
        f"process {processes.rank}: {len(batch)} readable in its share of a step{each}{alone}; mend the images, or set "
        + ("train.accumulate=1" if pieces > 1 else "a larger train.batch_size")
    )
