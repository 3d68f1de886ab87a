"""Which candidates others beat, which one is taken, and the line where none may be."""

from pathlib import Path

import pytest

from deepres.base.errors import RunError
from deepres.slim.frontier import INTACT, Candidate, Frontier, choose, dominated
from deepres.slim.gate import PairedLoss, score_interval
from deepres.slim.page import write_page
from deepres.slim.speed import Speed


def one(name: str, times: float, lost: int, n: int = 20_000, **more: object) -> Candidate:
    low, high = score_interval(max(lost, 0), max(-lost, 0), n)
    speed = Speed(
        milliseconds=20 / times,
        images_per_second=50 * times,
        images_per_second_16=80 * times,
        times=times,
        times_16=times,
    )
    loss = None
    if name != INTACT:
        facts = {"figure": "error", "shares": True, "num_images": n, "intact": 0.05, "slim": 0.05 + lost / n}
        loss = PairedLoss(**facts, loss=lost / n, low=low, high=high)
    facts = {"file": "model.safetensors", "sha256": "0", "num_bytes": 1000, "figure": "error", "told": "5.00 %"}
    facts |= {"dropped": tuple(f"stage1.unit{n}" for n in range(int(name[5:])))} if name.startswith("drop-") else {}
    given = {"name": name, "speed": speed, "value": 0.05 + lost / n, "low": 0.04, "high": 0.06, "loss": loss}
    return Candidate.model_validate({**facts, **given, **more})


def frontier(*candidates: Candidate, max_loss: float = 0.5) -> Frontier:
    facts = {"key": {}, "network": "small", "images": "noise", "hardware": "here", "threads": 1, "versions": {}}
    return Frontier.model_validate({**facts, "command": "x", "candidates": candidates, "max_loss": max_loss})


TRIED = (
    one(INTACT, 1.0, 0),
    one("drop-1", 1.1, 10),
    one("drop-2", 1.2, 60),
    one("drop-4", 1.15, 70),  # beaten by drop-2
    one("drop-8", 2.0, 400),  # two points
)


def test_a_candidate_is_beaten_by_one_as_fast_that_loses_no_more() -> None:
    assert dominated(TRIED) == {"drop-4"}
    twice = (one("a", 1.5, 3), one("b", 1.5, 3))
    assert dominated(twice) == frozenset()
    assert dominated((*twice, one("c", 1.5, 2))) == {"a", "b"}


def names(*given: Candidate) -> list[str]:
    return [each.name for each in given if each.name != INTACT]


def test_the_fastest_that_loses_no_more_is_taken_and_with_a_target_the_most_accurate() -> None:
    assert choose(frontier(*TRIED), names(*TRIED), None, accept_uncertain=False)[0] == "drop-2"
    assert choose(frontier(*TRIED), ["drop-1"], None, accept_uncertain=False)[0] == "drop-1"
    assert choose(frontier(*TRIED), names(*TRIED), 18.5, accept_uncertain=False)[0] == "drop-1"
    assert choose(frontier(*TRIED), names(*TRIED), 17.0, accept_uncertain=False)[0] == "drop-2"
    assert choose(frontier(*TRIED, max_loss=3.0), names(*TRIED), None, accept_uncertain=False)[0] == "drop-8"


@pytest.mark.parametrize(
    ("candidates", "target", "message"),
    [
        (
            TRIED,
            12.0,
            r"^16.7 ms an image at batch 1 is the fastest of those that may be taken \(2 units out\), 12 ms were",
        ),
        (
            TRIED[-1:],
            None,
            r"^8 units out: error 7.00 % against 5.00 %, \+2.00 points .* more than 0.5 points \(--max-loss\)",
        ),
        ((one("drop-1", 1.1, 0, 100),), None, r"^1 unit out: error 5.00 % .* is not shown; give more held-out images"),
        (
            (one("int8", 0.9, 0, precision="int8", runtime="onnxruntime", times_float32=0.9),),
            None,
            r"^int8 by onnxruntime: 22.2 ms an image, 0.90 times as fast as the same network in float32 there, so slower",
        ),
    ],
)
def test_where_none_may_be_taken_the_nearest_is_told(
    candidates: tuple[Candidate, ...], target: float | None, message: str
) -> None:
    with pytest.raises(RunError, match=message) as refused:
        choose(frontier(*candidates), names(*candidates), target, accept_uncertain=False)
    assert refused.value.exit_code == 1
    assert "\n" not in refused.value.message


def test_what_is_not_shown_is_taken_where_that_is_accepted() -> None:
    few = (one("drop-1", 1.1, 0, 100), one("drop-2", 1.3, 0, 100))
    assert choose(frontier(*few), names(*few), None, accept_uncertain=True)[0] == "drop-2"


@pytest.mark.medium
def test_the_page_shows_every_candidate_and_greys_those_that_are_beaten(tmp_path: Path) -> None:
    found = frontier(*TRIED).replace(chosen="drop-2", why="it is", test="5.1 %")
    assert Frontier.model_validate_json(found.to_json()) == found
    write_page(tmp_path / "slim.html", found)
    page = (tmp_path / "slim.html").read_text()
    assert "var(--muted)" in page
    for cell in ("8 units out", "stage1.unit0, stage1.unit1", "+0.30", "+2.00", "failed", "passed", "drop-2: it is"):
        assert cell in page, cell
    write_page(tmp_path / "again.html", found)
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "slim.html").read_bytes()
