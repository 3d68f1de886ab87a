"""`deepres eval RUN|WEIGHTS… [SOURCE]`: what a trained network, or several as one, is worth."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.streams import command_line
from deepres.cli.watch import watched
from deepres.runs import outputs

if TYPE_CHECKING:
    from deepres.predict.backends import Backend


@click.command("eval")
@click.argument("runs", metavar="RUN|WEIGHTS... [SOURCE]", nargs=-1, required=True)
@flags.reading
@flags.weights
@click.option(
    "--split", help="The images that are measured: train, val or test (test; of a source without splits, all)."
)
@click.option(
    "--protocol",
    default="center",
    show_default=True,
    help="The views of each image whose answers are averaged: center, flip, ten-crop, ten-crop-logits, multi-scale, "
    "multi-scale-flip; with sizes in px: center:320, ten-crop:224/256 (crop/short side), multi-scale:224,256. "
    "Boxes: boxes:refine, boxes:flip, boxes:scales=200,400,600, or several with + between them.",
)
@click.option(
    "--measure",
    type=click.Choice(["coco", "voc07", "voc", "masks"]),
    help="Boxes: which average precision is measured: COCO's (the default), VOC 2007's, of 11 recalls, or VOC's from "
    "2010 on.",
)
@click.option(
    "--select",
    metavar="SPLIT",
    help="Several runs: take those that make the best ensemble on this split, such as val, then measure it on another.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Fit a temperature on the held-out images, for an ensemble, another protocol, or a run without one, so that "
    "probabilities mean what they say.",
)
@click.option(
    "--unknown",
    metavar="SOURCE",
    help="Images of classes that RUN does not know, or a folder of pictures: how well its probabilities tell them from "
    "its own (AUROC), and what `predict --reject` answers of them.",
)
@click.option(
    "--classes-of",
    metavar="FOLDER",
    help="Weights without names of classes: the folder of class folders that they were trained on, or a .txt of names. "
    "Images of some of these, such as ImageNet-A's and -R's 200, are answered among those alone.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a report as one HTML file.")
@click.option(
    "--worst", type=click.Path(path_type=Path), help="Write a .csv of the wrong images and the least sure ones."
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Write the answer to each image as .npz, which `deepres compare` reads.",
)
@flags.overwrite
@flags.on_bad_image
@flags.precision("float32", "what this hardware computes fastest")
@flags.force
@flags.device
@flags.backend
@watched
def command(
    runs: tuple[str, ...],
    model: str | None,
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    split: str | None,
    protocol: str,
    measure: str | None,
    select: str | None,
    calibrate: bool,
    unknown: str | None,
    classes_of: str | None,
    as_json: bool,
    report: Path | None,
    worst: Path | None,
    predictions: Path | None,
    overwrite: bool,
    on_bad_image: str | None,
    precision: str,
    force: bool,
    device: str | None,
    backend: "Backend",
    reading: tuple[str, ...],
    watch: Watch,
) -> None:
    """Measure RUN on its test images, or on those of SOURCE: error with 95 % interval, by class, confusion.

    Several runs are measured as one ensemble, their answers averaged; detectors look at one another's proposals. Of a
    run in folds, each image is answered by the network that was not trained on it. Weights made elsewhere are given by
    path or name (resnet50.a1_in1k, or IMAGENET1K_V2 with --model). Images that RUN was trained on are refused unless
    --force insists.
    """
    from dataclasses import replace

    from deepres.base.errors import InputError
    from deepres.base.files import write_atomic
    from deepres.nn.weights.folds import holds_folds
    from deepres.nn.weights.spec import WeightsSpec
    from deepres.predict.exported.names import is_exported, require_alone, require_cpu
    from deepres.report.evaluation import ReportFacts, write_report
    from deepres.runs.ensemble import EnsembleConfig
    from deepres.runs.finish import training_of
    from deepres.runs.folds_measured import measure_any
    from deepres.runs.seen import doubles_in, run_of
    from deepres.runs.unknown import beside_unknown, require_plain
    from deepres.tasks.doubled import told_of_doubles
    from deepres.tasks.plans import plan_of
    from deepres.tasks.result import summary
    from deepres.tasks.saved import save_predictions
    from deepres.tasks.worst import worst_list
    from deepres.train.distributed import init_distributed

    weights, source = apart(runs)
    if select is not None and len(weights) == 1 and not holds_folds(weights[0]):
        raise InputError(f"--select {select}: one run alone, {weights[0]}; name several to choose from")
    data = flags.source(source, reading)
    written = {
        "--report": (report, outputs.PAGE),
        "--worst": (worst, outputs.WORST),
        "--predictions": (predictions, outputs.ANSWERS),
    }
    asked = EnsembleConfig(
        split=split,
        protocol=protocol,
        measure=measure,
        precision=precision,
        on_bad_image=on_bad_image,
        force=force,
        keep_scores=predictions is not None or unknown is not None,
        choose_on=select,
        calibrate=calibrate,
        backend=backend,
        classes_of=classes_of,
    )
    if unknown is not None:
        require_plain(weights, {"--protocol": protocol != "center", "--calibrate": calibrate, "--select": select})
    files = [word for word in weights if is_exported(word)]
    for file in files:
        said = {"--model": model, "--variant": variant, "--mean": mean, "--std": std}
        said |= {"--backend": None if backend == "auto" else backend, "--select": select}
        require_alone(file, {**said, "--calibrate": calibrate})
        require_cpu(file, device, "--device")
    with init_distributed(device or ("cpu" if len(files) == len(weights) else None)) as processes:
        processes.on_rank_zero(lambda: outputs.require_free(written, runs, overwrite=overwrite))
        measured = measure_any(
            [WeightsSpec(one, model=model, variant=variant, mean=mean, std=std) for one in weights],
            data,
            asked,
            device=processes.device,
            command=command_line(),
            on_progress=watch.counting("images"),
            processes=processes,
        )
        if unknown is not None:
            measured = processes.on_all_ranks(
                lambda: beside_unknown(
                    measured,
                    WeightsSpec(weights[0], model=model, variant=variant, mean=mean, std=std),
                    unknown,
                    device=processes.device,
                    on_bad_image=asked.on_bad_image,
                    on_progress=watch.counting("unknown images"),
                )
            )
    if not processes.first:
        return
    for flag, (path, _) in written.items():
        outputs.require_not_among(flag, path, measured.images.paths)
    if source is None and len(weights) == 1 and (folder := run_of(weights[0])) is not None:
        told = told_of_doubles(measured.evaluation, measured.images, doubles_in(folder))
        measured = replace(measured, evaluation=told)
    result = measured.evaluation.result
    if predictions is not None:
        alone = run_of(weights[0]) if len(measured.members) == 1 and not files else None
        save_predictions(predictions, measured.evaluation, measured.images, None if alone is None else plan_of(alone))
    listed = worst_list(measured.evaluation, measured.images) if worst is not None or report is not None else ""
    if worst is not None:
        write_atomic(worst, listed)
    if report is not None:
        training = training_of(Path(weights[0])) if len(weights) == 1 else {}
        name = f"{result.provenance['model']} on {result.provenance['source']}"
        facts = dict(result.provenance)
        shown = {"images": measured.images, "worst": listed, "run": facts, "title": name, **training}
        write_report(report, ReportFacts(result=result, **shown))
    if told := result.provenance.get("backend"):
        click.echo(str(told), err=True)
    if as_json:
        click.echo(result.to_json())
    else:
        if measured.selection is not None:
            click.echo(str(measured.selection))
        click.echo(summary(result))
        for member in measured.members if len(measured.members) > 1 else ():
            click.echo(f"member {member.name}: {member.evaluation.result.headline.text}")
    for what, path in (("worst", worst), ("report", report)):
        if path is not None:
            click.echo(f"{what}: {path}", err=as_json)


def apart(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The weights, and the SOURCE, which is the last of several arguments unless that is weights itself."""
    from deepres.nn.weights.folds import holds_folds
    from deepres.nn.weights.hub import is_weights
    from deepres.predict.exported.names import is_exported

    last = arguments[-1]
    if len(arguments) > 1 and not (is_weights(last) or holds_folds(last) or is_exported(last)):
        return arguments[:-1], arguments[-1]
    return arguments, None
