"""What a paper prints for a run: said before it begins, and beside its own figure when it has ended."""

from deepres.data.facts import facts_of
from deepres.data.sources.open import Source
from deepres.recipes.expected import Expectation, expectation, figures
from deepres.recipes.run import Run
from deepres.tasks.result import Result


def expected_of(run: Run, source: Source) -> Expectation | None:
    """What is expected of the run of these images, None where nothing is known."""
    if all(one.recipe != run.recipe for one in figures()):
        return None
    return expectation(run, facts_of(source))


def expected_lines(run: Run, source: Source) -> list[str]:
    """What is said of it before the run begins."""
    found = expected_of(run, source)
    return [] if found is None else found.lines()


def met(run: Run, source: Source, result: Result, steps: int) -> tuple[str, ...]:
    """The notes on a run that was tested after `steps`: what is printed, and whether that came out."""
    found = expected_of(run, source)
    if found is None or result.split != "test":
        return ()
    shares = {name: getattr(result, name, None) for name in ("error", "top5_error")}
    errors = {name: None if share is None else 100 * float(share) for name, share in shares.items()}
    return tuple(found.ended(errors, result.num_images, steps, run.train.steps(len(source.train))))
