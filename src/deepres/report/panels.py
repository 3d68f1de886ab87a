"""Small plots side by side, both axes from 0 to 1, as SVG in the colours of the page; many are quickly drawn."""

from collections.abc import Sequence

from markupsafe import Markup

from deepres.tasks.blocks import Panel

WIDTH, HEIGHT = 200, 170
LEFT, RIGHT, TOP, BOTTOM = 30, 194, 24, 138
STYLES = (("var(--right)", ""), ("var(--wrong)", "5 3"))
"""Of the first line of a panel and of the second."""


def panels(given: Sequence[Panel], x: str, y: str) -> Markup:
    """A legend, and an `<svg>` for each panel; all text escaped."""
    names = [name for name, _ in given[0].lines] if given else []
    legend = Markup("").join(
        Markup('<span><svg viewBox="0 0 30 8" class="key"><path d="M0 4H30" {}/></svg> {}</span> ').format(
            _stroke(place), name
        )
        for place, name in enumerate(names)
    )
    drawn = Markup("").join(_panel(one, x, y) for one in given)
    return Markup('<p class="note legend">{}</p><div class="panels">{}</div>').format(legend, drawn)


def _panel(one: Panel, x: str, y: str) -> Markup:
    ticks = Markup("").join(
        Markup(
            '<path d="M{} {}H{}" stroke="var(--line)" stroke-width="{}"/>'
            '<text x="{}" y="{}" text-anchor="end">{:g}</text><text x="{}" y="{}" text-anchor="middle">{:g}</text>'
        ).format(LEFT, _y(at), RIGHT, 0.7, LEFT - 4, _y(at) + 3, at, _x(at), BOTTOM + 12, at)
        for at in (0, 0.5, 1)
    )
    lines = Markup("").join(
        Markup('<polyline points="{}" {}/>').format(
            " ".join(f"{_x(across):.1f},{_y(up):.1f}" for across, up in points), _stroke(place)
        )
        for place, (_, points) in enumerate(one.lines)
    )
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" fill="var(--muted)" font-size="9.5"><title>{}</title>'
        '{}<path d="M{} {}V{}H{}" fill="none" stroke="var(--muted)" stroke-width="{}"/>{}'
        '<text x="{}" y="{}" font-size="{}" fill="var(--ink)">{}</text>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text transform="translate(9 {}) rotate(-90)" text-anchor="middle">{}</text></svg>'
    ).format(
        *(WIDTH, HEIGHT, one.title, one.title, ticks),
        *(LEFT, TOP, BOTTOM, RIGHT, 0.8, lines),
        *(LEFT, TOP - 9, 11.5, one.title if len(one.title) <= 26 else f"{one.title[:25]}…"),
        *((LEFT + RIGHT) // 2, HEIGHT - 6, x),
        *((TOP + BOTTOM) // 2, y),
    )


def _stroke(place: int) -> Markup:
    colour, dashes = STYLES[place % len(STYLES)]
    return Markup('fill="none" stroke="{}" stroke-width="1.8" stroke-dasharray="{}"').format(colour, dashes)


def _x(share: float) -> float:
    return LEFT + (RIGHT - LEFT) * share


def _y(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * share
