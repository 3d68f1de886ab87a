"""Boxes drawn by chance: truth, and detections that are near it, doubled, or nowhere."""

from typing import Any

import numpy as np

from deepres.tasks.detection.detections import Detections, Truth


def drawn(
    images: int = 20, classes: int = 4, seed: int = 0, tied: bool = False, crowds: float = 0.1
) -> tuple[Detections, Truth]:
    """Some pictures have no object, some no detection; the last class has none of either."""
    draw = np.random.default_rng(seed)
    truth, found = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    for image in range(images):
        for _ in range(int(draw.integers(0, 6))):
            low, side = draw.uniform(0, 200, 2), draw.uniform(4, 150, 2)
            of_class, ignored = int(draw.integers(classes - 1)), bool(draw.random() < crowds)
            truth.append((image, [*low, *low + side], of_class, ignored, side.prod() * draw.uniform(0.6, 1)))
            for _ in range(int(draw.integers(0, 4))):
                moved = np.array([*low, *low + side]) + draw.normal(0, 8, 4)
                moved = np.array([*np.minimum(moved[:2], moved[2:]), *np.maximum(moved[:2], moved[2:])])
                found.append((image, moved, of_class if draw.random() < 0.8 else 0, draw.random()))
        for _ in range(int(draw.integers(0, 5)) if image % 5 else 0):
            low = draw.uniform(0, 200, 2)
            found.append((image, [*low, *low + draw.uniform(4, 90, 2)], int(draw.integers(classes - 1)), draw.random()))
    names = ("image", "corners", "classes", "ignored", "areas")
    own = {name: np.array([row[at] for row in truth]) for at, name in enumerate(names)}
    names = ("image", "corners", "classes", "scores")
    boxes = {name: np.array([row[at] for row in found]) for at, name in enumerate(names)}
    if tied:
        boxes["scores"] = np.round(boxes["scores"], 1)
    return Detections.of(boxes), Truth.of(own)
