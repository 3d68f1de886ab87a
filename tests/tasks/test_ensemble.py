"""Several networks as one: mean of probabilities, alignment by class and image, greedy choice, votes."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages
from deepres.tasks.classification.ensemble import select, vote
from deepres.tasks.classification.metrics import Measures
from deepres.tasks.classification.result import concluded
from deepres.tasks.ensemble import Member, together

CLASSES = ("ant", "bee", "cat")


def member(
    name: str, logits: Tensor, classes: tuple[str, ...] = CLASSES, address: str = "set/val", keep: bool = True
) -> Member:
    """Answers to as many images as there are rows; the truth is 0, 1, 2, 0, … in the order of CLASSES."""
    truth = torch.tensor(
        [classes.index(CLASSES[i % 3]) if CLASSES[i % 3] in classes else 0 for i in range(len(logits))]
    )
    images = ArrayImages(torch.zeros(len(logits), 1, 1, 1, dtype=torch.uint8), truth, classes, address)
    measures = Measures(keep_scores=keep)
    measures.update(logits, truth, torch.arange(len(logits)))
    facts = {"split": "val", "protocol": "center", "skipped": (), "seconds": 1.0, "provenance": {"source": "set"}}
    return Member(name, concluded(measures.answers(), images, facts), images)


def draw(seed: int, count: int = 60, strength: float = 1.0) -> Tensor:
    logits = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    logits[torch.arange(count), torch.arange(count) % 3] += strength
    return logits


def test_an_ensemble_of_one_is_the_member() -> None:
    alone = member("a", draw(0))
    found = together([alone], {})
    assert found.result.confusion == alone.evaluation.result.confusion
    assert found.result.num_wrong == alone.evaluation.result.num_wrong > 0
    assert found.result.cross_entropy == pytest.approx(alone.evaluation.result.cross_entropy, rel=1e-12)
    assert [w.index for w in found.result.worst] == [w.index for w in alone.evaluation.result.worst]


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    drawn = [draw(seed) for seed in range(3)]
    found = together([member(str(i), logits) for i, logits in enumerate(drawn)], {"model": "three"})
    mean = torch.stack([logits.double().softmax(1) for logits in drawn]).mean(0)
    assert found.predictions.scores is not None
    torch.testing.assert_close(found.predictions.scores.exp(), mean, rtol=1e-12, atol=1e-12)
    assert found.result.num_wrong == int((mean.argmax(1) != torch.arange(60) % 3).sum())
    assert found.result.seconds == 3
    assert found.result.provenance == {"model": "three"}


def test_classes_are_matched_by_name() -> None:
    logits, order = draw(0), [2, 0, 1]
    other = member("b", logits[:, order], tuple(CLASSES[i] for i in order))
    assert (
        together([member("a", logits), other], {}).result.confusion == member("a", logits).evaluation.result.confusion
    )


def test_other_classes_other_images_and_lost_scores_are_refused() -> None:
    first = member("a", draw(0))
    with pytest.raises(
        InputError,
        match=r"^b knows 3 classes \(ant, bee, dog\), a 3 classes \(ant, bee, cat\); members of an ensemble need the same "
        r"classes$",
    ):
        together([first, member("b", draw(1), ("ant", "bee", "dog"))], {})
    with pytest.raises(
        InputError,
        match=r"^b is measured on 60 images \(val of set\), a on others, 60 images \(val of set\); name one SOURCE for all$",
    ):
        together([first, member("b", draw(1), address="other/val")], {})
    with pytest.raises(InputError, match=r"^b is measured on 30 images"):
        together([first, member("b", draw(1, 30))], {})
    with pytest.raises(
        InputError, match=r"^ensemble: wanted the scores of all classes; evaluate with keep_scores=True"
    ):
        together([member("a", draw(0), keep=False)], {})


def test_greedy_choice_takes_what_lowers_the_error_and_stops() -> None:
    sure = torch.eye(3).repeat(4, 1) * 9  # right everywhere
    good, better, useless = sure.clone(), sure.clone(), sure.clone()
    good[:3] = sure[:3].roll(1, 1) * 0.5  # three wrong, and not sure of it
    better[3:5] = sure[3:5].roll(1, 1) * 0.5  # two others wrong
    useless[:] = 0.0  # says nothing, and takes the first class everywhere
    members = [member("useless", useless), member("good", good), member("better", better), member("same", better)]
    found = select(members)
    assert found.chosen == ("better", "good")
    assert found.errors == (2 / 12, 0.0)
    assert found.left_out == ("useless", "same")
    assert str(found) == "chosen on 12 images of val: better (16.67 %), good (0.00 %); left out: useless, same"


def test_of_equal_errors_the_lower_cross_entropy_is_taken() -> None:
    logits = draw(0)
    assert select([member("vague", logits * 0.5), member("sure", logits), member("vaguer", logits * 0.1)]).chosen == (
        "sure",
    )


def test_greedy_errors_fall_and_are_those_of_the_ensemble_so_far() -> None:
    members = {str(seed): member(str(seed), draw(seed, 300)) for seed in range(5)}
    found = select(list(members.values()))
    assert list(found.errors) == sorted(found.errors, reverse=True)
    assert len(set(found.errors)) == len(found.errors) > 1
    assert found.errors[0] == min(one.evaluation.result.error for one in members.values())
    for count, error in enumerate(found.errors, 1):
        assert together([members[name] for name in found.chosen[:count]], {}).result.error == error
    for name in found.left_out:
        taken = [members[each] for each in (*found.chosen, name)]
        assert together(taken, {}).result.error >= found.errors[-1]


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 10_000))
@pytest.mark.medium
def test_a_vote_is_the_class_named_most_often(num_members: int, num_classes: int, seed: int) -> None:
    drawn = torch.randint(num_classes, (num_members, 8), generator=torch.Generator().manual_seed(seed))
    for column, found in zip(drawn.T.tolist(), vote(drawn, num_classes).tolist(), strict=True):
        count = Counter(column)
        assert found == next(each for each in column if count[each] == max(count.values()))
