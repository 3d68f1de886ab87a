"""Texts on plots are what they say: names from outside are no formulae, whatever stands between two dollars."""

from matplotlib.figure import Figure
from matplotlib.text import Text


def literal(figure: Figure) -> Figure:
    """The figure, none of whose texts is read as mathematics but the powers of ten along logarithmic axes."""
    powers = set[Text]()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            powers |= set(axis.get_ticklabels(which="both") if axis.get_scale() == "log" else ())
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in powers:
            text.set_parse_math(False)
    return figure
