import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepres.base.seeds import derive

NAMES = st.lists(st.one_of(st.text(max_size=5), st.integers(0, 20)), max_size=3)


@pytest.mark.medium
@given(st.integers(0, 9), NAMES, st.integers(0, 9), NAMES)
def test_seeds_are_equal_exactly_where_their_names_are(seed: int, names: list, other: int, others: list) -> None:
    same = seed == other and [(type(n), n) for n in names] == [(type(n), n) for n in others]
    separators = any(isinstance(n, str) and "\x1f" in n for n in (*names, *others))
    assert separators or (derive(seed, *names) == derive(other, *others)) == same


def test_a_seed_is_the_same_on_every_machine_and_in_every_process() -> None:
    assert derive(0, "crops", 7) == 6_827_807_396_577_345_724
