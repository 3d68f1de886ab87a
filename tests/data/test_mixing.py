import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepres.data.transforms.mixing import mix

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 1, 1])


@pytest.mark.medium
@given(step=st.integers(0, 10_000), mixup=st.sampled_from([0.0, 0.2, 1.0]), cutmix=st.sampled_from([0.0, 1.0]))
def test_label_shares_sum_to_one(step: int, mixup: float, cutmix: float) -> None:
    _, shares = mix(IMAGES, LABELS, 5, mixup=mixup, cutmix=cutmix, seed=3, step=step)
    assert shares.dtype == torch.float32
    assert shares.shape == (6, 5)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))


@pytest.mark.parametrize("step", range(5))
def test_mixup_mixes_images_in_the_labels_proportion(step: int) -> None:
    images, shares = mix(IMAGES, torch.arange(6), 6, mixup=1.0, cutmix=0, seed=3, step=step)
    for i in range(6):
        share = shares[i, i]
        torch.testing.assert_close(images[i], share * IMAGES[i] + shares[i, i - 1] * IMAGES[i - 1])


@pytest.mark.parametrize("step", range(5))
def test_cutmix_pastes_a_box_of_the_labels_share(step: int) -> None:
    images, shares = mix(IMAGES, torch.arange(6), 6, mixup=0, cutmix=1.0, seed=3, step=step)
    own = (images == IMAGES).all(1)
    other = (images == IMAGES.roll(1, 0)).all(1)
    assert bool((own | other).all())
    torch.testing.assert_close(own.float().mean((1, 2)), shares.diagonal())


def test_equal_steps_mix_equally_and_others_otherwise() -> None:
    before = torch.get_rng_state()
    first, again, later = (mix(IMAGES, LABELS, 5, mixup=1.0, cutmix=0, seed=3, step=step)[0] for step in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.medium
def test_with_both_on_each_has_its_turn() -> None:
    pasted = 0
    for step in range(200):
        images, _ = mix(IMAGES, LABELS, 5, mixup=1.0, cutmix=1.0, seed=3, step=step)
        pasted += bool(((images == IMAGES) | (images == IMAGES.roll(1, 0))).all())
    assert 70 < pasted < 130


def test_with_both_off_the_labels_are_one_hot() -> None:
    images, shares = mix(IMAGES, LABELS, 5, mixup=0, cutmix=0, seed=3, step=0)
    assert torch.equal(images, IMAGES)
    assert torch.equal(shares, torch.eye(5)[LABELS])
