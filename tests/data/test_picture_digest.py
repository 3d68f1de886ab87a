"""Digests of one picture: what is shown decides, not how many equal channels say it."""

import torch

from deepres.data.picture_digest import UNREAD, of_bytes, of_pixels


def test_three_equal_channels_are_the_grey_picture() -> None:
    grey = torch.randint(0, 256, (2, 1, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert of_pixels(grey) == of_pixels(grey.expand(2, 3, 5, 4))
    coloured = grey.repeat(1, 3, 1, 1)
    coloured[0, 2, 0, 0] ^= 1
    assert of_pixels(coloured)[0] != of_pixels(grey)[0]
    assert of_pixels(coloured)[1] == of_pixels(grey)[1]


def test_shape_counts_and_an_empty_file_is_unread() -> None:
    flat = torch.zeros(1, 1, 2, 6, dtype=torch.uint8)
    assert of_pixels(flat) != of_pixels(flat.reshape(1, 1, 3, 4))
    assert of_bytes(b"") == UNREAD != of_bytes(b"a")
    assert 0 < of_bytes(b"a") < 2**64
