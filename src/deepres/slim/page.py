"""All that was tried, as a page: the picture of speed against error, and what each candidate is."""

from pathlib import Path

from deepres.base.wording import counted, signed
from deepres.report.frontier import Tried, write_frontier
from deepres.slim.frontier import INTACT, Candidate, Frontier, dominated
from deepres.tasks.blocks import Table

_HEADER = (
    "candidate",
    "figure",
    "lost",
    "95 % interval",
    "verdict",
    "ms, batch 1",
    "images/s, 1",
    "images/s, 16",
    "times, 1",
    "times, 16",
    "MB",
    "same answers",
)


def write_page(path: Path, frontier: Frontier) -> None:
    """Write `slim.html`.

    Raises:
        InputError: the place cannot be written.
    """
    beaten = dominated(frontier.candidates)
    intact = frontier.named(INTACT)
    scale = 100 if _in_percent(intact) else 1
    name = "" if intact is None else f"{_worded(intact)}{' (%)' if scale == 100 else ''}"
    tried = [
        Tried(
            name=one.what,
            times=one.speed.times,
            value=scale * _worse(one, one.value),
            low=scale * min(_worse(one, end) for end in _ends(one)),
            high=scale * max(_worse(one, end) for end in _ends(one)),
            kind="intact"
            if one.name == INTACT
            else "chosen"
            if one.name == frontier.chosen
            else "beaten"
            if one.name in beaten
            else "open",
        )
        for one in frontier.candidates
    ]
    limits = [f"up to {frontier.max_loss:g} may be lost"] if frontier.max_loss is not None else []
    limits += [f"one image within {frontier.target_ms:g} ms"] if frontier.target_ms is not None else []
    facts = [
        ("network", frontier.network),
        ("images", frontier.images),
        ("measured on", f"{frontier.hardware}, {counted(frontier.threads, 'thread')}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in frontier.versions.items())),
        ("command", frontier.command),
        ("limits", "; ".join(limits) or "none yet"),
        ("taken", "none yet" if frontier.chosen is None else f"{frontier.chosen}: {frontier.why}"),
        ("test images", frontier.test or "not read yet"),
    ]
    tables = [
        Table(
            title="What was tried",
            header=_HEADER,
            rows=tuple(_row(one, frontier) for one in frontier.candidates),
            note="Lost: how much worse the figure is than the intact network's on the same images. Times: as fast as "
            "the intact network in float32, norms folded, not compiled, timed in turn.",
        ),
        Table(
            title="What was left out",
            header=("candidate", "units, in the order in which they went"),
            rows=tuple((one.name, ", ".join(one.dropped) or "nothing") for one in frontier.candidates),
        ),
        Table(title="How", header=("what", ""), rows=tuple(facts)),
    ]
    title = f"{frontier.network} made slim"
    write_frontier(path, title, name, tried, tables)


def _row(one: Candidate, frontier: Frontier) -> tuple[str, ...]:
    speed, loss = one.speed, one.loss
    lost = interval = verdict = same = ""
    if loss is not None:
        lost, low, high = (
            signed(100 * value) if loss.shares else f"{value:+.4g}" for value in (loss.loss, loss.low, loss.high)
        )
        interval = f"{low} to {high}"
        verdict = "" if frontier.max_loss is None else one.verdict(frontier.max_loss)
        verdict = "slower than float32" if one.slower_than_float32 else verdict
        same = "" if loss.agreement is None else f"{100 * loss.agreement:.2f} %"
    return (
        one.what,
        one.told,
        lost,
        interval,
        verdict,
        f"{speed.milliseconds:.3g}",
        f"{speed.images_per_second:,.4g}",
        f"{speed.images_per_second_16:,.4g}",
        f"{speed.times:.2f}",
        f"{speed.times_16:.2f}",
        f"{one.num_bytes / 1e6:,.1f}",
        same,
    )


def _in_percent(one: Candidate | None) -> bool:
    return one is not None and "%" in one.told


def _worded(one: Candidate) -> str:
    return one.figure.replace("_", " ") if one.lower_is_better else f"1 - {one.figure.replace('_', ' ')}"


def _ends(one: Candidate) -> tuple[float, float]:
    return (one.value if one.low is None else one.low, one.value if one.high is None else one.high)


def _worse(one: Candidate, value: float) -> float:
    return value if one.lower_is_better else 1 - value
