import torch
from hypothesis import given
from hypothesis import strategies as st

from deepres.data.loading.sampler import batch_at, permutation, repeated

SIZES = st.integers(1, 40)


@given(n=SIZES, batch_size=SIZES, seed=st.integers(0, 9))
def test_every_epoch_of_the_stream_holds_each_image_once(n: int, batch_size: int, seed: int) -> None:
    steps = -(-3 * n // batch_size)
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


@given(n=SIZES, distinct=SIZES, times=st.integers(1, 5), step=st.integers(0, 20))
def test_repeated_images_stand_in_a_row_at_places_of_their_own(n: int, distinct: int, times: int, step: int) -> None:
    plain = batch_at(step, distinct, n, seed=3)
    indices, places = repeated(plain, step, times)
    assert indices.tolist() == [index for index in plain.indices.tolist() for _ in range(times)]
    assert places.tolist() == [step * distinct * times + j for j in range(distinct * times)]
    assert repeated(plain, step, 1).indices.tolist() == plain.indices.tolist()


def test_orders_differ_between_epochs_and_seeds_and_not_between_calls() -> None:
    orders = [permutation(seed, epoch, 100).tolist() for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert len({tuple(order) for order in orders}) == 3
    first = permutation(0, 0, 100).clone()
    permutation.cache_clear()
    assert torch.equal(permutation(0, 0, 100), first)


def test_the_global_generator_is_not_needed() -> None:
    permutation.cache_clear()
    before = torch.get_rng_state()
    batch_at(0, 10, 30, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
