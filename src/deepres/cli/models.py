"""`deepres models [PATTERN]`: the catalogue."""

import json
from itertools import groupby

import click

from deepres.arch.catalogue.lookup import names
from deepres.arch.readings.describe import any_entry, brief


@click.command("models")
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
def command(pattern: str, as_json: bool) -> None:
    """List the networks whose name matches PATTERN (such as 'resnet*'), by paper."""
    found = names(pattern)
    if as_json:
        click.echo(json.dumps([brief(name) for name in found], indent=1))
        return
    width = max(map(len, found))
    for paper, group in groupby(found, key=lambda name: any_entry(name).paper):
        click.echo(f"{paper}\n  {'name':{width}}{'parameters':>13}{'multiply-adds':>16}  {'printed there':18}{'where'}")
        for facts in map(brief, group):
            click.echo(
                f"  {facts['name']:{width}}{facts['parameters']:>13,}{facts['macs']:>16,}  "
                f"{facts['published']:18}{facts['table']}"
            )
