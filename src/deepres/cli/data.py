"""`deepres data check|show|split|pack SOURCE`: look at images before training on them, and make them fast to read."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.telling import Doing
from deepres.base.wording import blamed, counted
from deepres.cli import flags, outputs, show
from deepres.cli.watch import Watch, watched

if TYPE_CHECKING:
    from deepres.data.sources import DataConfig


@click.group("data")
def command() -> None:
    """Check images, show them as training sees them, write down how they are split, or pack them into few files."""


command.add_command(show.command)


@command.command("check")
@click.argument("source")
@click.option("--workers", "-j", default=0, type=click.IntRange(0), help="Processes that read the files.")
@click.option(
    "--set",
    "edits",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Such as data.depth=leaf, columns=path:file,label:kind.",
)
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
@watched
def check_command(source: str, workers: int, edits: tuple[str, ...], as_json: bool, watch: Watch) -> None:
    """Count classes, sizes, broken files, and duplicates within and between the splits of SOURCE.

    The exit code is 1 where a file is broken.
    """
    from deepres.data.prepare import check, table
    from deepres.data.sources import open_source

    report = check(open_source(_config(source, edits)), workers, watch.counting("images"))
    click.echo(report.to_json() if as_json else table(report))
    if report.broken:
        raise click.exceptions.Exit(1)


@command.command("split")
@click.argument("source")
@click.option("--output", type=click.Path(path_type=Path), default="split.csv", show_default=True, help="The CSV.")
@click.option("--set", "edits", multiple=True, metavar="FIELD=VALUE", help="Such as test_fraction=0.2, split_seed=3.")
@flags.overwrite
@watched
def split_command(source: str, output: Path, edits: tuple[str, ...], overwrite: bool, watch: Watch) -> None:
    """Write the split of SOURCE as a CSV (path, label, split) that can be trained on, edited and kept."""
    from deepres.data.sample import FileImages
    from deepres.data.sources import open_source, write_split

    outputs.require_free({"--output": (output, outputs.SPLIT)}, [source], overwrite=overwrite)
    watch(Doing(f"listing the images of {source}"))
    opened = open_source(_config(source, edits))
    for images in opened.parts().values():
        if isinstance(images, FileImages):
            outputs.require_not_among("--output", output, images.paths)
    write_split(opened, output)
    counts = ", ".join(f"{len(images):,} {part}" for part, images in opened.parts().items())
    click.echo(f"{output}: {counts}, {counted(len(opened.classes), 'class')}; train on it with: deepres train {output}")


@command.command("pack")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format", "kept", type=click.Choice(["raw", "jpeg"]), default="raw", show_default=True, help="Of pixels."
)
@click.option("--size", default=288, show_default=True, type=click.IntRange(16), help="Short side in px, at most.")
@click.option("--quality", default=90, show_default=True, type=click.IntRange(1, 100), help="Of JPEG.")
@click.option("--workers", "-j", default=0, type=click.IntRange(0), help="Threads that read the files.")
@click.option("--set", "edits", multiple=True, metavar="FIELD=VALUE", help="Such as on_bad_image=skip.")
@watched
def pack_command(
    source: str, out: Path, kept: str, size: int, quality: int, workers: int, edits: tuple[str, ...], watch: Watch
) -> None:
    """Write the images of SOURCE, made small, into few large files in the new folder OUT: a source that reads fast.

    \b
    raw    about 3 bytes a pixel (288 px: 320 kB an image): nothing is left to decode
    jpeg   a tenth of that (--quality), decoded at each use
    """
    from deepres.data.pack import pack
    from deepres.data.sources import find

    outputs.require_free_folder("OUT", out, ())
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
    from deepres.data.sources import DataConfig

    return edit(DataConfig(source=source), [assignment.removeprefix("data.") for assignment in edits], "data.")
