"""`deepres data check|split SOURCE`: look at images before training on them."""

from pathlib import Path

import click


@click.group("data")
def command() -> None:
    """Check images, or write down how they are split."""


@command.command("check")
@click.argument("source")
@click.option("--workers", "-j", default=0, type=click.IntRange(0), help="Processes that read the files.")
@click.option("--set", "edits", multiple=True, metavar="FIELD=VALUE", help="Such as label_column=species, for a .csv.")
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
def check_command(source: str, workers: int, edits: tuple[str, ...], as_json: bool) -> None:
    """Count classes, sizes, broken files, and duplicates within and between the splits of SOURCE."""
    from deepres.base.records import edit
    from deepres.cli.progress import Count
    from deepres.data.prepare import check, table
    from deepres.data.sources import DataConfig, open_source

    with Count("images") as count:
        report = check(open_source(edit(DataConfig(source=source), edits)), workers, count)
    click.echo(report.to_json() if as_json else table(report))


@command.command("split")
@click.argument("source")
@click.option("--output", type=click.Path(path_type=Path), default="split.csv", show_default=True, help="The CSV.")
@click.option("--set", "edits", multiple=True, metavar="FIELD=VALUE", help="Such as test_fraction=0.2, split_seed=3.")
def split_command(source: str, output: Path, edits: tuple[str, ...]) -> None:
    """Write the split of SOURCE as a CSV (path, label, split) that can be trained on, edited and kept."""
    from deepres.base.records import edit
    from deepres.data.sources import DataConfig, open_source, write_split

    opened = open_source(edit(DataConfig(source=source), edits))
    write_split(opened, output)
    counts = ", ".join(f"{len(images):,} {part}" for part, images in opened.parts().items())
    click.echo(f"{output}: {counts}, {len(opened.classes)} classes; train on it with: deepres train {output}")
