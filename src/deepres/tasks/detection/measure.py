"""How boxes are measured, by name and in words; what is shown of them. Loads no torch."""

from typing import Literal

Measure = Literal["coco", "voc07", "voc", "masks"]
"""COCO's AP, VOC's of 2007 (11 recalls), VOC's from 2010 on (the area), COCO's of masks."""

COCOS: tuple[Measure, ...] = ("coco", "masks")
"""Those with COCO's twelve figures."""

TOLD: dict[Measure, str] = {
    "coco": "COCO's: the mean over overlaps of .5 to .95",
    "masks": "COCO's, of masks: the mean over overlaps of .5 to .95 of their pixels",
    "voc07": "VOC 2007's: the mean precision at 11 recalls, at an overlap of .5",
    "voc": "VOC's from 2010 on: the area below precision against recall, at an overlap of .5",
}

SHOWN_ABOVE = 0.5
"""The score from which on a box is shown; it is in no measure."""

OVERLAP = 0.5
"""The intersection / union from which on a box that is shown has found an object."""
