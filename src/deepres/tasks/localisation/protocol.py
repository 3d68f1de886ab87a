"""How a localiser is asked about a picture, and how that is spelled; no torch.

| spelling          | what is done                                                                            |
| ----------------- | --------------------------------------------------------------------------------------- |
| center            | one look at the part of the picture that the weights' own preparation shows             |
| dense:224,256,384 | whole pictures of these short sides, fully convolutionally (He et al. 2015, appendix C) |

Of several sizes, and of several localisers, a class has the box of the highest score in any of them; the paper does not
say how it joins them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.data.transforms.config import Preparation
from deepres.tasks.task import Average

if TYPE_CHECKING:
    from torch import nn

    from deepres.data.transforms.statistics import Statistics
    from deepres.tasks.together import Participant

PLAIN = "center"
EXAMPLE = "center, or dense:224,256,384,480,640"
PAPERS = (224, 256, 384, 480, 640)
"""Short sides of the paper's dense testing of classification (section 4.1); of localisation it names none."""
_LARGEST = 1024


class LocalisationProtocol(Record):
    """`scales` are short sides in px of whole pictures; none: the preparation's own view."""

    scales: Annotated[tuple[int, ...], Field(max_length=16)] = ()

    showing: None = None
    num_pictures: int = 1
    num_views: int = 1
    average: Average = "probability"

    def __str__(self) -> str:
        return f"dense:{','.join(map(str, self.scales))}" if self.scales else PLAIN

    def sentence(self, preparation: Preparation) -> str:
        """What is shown, in words."""
        if not self.scales and preparation.fit == "sides":
            return f"the whole image, short side {preparation.resize}, long side {preparation.longest} at most"
        if not self.scales:
            return f"the central {preparation.crop} x {preparation.crop} of short side {preparation.resize}"
        told = ", ".join(map(str, self.scales))
        return f"the whole image, short side {told} px; of each class the box of the highest score"

    def together(self, asked: "Sequence[Participant]") -> "tuple[nn.Module, list[tuple[Preparation, Statistics]]]":
        """One that looks once answers as ever; else `guessing.py`, each in pictures as it wants them."""
        from deepres.tasks.localisation.guessing import Guesser, GuessingTogether, sides

        if not self.scales and len(asked) == 1:
            return asked[0].network, [(asked[0].preparation, asked[0].statistics)]
        members: list[Guesser] = []
        pictures: list[tuple[Preparation, Statistics]] = []
        for one in asked:
            views = [sides(one.preparation, scale) for scale in self.scales] or [one.preparation]
            places = tuple(range(len(pictures), len(pictures) + len(views)))
            pictures += [(view, one.statistics) for view in views]
            members.append(Guesser(one.task, one.network, places, tuple(one.order)))
        return GuessingTogether(members), pictures


def localisation_protocol(text: str, *, of_regions: bool = False) -> LocalisationProtocol:
    """The protocol of that spelling; a network of regions sees whole pictures already.

    Raises:
        InputError: another one.
    """
    if text == PLAIN:
        return LocalisationProtocol()
    if of_regions:
        raise InputError(f"protocol {text}: of a localiser that looks at regions; wanted {PLAIN}")
    name, colon, rest = text.partition(":")
    if name != "dense":
        raise InputError(f"protocol {text}: of a localiser; wanted {EXAMPLE}")
    if not colon:
        return LocalisationProtocol(scales=PAPERS)
    parts = rest.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 6 and 1 <= int(part) <= _LARGEST for part in parts):
        raise InputError(f"protocol {text}: wanted short sides in px up to {_LARGEST}, such as dense:224,256,384")
    scales = tuple(sorted(map(int, parts)))
    if len(set(scales)) < len(scales) or len(scales) > 16:
        raise InputError(f"protocol {text}: wanted up to 16 different scales; name each once")
    return LocalisationProtocol(scales=scales)
