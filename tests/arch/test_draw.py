from xml.etree import ElementTree

from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost
from deepres.arch.readings.draw import rows, svg, text


def test_rows_share_out_the_whole_cost() -> None:
    net = architecture("resnet34_c")
    assert sum(row.cost.parameters for row in rows(net)) == cost(net).parameters
    assert sum(row.cost.macs for row in rows(net)) == cost(net).macs


def test_equal_units_stand_in_one_row() -> None:
    table = text(architecture("resnet1202_cifar"))
    assert "stage1.unit1 … unit200" in table
    assert "[3x3 16, 3x3 16] x 200" in table
    assert len(table.splitlines()) == 8


def test_a_plain_network_has_no_shortcut_to_draw() -> None:
    assert all(row.shortcut is None for row in rows(architecture("plain20_cifar")))


def test_the_drawing_is_well_formed_and_has_an_arc_for_each_residual_row() -> None:
    drawing = ElementTree.fromstring(svg(architecture("resnet50")))
    arcs = drawing.findall("{http://www.w3.org/2000/svg}path")
    assert len(arcs) == sum(row.shortcut is not None for row in rows(architecture("resnet50"))) == 8
