"""`deepres data show SOURCE|RUN`: a sheet of the images as training sees them; its flags are those of train."""

from pathlib import Path
from typing import Any

import click

from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.base.wording import blamed, counted
from deepres.cli import asked, flags, train
from deepres.cli.watch import watched
from deepres.runs import outputs

NOT_OF_IMAGES = (
    "teacher",
    "folds",
    "minutes",
    "output",
    "resume",
    "device",
    "memory",
    "compile",
    "log",
    "workers",
    "dry_run",
    "verbose",
)
"""Flags of `deepres train` that change no image, or stand for several runs."""


@click.command("show")
@click.option("--batches", default=1, show_default=True, type=click.IntRange(1), help="How many batches to show.")
@click.option(
    "--output",
    default="sheet.html",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The sheet to write: a page (.html) or a picture (.png).",
)
@flags.overwrite
@flags.ignored
@flags.normalisation
@watched
def command(batches: int, output: Path, overwrite: bool, watch: Watch, **given: Any) -> None:
    """Show the first batches of SOURCE as training sees them.

    Flags are those of `deepres train`. Beside the batches stand the same images as evaluation sees them, and a few
    images in each of their augmented forms. SOURCE may be the folder of a run: then it is what that run saw.
    """
    from deepres.base.manifest import RUN
    from deepres.recipes.written import source_of
    from deepres.report.sheet import require_suffix, write_sheet
    from deepres.runs.sheet import balance_of, drawn, facts_shown, page_of, planned_setting, setting_of

    require_suffix(output)
    source = source_of(given["recipe"], given["source"])
    kind = outputs.PICTURE if output.suffix.lower() == ".png" else outputs.PAGE
    read = [source, *([given["weights"]] if given["weights"] else [])]
    outputs.require_free({"--output": (output, kind)}, read, overwrite=overwrite)
    watch(Doing(f"listing the images of {source}"))
    if (Path(source) / RUN).is_file():
        _refuse_with_run(source, given)
        context = setting_of(Path(source))
    else:
        context = planned_setting(asked.planned(given))
    watch(Doing("drawing batches"))
    sheet = drawn(context, batches)
    watch(Doing("writing the sheet"))
    write_sheet(output, page_of(sheet), f"{context.source.name} as training sees it")
    for name, fact in facts_shown(sheet).items():
        click.echo(f"{name}: {fact}")
    click.echo(f"in {counted(len(sheet.batches), 'batch')}: {balance_of(sheet)}")
    for name, reason in sheet.skipped.items():
        watch.say(f"left out: {blamed(name, reason)}")
    click.echo(f"sheet: {output}")


def _refuse_with_run(folder: str, given: dict[str, Any]) -> None:
    for option in command.params:
        value = given.get(str(option.name))
        if isinstance(option, click.Option) and value is not None and value is not False and value != ():
            said = " ".join(map(str, value)) if isinstance(value, tuple) else value
            raise InputError(f"{option.opts[0]} {said} with the run {folder}: it is shown as it was; leave it out")


_OF_TRAIN = [one for one in train.command.params if one.name not in NOT_OF_IMAGES]
command.params = [*_OF_TRAIN, *(one for one in command.params if one.name in ("batches", "output", "overwrite"))]
