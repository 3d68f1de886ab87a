"""`deepres train [SOURCE]`: from images to a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.errors import InputError, shared
from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.asked import planned, settings
from deepres.cli.folds import say_folds
from deepres.cli.minutes import deadline_of, minutes_flag, say_time, sized
from deepres.cli.streams import command_line
from deepres.cli.watch import watched
from deepres.nn.weights.folds import holds_folds
from deepres.recipes.written import is_written
from deepres.runs import outputs
from deepres.runs.places import begun_in, holds_any, output_of

if TYPE_CHECKING:
    from deepres.recipes.run import Run
    from deepres.runs.budget import Deadline
    from deepres.runs.finish import FinishedRun
    from deepres.runs.folds import EventsOf, FinishedFolds
    from deepres.runs.plan import Planned
    from deepres.runs.session import Session
    from deepres.runs.train import Event, OnEvent


def _workers(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value is None or value == "auto" or value.isdigit():
        return value
    raise click.BadParameter(f"{value}: wanted a number of processes, or auto", context, option)


@click.command("train", context_settings={"show_default": False})
@click.argument("source", required=False)
@click.option(
    "--recipe",
    help="How to train: small, photos, boxes, masks, finetune, imagenet_modern, or a paper's: cifar_2015, "
    "imagenet_2015, identity_2016, imagenet_2016, effective_paths, stochastic_depth, wide, densenet_cifar, "
    "densenet_imagenet, and of boxes voc_2015, coco_2015, det_2015, loc_2015; or a file that a run is written in "
    "(RUN/run.json); by default chosen by the images and weights.",
)
@click.option(
    "--config",
    "-c",
    metavar="FILE",
    help="Settings from a file: a run's run.json, or JSON or YAML with flags (batch_size: 64) and fields; what is "
    "typed goes before it.",
)
@click.option(
    "--task",
    metavar="TASK",
    help="What is learnt: classification (one class an image), multilabel (several, or none), regression (numbers), "
    "detection (boxes), localisation (a class and its box; recipe loc_2015); by default what the source holds.",
)
@click.option("--model", metavar="NET", help="A network by its name in `deepres models`; by default the recipe's.")
@click.option("--num-classes", type=click.IntRange(1), help="How many classes there should be; refused if others.")
@click.option("--pretrained", is_flag=True, help="Begin with published weights of --model, of ImageNet.")
@click.option(
    "--weights",
    metavar="W",
    help="Trained weights to begin with: a run's folder, a file (FILE::KEY where it holds several sets), or a name "
    "such as resnet50.a1_in1k.",
)
@click.option(
    "--teacher",
    multiple=True,
    metavar="RUN|W",
    help="Distillation: learn this trained network's answers beside the labels (of several, their mean); tuned by "
    "--set teacher.temperature=4, teacher.weight=0.9 (teacher.variant=NET: what a bare file holds).",
)
@click.option("--variant", metavar="NET", help="Network of the weights, where the file does not say and several fit.")
@flags.ignored
@flags.normalisation
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training images; by default the recipe's.")
@minutes_flag
@click.option("--batch-size", "-b", type=click.IntRange(1), help="Images in one step; by default the recipe's.")
@click.option("--lr", type=float, help="Peak learning rate; by default the recipe's, in proportion to --batch-size.")
@click.option("--no-scale-lr", is_flag=True, help="Keep the recipe's rate for steps of another --batch-size.")
@click.option("--weight-decay", "--wd", type=flags.Finite(0), help="Weight decay; by default the recipe's.")
@click.option("--img-size", "--imgsz", type=click.IntRange(1, 4096), help="Side of the input in px; the recipe's.")
@click.option(
    "--balance",
    type=click.Choice(["none", "loss", "sampler"]),
    help="Give all classes the same weight: in the loss, or by drawing the images of each equally often (none).",
)
@click.option(
    "--folds",
    type=int,
    metavar="K",
    help="Cross-validation: K runs, each tested on another K-th of the images; one report of all.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of weights, order of images and augmentation (0).")
@click.option("--workers", "-j", metavar="N|auto", callback=_workers, help="Processes that decode images (auto).")
@click.option(
    "--on-bad-image",
    type=click.Choice(["stop", "skip"]),
    help="Where an image cannot be read: stop, or skip it (stop).",
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the run (runs/SOURCE-N, the next free N).")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[DIR]",
    help="Continue the run in DIR, or that of a state file; by default, or auto, the newest under runs/; with --epochs "
    "make it longer.",
)
@flags.device
@click.option(
    "--memory",
    type=click.Choice(["auto", "save", "keep"]),
    help="save: compute some layers a second time in the backward pass, which needs less memory; auto: where a step "
    "would not fit; keep: never (auto).",
)
@click.option(
    "--compile",
    type=click.Choice(["auto", "off", "max"]),
    help="Compile the training step with torch.compile; auto: where it pays within this run, measured once, as "
    "3x3 convolutions by Winograd's algorithm are on a CPU (auto).",
)
@click.option(
    "--log",
    metavar="NAME,…",
    help="Where each epoch is shown besides RUN/history.jsonl: tensorboard, csv, wandb, mlflow, or none (tensorboard "
    "where it is installed).",
)
@click.option("--set", "edits", multiple=True, metavar="A.B=C", help="Set any field of the run (see --dry-run).")
@click.option("--smoke", is_flag=True, help="Only 20 small steps, to see whether it works.")
@click.option("--dry-run", is_flag=True, help="Print the run with all its fields as JSON, and train nothing.")
@click.option("--verbose", "-v", is_flag=True, help="Say more: workers, compiling, precision (RUN/log.txt has it too).")
@watched
def command(
    source: str | None,
    recipe: str | None,
    config: str | None,
    task: str | None,
    model: str | None,
    num_classes: int | None,
    pretrained: bool,
    weights: str | None,
    teacher: tuple[str, ...],
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    epochs: int | None,
    minutes: float | None,
    batch_size: int | None,
    lr: float | None,
    no_scale_lr: bool,
    weight_decay: float | None,
    img_size: int | None,
    balance: str | None,
    folds: int | None,
    seed: int | None,
    workers: str | None,
    on_bad_image: str | None,
    output: Path | None,
    resume: str | None,
    device: str | None,
    memory: str | None,
    compile: str | None,
    log: str | None,
    edits: tuple[str, ...],
    smoke: bool,
    dry_run: bool,
    verbose: bool,
    watch: Watch,
) -> None:
    """Train a network on the images of SOURCE; everything about the run is in its folder.

    SOURCE is a folder with one folder of pictures per class (or a .zip or .tar of it), a .csv of paths and labels, a
    .npz of arrays, web shards, a packed folder, pictures with boxes (VOC, COCO, YOLO or a table), or a name: digits
    (the default), digit-scenes, fashion-mnist, cifar10, cifar100.

    The run's folder gets the weights, class names, preprocessing, history, a report, and states to resume from.
    """
    given = dict(locals())
    from deepres.runs import folds as in_folds
    from deepres.runs import stages
    from deepres.runs.expected import expected_lines
    from deepres.runs.progress import Display
    from deepres.runs.session import Session
    from deepres.train.distributed import init_distributed

    on_event = Display(watch, verbose)
    assignments = settings(given)
    without = {"--smoke": smoke, "--dry-run": dry_run}
    deadline = deadline_of(minutes, without, any_size=not sized(edits))

    def events_of(fold: str) -> "OnEvent":
        return Display(watch, verbose, fold=fold)

    with init_distributed(device) as processes:

        def session(folder: Path, on_event: "OnEvent" = on_event) -> Session:
            return Session(folder, processes.device, on_event, processes, command_line())

        if resume is not None:
            _refuse_with_resume(
                {
                    "SOURCE": source,
                    "--recipe": recipe,
                    "--task": task,
                    "--model": model,
                    "--num-classes": num_classes,
                    "--pretrained": pretrained or None,
                    "--img-size": img_size,
                    "--no-scale-lr": no_scale_lr or None,
                    "--weights": weights,
                    "--teacher": " ".join(teacher) or None,
                    "--mean": mean,
                    "--folds": folds,
                    "--output": output,
                    "--smoke": smoke or None,
                    "--dry-run": dry_run or None,
                }
            )
            length = [f"train.epochs={epochs}", "train.iterations=none"] if epochs is not None else []
            found = processes.on_rank_zero(lambda: begun_in(resume))
            _resume(session(found), [*assignments, *length, *edits], events_of, deadline)
            return
        if output is None and processes.may_restart:
            raise shared(
                InputError(
                    "torchrun --max-restarts: a restarted run has to find its folder again; name it with --output DIR"
                )
            )
        if output is not None and processes.restarts and processes.on_rank_zero(lambda: holds_any(output)):
            _resume(session(output), [], events_of, deadline)
            return
        read = [word for word in (source, weights, *teacher) if word is not None]
        processes.on_rank_zero(lambda: outputs.require_free_for_run(output, read))
        plans: list[Planned] = []  # process 0 alone makes one, and keeps the images that it has listed
        processes.on_rank_zero(lambda: plans.append(planned(given)))
        run = processes.on_rank_zero(lambda: plans[0].run)
        if dry_run:
            begun = processes.on_rank_zero(lambda: plans[0].begun())
            click.echo(run.to_json() if processes.first else "", nl=False)
            for plan in plans:
                drawn = plan.run.train.schedule.told(plan.run.train.steps(len(plan.source.train)))
                lines = (*filter(None, (begun,)), *plan.said, drawn, *expected_lines(plan.run, plan.source))
                click.echo("".join(f"{line}\n" for line in lines), err=True, nl=False)
            return
        suited = _suited(run, recipe, model, task)
        with output_of(output, run, processes) as folder:
            done: FinishedRun | FinishedFolds
            if folds is not None:
                on_event(suited)
                for line in plans[0].said if plans else ():
                    on_event(line)
                done = in_folds.start(run, session(folder), events_of, deadline=deadline)
            else:
                asked = session(folder, _announced(on_event, suited))
                done = stages.start(plans[0] if plans else run, asked, deadline=deadline)
        _say(done, session(folder), deadline)


def _resume(session: "Session", edits: list[str], events_of: "EventsOf", deadline: "Deadline | None") -> None:
    from deepres.runs import folds, stages

    done: FinishedRun | FinishedFolds
    if holds_folds(session.folder):
        done = folds.resume(session, edits, events_of, deadline=deadline)
    else:
        done = stages.resume(session, edits, deadline=deadline)
    _say(done, session, deadline)


def _announced(on_event: "OnEvent", line: "str | Doing") -> "OnEvent":
    """`on_event`, with `line` before the first that is said: a run that is refused says nothing else."""
    waiting = [line]

    def announced(event: "Event") -> None:
        if isinstance(event, str) and waiting:
            on_event(waiting.pop())
        on_event(event)

    return announced


def _suited(run: "Run", recipe: str | None, model: str | None, task: str | None) -> "str | Doing":
    """What was chosen for the images, because nothing else was asked for."""
    chosen = [f"recipe {run.recipe}"] if recipe is None else []
    chosen += [f"task {run.task.kind}"] if task is None and run.task.form != "class" else []
    chosen += [f"network {run.model.name}"] if model is None and run.weights is None and not is_written(recipe) else []
    flags = {"recipe": "--recipe", "network": "--model", "task": "--task"}
    others = [flags[what.split()[0]] for what in chosen]
    return f"chosen to suit: {', '.join(chosen)} (others: {', '.join(others)})" if chosen else Doing("starting")


def _refuse_with_resume(given: dict[str, object | None]) -> None:
    for name, value in given.items():
        if value is not None:
            said = name if value is True else f"{name} {value}"
            message = f"{said} with --resume: a run keeps what it began with; leave {name} out"
            raise shared(InputError(message))


def _say(done: "FinishedRun | FinishedFolds", session: "Session", deadline: "Deadline | None") -> None:
    from deepres.runs.folds import FinishedFolds

    if session.processes.first:
        if isinstance(done, FinishedFolds):
            say_folds(done)
        else:
            _say_run(done, session)
        say_time(deadline)


def _say_run(done: "FinishedRun", session: "Session") -> None:
    from deepres.predict.predictor import Predictor
    from deepres.tasks.result import summary

    if done.result is not None:
        click.echo(summary(done.result))
    if done.samples:
        click.echo("a few images that it was not trained on:")
        for answer in Predictor.load(done.folder, session.device).answers(done.samples, top_k=1):
            click.echo("  " + answer.line().replace("\n", "\n  "))
    if done.result is not None and done.result.has_worst:
        click.echo(f"wrong:  {done.folder / 'worst.csv'} lists them")
    click.echo(f"report: {done.folder / 'report.html'}")
    click.echo(f"next:   deepres predict {done.folder} IMAGE…")
