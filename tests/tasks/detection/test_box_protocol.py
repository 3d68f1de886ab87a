"""How a detector is asked: spellings, one for each way; what is refused."""

import pytest

from deepres.base.errors import InputError
from deepres.data.transforms.config import Preparation
from deepres.tasks.detection.protocol import BoxProtocol, box_protocol

SIX_HUNDRED = Preparation(fit="sides", resize=600, longest=1000)


@pytest.mark.parametrize(
    ("text", "spelled", "found"),
    [
        ("center", "center", BoxProtocol()),
        ("boxes:refine", "boxes:refine", BoxProtocol(refine=True)),
        ("boxes:flip", "boxes:flip", BoxProtocol(mirror=True)),
        (
            "boxes:scales=200,400,600,800,1000",
            "boxes:scales=200,400,600,800,1000",
            BoxProtocol(scales=(200, 400, 600, 800, 1000)),
        ),
        (
            "boxes:scales=600,200+flip+refine",
            "boxes:refine+flip+scales=200,600",
            BoxProtocol(refine=True, mirror=True, scales=(200, 600)),
        ),
    ],
)
def test_each_way_has_one_spelling(text: str, spelled: str, found: BoxProtocol) -> None:
    assert box_protocol(text, SIX_HUNDRED) == found
    assert str(found) == spelled
    assert box_protocol(spelled, SIX_HUNDRED) == found
    assert (found.showing, found.num_pictures, found.num_views) == (None, 1, 1)
    assert found.is_plain == (text == "center")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ten-crop", "protocol ten-crop: for pictures of one answer; boxes are asked by center, boxes:refine"),
        ("boxes", "protocol boxes: for pictures of one answer"),
        ("boxes:", "switch"),
        ("boxes:refined", "refine"),
        ("boxes:flip+flip", "flip stands there twice"),
        ("boxes:refine=2", "wanted boxes:refine, boxes:flip"),
        ("boxes:scales", "wanted boxes:refine, boxes:flip"),
        ("boxes:scales=", "wanted short sides in px, up to 2457 of pictures 1.67 times as long as high"),
        ("boxes:scales=0", "wanted short sides in px"),
        ("boxes:scales=2458", "wanted short sides in px"),
        ("boxes:scales=200,٣00", "wanted short sides in px"),
        ("boxes:scales=200,200", "a scale stands there twice"),
        ("boxes:scales=" + ",".join(map(str, range(1, 18))), "17 scales; wanted 16 at most"),
    ],
)
def test_others_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        box_protocol(text, SIX_HUNDRED)


def test_the_long_side_goes_with_the_short_one_and_the_own_size_is_not_prepared_twice() -> None:
    others = box_protocol("boxes:scales=200,600,1000", SIX_HUNDRED).beside(SIX_HUNDRED)
    assert [(one.resize, one.longest) for one in others] == [(200, 333), (1000, 1667)]
    assert box_protocol("boxes:scales=600", SIX_HUNDRED).beside(SIX_HUNDRED) == ()
    assert box_protocol("boxes:refine+flip", SIX_HUNDRED).beside(SIX_HUNDRED) == ()


def test_what_is_done_is_told_in_words() -> None:
    assert BoxProtocol().sentence(SIX_HUNDRED) == "the whole image, short side 600, long side 1000 at most"
    told = box_protocol("boxes:refine+flip+scales=200,400", SIX_HUNDRED).sentence(SIX_HUNDRED)
    for part in ("short sides of 200, 400 px, each in two neighbouring ones", "its mirror too", "then voted"):
        assert part in told
    assert "each in that one" in box_protocol("boxes:scales=400", SIX_HUNDRED).sentence(SIX_HUNDRED)
