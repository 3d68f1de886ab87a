"""`deepres eval RUN|WEIGHTS [SOURCE]`: what a trained network is worth."""

from pathlib import Path

import click


@click.command("eval")
@click.argument("run", metavar="RUN|WEIGHTS")
@click.argument("source", required=False)
@click.option("--model", metavar="NET", help="The network, where WEIGHTS do not say.")
@click.option("--variant", metavar="NET", help="What bare weights were trained as, where they fit several networks.")
@click.option("--mean", metavar="R,G,B", help="What was subtracted from images on a scale of 0 to 1, if not told.")
@click.option("--std", metavar="R,G,B", help="What they were divided by.")
@click.option("--split", help="train, val or test; by default test, of a source without a split all images.")
@click.option("--protocol", default="center", show_default=True, help="How an image is shown to the network.")
@click.option("--json", "as_json", is_flag=True, help="The whole result as JSON on stdout.")
@click.option("--report", type=click.Path(path_type=Path), help="Also write a one-file HTML report.")
@click.option("--predictions", type=click.Path(path_type=Path), help="Also write the answer to each image (.npz).")
@click.option("--on-bad-image", type=click.Choice(["stop", "skip"]), help="What an unreadable image does.")
@click.option("--device", help="cpu, cuda or cuda:N; by default the best there is.")
def command(
    run: str,
    source: str | None,
    model: str | None,
    variant: str | None,
    mean: str | None,
    std: str | None,
    split: str | None,
    protocol: str,
    as_json: bool,
    report: Path | None,
    predictions: Path | None,
    on_bad_image: str | None,
    device: str | None,
) -> None:
    """Measure RUN on its own test images, or on those of SOURCE: error with interval, classes, confusion.

    Instead of a run: weights made elsewhere, by path or name (resnet50.a1_in1k, IMAGENET1K_V2 with --model).
    """
    import sys

    from deepres.cli.progress import Count
    from deepres.data.sources import DataConfig
    from deepres.evaluate.report import write_report
    from deepres.evaluate.run import save_predictions, summary
    from deepres.recipes.measure import measure
    from deepres.train.journal import read_history
    from deepres.train.parallel import joined

    data = None
    if source is not None:
        data = DataConfig(source=source, on_bad_image="skip" if on_bad_image == "skip" else "stop")
    with joined(device) as world, Count("images", world.first) as count:
        evaluation, images = measure(
            run,
            data,
            model=model,
            variant=variant,
            mean=numbers("--mean", mean),
            std=numbers("--std", std),
            split=split,
            protocol=protocol,
            device=world.device,
            command=" ".join(["deepres", *sys.argv[1:]]),
            on_progress=count,
            world=world,
        )
    if not world.first:
        return
    result = evaluation.result
    if predictions is not None:
        save_predictions(predictions, evaluation.predictions, images)
    if report is not None:
        history = read_history(Path(run))
        name = f"{result.provenance['model']} on {result.provenance['source']}"
        write_report(report, result=result, history=history, images=images, run=dict(result.provenance), title=name)
    click.echo(result.to_json() if as_json else summary(result))
    if report is not None:
        click.echo(f"report: {report}", err=as_json)


def numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    """`0.485,0.456,0.406` as numbers; None where nothing is given."""
    from deepres.base.errors import InputError

    try:
        return None if text is None else tuple(float(number) for number in text.split(","))
    except ValueError as cause:
        raise InputError(f"{flag} {text}: wanted numbers such as 0.485,0.456,0.406") from cause
