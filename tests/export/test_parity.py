from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_run import noise
from torch import Tensor, nn

from deepres.base.errors import InputError, RunError
from deepres.data.decode import BadImageError
from deepres.export.facts import bundle_of
from deepres.export.parity import Parity, compared
from deepres.export.whole import whole
from deepres.predict.pictures import Picture
from deepres.predict.predictor import Predictor
from deepres.tasks.multilabel.task import Thresholds

Loaded = Callable[..., Predictor]
PICTURES = [Picture(f"a/b/{at}.png", lambda pixels=pixels: pixels) for at, pixels in enumerate(noise(64, 30, 24))]


def _of(predictor: Predictor, change: Callable[[Tensor], Tensor] = lambda y: y, pictures: Any = PICTURES) -> Parity:
    module = whole(predictor)
    with torch.inference_mode():
        return compared(predictor, lambda images: change(module(images)), pictures, bundle_of(predictor, "none"))


@pytest.mark.medium
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_network_and_what_stands_around_it_as_one_module_answer_alike(loaded: Loaded, task: str) -> None:
    found = _of(loaded(task))
    assert found.images == 64
    assert 0 < found.mean_difference <= found.max_difference < 1e-4
    assert found.agreement == (None if task == "regression" else 1)
    found.require_small("x")


@pytest.mark.medium
def test_numbers_are_compared_in_standard_deviations(loaded: Loaded) -> None:
    found = _of(loaded("regression"), lambda y: y + torch.tensor([0.0, 0.0, 0.01]))
    assert found.max_difference == pytest.approx(0.1, abs=1e-3)  # of a column whose deviation is 0.1
    with pytest.raises(RunError, match="answers otherwise"):
        found.require_small("x")


@pytest.mark.medium
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_wrong_mean_does_not_pass(loaded: Loaded, task: str) -> None:
    predictor = loaded(task)
    module = whole(predictor)
    module.mean += 0.2
    with torch.inference_mode():
        found = compared(predictor, module, PICTURES, bundle_of(predictor, "none"))
    with pytest.raises(
        RunError, match=r"x: the file answers otherwise than its network: 64 images, .*nothing was written"
    ):
        found.require_small("x")


class _Saying(nn.Module):
    """A network of these probabilities, at the run's temperature."""

    def __init__(self, predictor: Predictor, p: Tensor) -> None:
        super().__init__()
        self.description, self.logits = predictor.network.description, p.log() * 0.7

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


class _Logits(_Saying):
    """A network of these logits."""

    def __init__(self, predictor: Predictor, logits: Tensor) -> None:
        super().__init__(predictor, logits)
        self.logits = logits


@pytest.mark.parametrize(
    ("says", "file", "passes"),
    [
        ([0.395, 0.405, 0.2], [0.402, 0.398, 0.2], True),
        ([0.398, 0.402, 0.2], [0.409, 0.391, 0.2], False),  # more than 0.01
        ([0.35, 0.45, 0.2], [0.45, 0.35, 0.2], False),  # a clear call
    ],
)
@pytest.mark.medium
def test_a_call_that_turns_is_listed_with_its_margin_and_passes_if_it_was_close(
    loaded: Loaded, says: list[float], file: list[float], passes: bool
) -> None:
    predictor, p = loaded("classification"), torch.tensor([says])
    close = replace(predictor, network=_Saying(predictor, p))
    found = compared(close, lambda _: torch.tensor([file]), PICTURES, bundle_of(predictor, "none"))
    assert (len(found.differing), found.agreement) == (64, 0)
    first = found.differing[0]
    assert (first.image, first.network, first.file) == ("b/0.png", "bee", "ant")
    assert first.margin == pytest.approx(says[1] - says[0], abs=1e-5)
    if passes:
        found.require_small("x")
    else:
        with pytest.raises(RunError, match="answers otherwise"):
            found.require_small("x")


@pytest.mark.medium
def test_a_label_turns_at_its_own_threshold(loaded: Loaded) -> None:
    predictor = loaded("multilabel")
    limits = Thresholds(values=(0.2, 0.9, 0.5), chosen=2, found_on="val", images=9)
    predictor = replace(predictor, task=predictor.task.model_copy(update={"thresholds": limits}))
    own, other = torch.tensor([[0.195, 0.895, 0.4]]), torch.tensor([[0.203, 0.895, 0.4]])
    moved = compared(
        replace(predictor, network=_Logits(predictor, own.logit())),
        lambda _: other,
        PICTURES,
        bundle_of(predictor, "none"),
    )
    assert (len(moved.differing), moved.agreement) == (64, 0)
    assert (moved.differing[0].network, moved.differing[0].file) == ("none", "ant")
    assert moved.differing[0].margin == pytest.approx(0.005, abs=1e-5)


@pytest.mark.medium
def test_unreadable_pictures_are_passed_over_and_named_and_too_few_are_refused(loaded: Loaded) -> None:
    def broken() -> Tensor:
        raise BadImageError("bad.png: broken")

    predictor = loaded("classification")
    assert _of(predictor, pictures=[Picture("bad.png", broken), *PICTURES]).unread == ("bad.png",)
    with pytest.raises(InputError, match=r"63 images to compare the file on, wanted 64 .*--check-images.*--no-check"):
        _of(predictor, pictures=PICTURES[1:])
