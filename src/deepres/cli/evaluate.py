"""`deepres eval RUN [SOURCE]`: what a trained network is worth."""

from pathlib import Path

import click


@click.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source", required=False)
@click.option("--split", help="train, val or test; by default test, of a source without a split all images.")
@click.option("--protocol", default="center", show_default=True, help="How an image is shown to the network.")
@click.option("--json", "as_json", is_flag=True, help="The whole result as JSON on stdout.")
@click.option("--report", type=click.Path(path_type=Path), help="Also write a one-file HTML report.")
@click.option("--predictions", type=click.Path(path_type=Path), help="Also write the answer to each image (.npz).")
@click.option("--on-bad-image", type=click.Choice(["stop", "skip"]), help="What an unreadable image does.")
@click.option("--device", help="cpu, cuda or cuda:N; by default the best there is.")
def command(
    run: Path,
    source: str | None,
    split: str | None,
    protocol: str,
    as_json: bool,
    report: Path | None,
    predictions: Path | None,
    on_bad_image: str | None,
    device: str | None,
) -> None:
    """Measure RUN on its own test images, or on those of SOURCE: error with interval, classes, confusion."""
    import sys

    from deepres.cli.progress import Count
    from deepres.data.sources import DataConfig
    from deepres.evaluate.report import write_report
    from deepres.evaluate.run import save_predictions, summary
    from deepres.recipes.measure import measure
    from deepres.train.journal import read_history
    from deepres.train.precision import find_device

    data = None
    if source is not None:
        data = DataConfig(source=source, on_bad_image="skip" if on_bad_image == "skip" else "stop")
    with Count("images") as count:
        evaluation, images = measure(
            run,
            data,
            split=split,
            protocol=protocol,
            device=find_device(device),
            command=" ".join(["deepres", *sys.argv[1:]]),
            on_progress=count,
        )
    result = evaluation.result
    if predictions is not None:
        save_predictions(predictions, evaluation.predictions, images)
    if report is not None:
        history = read_history(run)
        name = f"{result.provenance['model']} on {result.provenance['source']}"
        write_report(report, result=result, history=history, images=images, run=dict(result.provenance), title=name)
    click.echo(result.to_json() if as_json else summary(result))
    if report is not None:
        click.echo(f"report: {report}", err=as_json)
