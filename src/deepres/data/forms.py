"""The forms that targets have, by name, for descriptions that are read without torch; what they are: targets.py."""

from typing import Literal

FormName = Literal["class", "classes", "numbers", "boxes"]

TOLD: dict[FormName, str] = {
    "class": "one class an image",
    "classes": "several classes an image",
    "numbers": "numbers of an image",
    "boxes": "boxes of objects",
}
"""What an image has, in words."""

MOVING: frozenset[FormName] = frozenset({"boxes"})
"""Those that lie in the picture: it keeps its shape, and they move with its pixels."""
