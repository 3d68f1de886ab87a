import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepres.data.loading.sampler import batch_at, epoch_ends, permutation, steps_in

SIZES = st.integers(1, 40)


@given(n=SIZES, batch_size=SIZES, seed=st.integers(0, 9))
def test_every_epoch_of_the_stream_holds_each_image_once(n: int, batch_size: int, seed: int) -> None:
    steps = steps_in(3, n, batch_size)
    stream = torch.cat([batch_at(step, batch_size, n, seed).indices for step in range(steps)])
    assert len(stream) == steps * batch_size
    for epoch in range(3):
        assert stream[epoch * n : (epoch + 1) * n].sort().values.tolist() == list(range(n))


@given(n=SIZES, batch_size=SIZES, step=st.integers(0, 30))
def test_a_batch_equals_a_slow_walk_along_the_stream(n: int, batch_size: int, step: int) -> None:
    indices, places = batch_at(step, batch_size, n, seed=5)
    assert places.tolist() == [step * batch_size + j for j in range(batch_size)]
    assert indices.tolist() == [int(permutation(5, place // n, n)[place % n]) for place in places.tolist()]
    assert indices.dtype == torch.int64


@given(n=SIZES, share=SIZES, world=st.integers(1, 4), step=st.integers(0, 10))
def test_the_ranks_slices_make_up_the_global_batch(n: int, share: int, world: int, step: int) -> None:
    whole = batch_at(step, share * world, n, seed=2)
    parts = [batch_at(step, share * world, n, seed=2, rank=rank, world=world) for rank in range(world)]
    assert torch.equal(torch.cat([part.indices for part in parts]), whole.indices)
    assert torch.equal(torch.cat([part.places for part in parts]), whole.places)


@given(epochs=st.integers(1, 6), n=SIZES, batch_size=SIZES)
def test_an_epoch_ends_with_the_first_step_that_completes_it(epochs: int, n: int, batch_size: int) -> None:
    for epoch, step in enumerate(epoch_ends(epochs, n, batch_size)):
        assert step * batch_size >= (epoch + 1) * n > (step - 1) * batch_size
    assert epoch_ends(epochs, n, batch_size)[-1] == steps_in(epochs, n, batch_size)


def test_orders_differ_between_epochs_and_seeds_and_not_between_calls() -> None:
    orders = [permutation(seed, epoch, 100).tolist() for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert len({tuple(order) for order in orders}) == 3
    first = permutation(0, 0, 100).clone()
    permutation.cache_clear()
    assert torch.equal(permutation(0, 0, 100), first)


def test_without_shuffling_the_sets_own_order_repeats() -> None:
    assert batch_at(1, 4, 3, seed=0, shuffle=False).indices.tolist() == [1, 2, 0, 1]


def test_the_global_generator_is_not_needed() -> None:
    permutation.cache_clear()
    before = torch.get_rng_state()
    batch_at(0, 10, 30, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("epochs", "n", "batch_size", "steps"), [(1, 50_000, 128, 391), (2, 50_000, 128, 782), (1, 3, 8, 1)]
)
def test_steps_of_known_runs(epochs: int, n: int, batch_size: int, steps: int) -> None:
    assert steps_in(epochs, n, batch_size) == steps
