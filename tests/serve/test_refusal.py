"""A refusal is one line with a status."""

from deepres.serve.refusal import RefusedError, busy


def test_a_refusal_is_one_line_whatever_names_hold() -> None:
    refusal = RefusedError(422, "a\nb.png: not an image")
    assert (refusal.status, refusal.message, refusal.headers) == (422, "a\\nb.png: not an image", {})


def test_who_comes_too_early_is_told_when_to_come_again() -> None:
    refusal = busy("full", 3)
    assert (refusal.status, refusal.headers) == (503, {"Retry-After": "3"})
