import pytest
import torch

from deepres.data.rng import generator, seeded


def test_a_generator_starts_where_its_seed_says() -> None:
    assert torch.equal(torch.rand(4, generator=generator(1, "a", 2)), torch.rand(4, generator=generator(1, "a", 2)))
    assert not torch.equal(torch.rand(4, generator=generator(1, "a", 2)), torch.rand(4, generator=generator(1, "a", 3)))


def test_the_global_generator_is_set_inside_and_put_back_outside() -> None:
    before = torch.get_rng_state()
    with seeded(7, "x"):
        first = torch.rand(3)
    torch.rand(1)
    torch.set_rng_state(before)
    with seeded(7, "x"):
        second = torch.rand(3)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_is_put_back_after_an_exception() -> None:
    @seeded(7)
    def fails() -> None:
        torch.rand(3)
        raise KeyError

    before = torch.get_rng_state()
    with pytest.raises(KeyError):
        fails()
    assert torch.equal(torch.get_rng_state(), before)
