"""`deepres data check|show|split|pack SOURCE`: look at images before training on them, and make them fast to read."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.base.wording import blamed, counted
from deepres.cli import flags, show
from deepres.cli.watch import watched
from deepres.runs import outputs

if TYPE_CHECKING:
    from deepres.data.sources.config import DataConfig


@click.group("data")
def command() -> None:
    """Look at images before training on them, split them, or pack them into few files that read fast."""


command.add_command(show.command)


@command.command("check", short_help="Find broken files and duplicates; count classes and sizes.")
@click.argument("source")
@click.option(
    "--workers",
    "-j",
    default=0,
    type=click.IntRange(0),
    help="Further threads that read files, beside the main one (0).",
)
@click.option(
    "--set",
    "edits",
    multiple=True,
    metavar="FIELD=VALUE",
    help="How SOURCE is read, such as depth=leaf or columns=path:file,label:kind.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@watched
def check_command(source: str, workers: int, edits: tuple[str, ...], as_json: bool, watch: Watch) -> None:
    """Check SOURCE for broken files and duplicates; count classes and sizes.

    Duplicates are looked for within and between train, val and test. The exit code is 1 if a file is broken.
    """
    from deepres.data.check import check, table
    from deepres.data.sources.open import open_source

    report = check(open_source(_config(source, edits)), workers, watch.counting("images"))
    click.echo(report.to_json() if as_json else table(report))
    if report.broken:
        raise click.exceptions.Exit(1)


@command.command("split")
@click.argument("source")
@click.option(
    "--output", type=click.Path(path_type=Path), default="split.csv", show_default=True, help="The CSV file to write."
)
@click.option(
    "--set",
    "edits",
    multiple=True,
    metavar="FIELD=VALUE",
    help="How to split, such as test_fraction=0.2 or split_seed=3.",
)
@flags.overwrite
@watched
def split_command(source: str, output: Path, edits: tuple[str, ...], overwrite: bool, watch: Watch) -> None:
    """Write which image is in which split, as a CSV.

    Its columns are path, label and split; of a table all others are kept. It can be edited, and trained on in place of
    SOURCE.
    """
    from deepres.data.sources.kept_columns import KeptColumns
    from deepres.data.sources.open import open_source, write_split
    from deepres.data.targets import form_of

    outputs.require_free({"--output": (output, outputs.SPLIT)}, [source], overwrite=overwrite)
    watch(Doing(f"listing the images of {source}"))
    opened = open_source(_config(source, edits))
    for images in opened.splits().values():
        outputs.require_not_among("--output", output, images.paths)
    write_split(opened, output, keep_columns=True)
    counts = ", ".join(f"{len(images):,} {split}" for split, images in opened.splits().items())
    form = form_of(opened.train.targets)
    said = opened.kept.said(form.header(opened.classes)) if isinstance(opened.kept, KeptColumns) else None
    sets = [f"data.columns={said}"] if said is not None else []
    sets += ["data.targets=numbers"] if form.name == "numbers" else []
    how = "".join(f" --set {shlex.quote(each)}" for each in sets)
    names = counted(len(opened.classes), form.called)
    click.echo(f"{output}: {counts}, {names}; train on it with: deepres train {output}{how}")


@command.command("pack")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kept",
    type=click.Choice(["raw", "jpeg"]),
    default="raw",
    show_default=True,
    help="How pixels are kept.",
)
@click.option(
    "--size",
    default=288,
    show_default=True,
    type=click.IntRange(16),
    help="Short side of the packed images in px, at most.",
)
@click.option("--quality", default=90, show_default=True, type=click.IntRange(1, 100), help="JPEG quality.")
@click.option(
    "--workers",
    "-j",
    default=0,
    type=click.IntRange(0),
    help="Further threads that read files, beside the main one (0).",
)
@click.option(
    "--set", "edits", multiple=True, metavar="FIELD=VALUE", help="How SOURCE is read, such as on_bad_image=skip."
)
@watched
def pack_command(
    source: str, out: Path, kept: str, size: int, quality: int, workers: int, edits: tuple[str, ...], watch: Watch
) -> None:
    """Pack SOURCE, images made smaller, into the new folder OUT.

    OUT can be used as SOURCE everywhere, and is read several times as fast.

    \b
    raw    about 3 bytes a pixel (288 px: 320 kB an image): nothing is left to decode
    jpeg   a tenth of that (--quality), decoded at each use
    """
    from deepres.data.sources.open import find
    from deepres.data.sources.pack import pack

    outputs.require_free_folder("OUT", out, [source])
    config = _config(source, edits)
    done = pack(
        find(config),
        out,
        kept="raw" if kept == "raw" else "jpeg",
        short_side=size,
        quality=quality,
        workers=workers,
        on_bad_image=config.on_bad_image,
        on_progress=watch.counting("images"),
    )
    for name, reason in done.skipped.items():
        watch.say(f"left out: {blamed(name, reason)}")
    megabytes = sum(done.header.files.values()) / 1e6
    click.echo(f"{out}: {counted(done.images, 'image')}, {megabytes:,.1f} MB; train on it with: deepres train {out}")


def _config(source: str, edits: tuple[str, ...]) -> "DataConfig":
    """`columns=…` and `data.columns=…` are the same here: messages advise what `train` understands."""
    from deepres.base.records import edit
    from deepres.data.sources.config import DataConfig

    return edit(DataConfig(source=source), [assignment.removeprefix("data.") for assignment in edits], "data.")
