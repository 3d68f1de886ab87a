from hypothesis import given, settings
from hypothesis import strategies as st

from deepres.arch.algebra import Sequence
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.cost import Field, cost, cost_of, receptive_field


def test_a_network_costs_what_its_parts_cost() -> None:
    whole = architecture("resnet50")
    body = cost_of(Sequence(parts=whole.body), whole.input)
    assert body + cost_of(whole.head, (2048, 7, 7)) == cost(whole)


def test_the_receptive_fields_known_from_the_field() -> None:
    # Araujo, Norris & Sim 2019: resnet_v1_50 sees 483 px and resnet_v1_101 1027 px, at stride 32
    assert receptive_field(architecture("resnet50_v1")) == Field(483, 32)
    assert receptive_field(architecture("resnet101_v1")) == Field(1027, 32)


@given(st.integers(1, 4), st.integers(1, 8), st.sampled_from(["none", "A", "B", "C"]))
@settings(max_examples=25, deadline=None)
def test_the_shortcuts_of_the_paper_differ_by_their_projections_alone(depth: int, width: int, option: str) -> None:
    def counted(shortcut: str) -> int:
        fields = {"name": "x", "depths": (depth, depth), "widths": (width, 2 * width), "stem_width": width}
        return cost(
            ResNetConfig.model_validate({**fields, "shortcut": shortcut, "num_classes": 2}).architecture()
        ).parameters

    projections = 2 * width * width + 4 * width
    everywhere = projections + depth * (width * width + 2 * width) + (depth - 1) * (4 * width * width + 4 * width)
    expected = {"none": 0, "A": 0, "B": projections, "C": everywhere}[option]
    assert counted(option) - counted("none") == expected
