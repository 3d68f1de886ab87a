"""How a detector is asked about a picture beyond one look at it (He et al. 2015, appendix B), and how that is spelled.

| spelling                    | what is done                                                                          |
| --------------------------- | ------------------------------------------------------------------------------------- |
| center                      | one look at the picture as it was trained on                                          |
| boxes:refine                | boxes looked at again where they were moved to, all thinned at an IoU of .3 and voted |
| boxes:flip                  | the mirrored picture too: proposals of both, scores and boxes averaged (ours)         |
| boxes:scales=200,400,600    | each region in the two neighbouring sizes that suit it, features merged by maximum    |
| boxes:refine+flip+scales=…  | several of these, in any order                                                        |

Scales are short sides in px; the long side may be as long in proportion as the weights' own preparation lets it (ours).
Regions are proposed at the preparation's own size alone. The two sizes of a region are those between which it would
have a side (the root of its area) of 224 px, as in the paper that is referred to for them (arXiv 1504.06066; 224 px:
He et al. 2014, section 3.1). Loads no torch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from deepres.base.errors import InputError, unknown
from deepres.base.records import Record
from deepres.data.transforms.config import Preparation
from deepres.tasks.task import Average

if TYPE_CHECKING:
    from torch import nn

    from deepres.data.transforms.statistics import Statistics
    from deepres.tasks.together import Participant

LARGEST = 4096
PLAIN = "center"
SWITCHES = ("refine", "flip", "scales")
EXAMPLE = "boxes:refine, boxes:flip, boxes:scales=200,400,600, or several with + between them"


class BoxProtocol(Record):
    """What is done beyond one look; `scales` are short sides in px from the smallest on, none: the preparation's own.

    The evaluator shows a network one picture of an image: what else it looks at is its own affair.
    """

    refine: bool = False
    mirror: bool = False
    scales: Annotated[tuple[int, ...], Field(max_length=16)] = ()

    showing: None = None
    num_pictures: int = 1
    num_views: int = 1
    average: Average = "probability"

    def __str__(self) -> str:
        """The spelling, in one order."""
        scales = f"scales={','.join(map(str, self.scales))}" if self.scales else ""
        asked = ["refine" if self.refine else "", "flip" if self.mirror else "", scales]
        return f"boxes:{'+'.join(filter(None, asked))}" if any(asked) else PLAIN

    @property
    def is_plain(self) -> bool:
        """Whether it is one look."""
        return str(self) == PLAIN

    def beside(self, preparation: Preparation) -> tuple[Preparation, ...]:
        """How the pictures of each scale are prepared but of the preparation's own, from the smallest on."""
        short, longest = preparation.resize, preparation.longest
        assert short is not None
        assert longest is not None
        others = [side for side in self.scales if side != short]
        return tuple(preparation.replace(resize=side, longest=round(longest * side / short)) for side in others)

    def sentence(self, preparation: Preparation) -> str:
        """What is done, in words."""
        told = f"the whole image, short side {preparation.resize}, long side {preparation.longest} at most"
        if self.scales:
            sides = ", ".join(map(str, self.scales))
            both = "two neighbouring ones, features merged by maximum" if len(self.scales) > 1 else "that one"
            told += f"; regions looked at in short sides of {sides} px, each in {both}"
        told += "; its mirror too, scores and boxes averaged" if self.mirror else ""
        again = "; boxes looked at again where they were moved to, thinned at an overlap of .3, then voted"
        return told + (again if self.refine else "")

    def together(self, asked: "Sequence[Participant]") -> "tuple[nn.Module, list[tuple[Preparation, Statistics]]]":
        """One that looks once answers as ever; else `looking.py`."""
        from deepres.tasks.detection.looking import jointly

        if self.is_plain and len(asked) == 1:
            return asked[0].network, [(asked[0].preparation, asked[0].statistics)]
        return jointly(asked, self)


def box_protocol(text: str, preparation: Preparation) -> BoxProtocol:
    """The protocol of that spelling, for weights that want `preparation`.

    Raises:
        InputError: another spelling; a scale that no picture can have.
    """
    if text == PLAIN:
        return BoxProtocol()
    name, colon, rest = text.partition(":")
    if name != "boxes" or not colon:
        raise InputError(f"protocol {text}: for pictures of one answer; boxes are asked by {PLAIN}, {EXAMPLE}")
    asked: dict[str, str] = {}
    for word in rest.split("+"):
        switch, equals, value = word.partition("=")
        if switch not in SWITCHES:
            raise unknown(f"protocol {text}: switch", switch, SWITCHES)
        if switch in asked:
            raise InputError(f"protocol {text}: {switch} stands there twice; name each once")
        if bool(equals) != (switch == "scales"):
            raise InputError(f"protocol {text}: wanted {EXAMPLE}")
        asked[switch] = value
    scales = _sides(asked["scales"], text, preparation) if "scales" in asked else ()
    return BoxProtocol(refine="refine" in asked, mirror="flip" in asked, scales=scales)


def _sides(value: str, text: str, preparation: Preparation) -> tuple[int, ...]:
    short, longest = preparation.resize or 1, preparation.longest or 1
    parts = value.split(",")
    most = LARGEST * short // longest
    if not all(part.isascii() and part.isdigit() and len(part) < 6 and 1 <= int(part) <= most for part in parts):
        raise InputError(
            f"protocol {text}: wanted short sides in px, up to {most} of pictures {longest / short:.3g} times as long "
            "as high, such as boxes:scales=200,400,600"
        )
    sides = sorted(map(int, parts))
    if len(set(sides)) < len(sides):
        raise InputError(f"protocol {text}: a scale stands there twice; name each once")
    if len(sides) > 16:
        raise InputError(f"protocol {text}: {len(sides)} scales; wanted 16 at most")
    return tuple(sides)
