"""How boxes are measured, by name and in words; what is shown of them. Loads no torch."""

from typing import Literal

Measure = Literal["coco", "voc07", "voc"]
"""COCO's AP, VOC's of 2007 (11 recalls), VOC's from 2010 on (the area)."""

TOLD: dict[Measure, str] = {
    "coco": "COCO's: the mean over overlaps of .5 to .95",
    "voc07": "VOC 2007's: the mean precision at 11 recalls, at an overlap of .5",
    "voc": "VOC's from 2010 on: the area below precision against recall, at an overlap of .5",
}

SHOWN_ABOVE = 0.5
"""The score from which on a box is shown; it is in no measure."""

OVERLAP = 0.5
"""The intersection / union from which on a box that is shown has found an object."""
