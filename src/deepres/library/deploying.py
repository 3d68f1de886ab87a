"""`deepres.slim` and `deepres.export`: a network made smaller, and files that answer without deepres, from Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepres.base.arguments import flag, path_text, word
from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.data.sources.config import DataConfig
from deepres.export.export import Exported
from deepres.library.measuring import Weights, source_of
from deepres.library.showing import watching
from deepres.library.training import RunResult, device_of, spec_of
from deepres.nn.hardware import find_device
from deepres.runs import outputs
from deepres.slim.exporting import ExportPlan, export_run
from deepres.slim.slimming import Slimmed
from deepres.slim.slimming import slim as make_slim
from deepres.slim.work import SlimConfig


def slim(
    run: RunResult | str | Path,
    output: str | Path,
    *,
    source: str | Path | DataConfig | None = None,
    drop: int | str | None = None,
    int8: bool = False,
    settings: Mapping[str, object] | None = None,
    device: str | None = None,
    progress: bool = True,
) -> Slimmed:
    """Make the network of a run smaller and faster, and say what it loses; held-out images decide.

    >>> import deepres
    >>> settings = {"max_loss": 100, "accept_uncertain": True, "epochs": 0}
    >>> found = deepres.slim("runs/digits-1", "slim", drop=1, settings=settings, device="cpu", progress=False)
    >>> found.frontier.chosen
    'drop-1'
    >>> deepres.evaluate("slim", device="cpu", progress=False).num_images
    269

    Args:
        run: a run, its folder, or a folder of weights with all that is known of them.
        output: the new folder: a run as any other, `slim.json` and `slim.html` beside it.
        source: images to slim by, where not the run's own.
        drop: so many residual units, or "auto": as many as may be; by default auto, with `int8` none.
        int8: try 8-bit integers too, by each runtime that is installed.
        settings: `max_loss` (percentage points, of numbers their own units), `target_ms`, `epochs` of fine-tuning,
            `accept_uncertain`, as the command's flags have them.
        device: `cpu`, `cuda`, `cuda:N` or `mps`; by default a GPU of CUDA's if there is one.
        progress: whether to show how far it is.

    Raises:
        InputError: nothing to leave out, no held-out images; anything that run, images or settings refuse.
        RunError: no candidate may be taken; nothing lies at `output` then.
    """
    weights = path_text(run, "run", "a run, or its folder")
    place = Path(path_text(output, "output", "a folder"))
    flag(int8, "int8")
    flag(progress, "progress")
    given = {"drop": None if drop is None and int8 else "auto" if drop is None else drop, "int8": int8}
    config = build(SlimConfig, {**given, **_settings(settings, given)}, "settings")
    data = source_of(source)
    outputs.require_free_folder("output", place, [weights, *([] if data is None else [data.source])])
    with watching("making it slim", progress) as watch:
        return make_slim(
            weights,
            place,
            config,
            data=data,
            device=find_device(device_of(device)),
            on_event=watch.hear,
            command=f"deepres.slim({weights!r})",
        )


def export(
    weights: Weights,
    format: str,
    output: str | Path | None = None,
    *,
    check_images: str | Path | None = None,
    int8: bool = False,
    settings: Mapping[str, object] | None = None,
    progress: bool = True,
) -> Exported:
    """Write a network as a file that answers without deepres: preparation, names and probabilities are in it.

    It is compared on real pictures before it is there, and answers wherever a run does.

    >>> import deepres
    >>> file = deepres.export("runs/digits-1", "pt2", "digits-pt2", settings={"input": "fitted"}, progress=False)
    >>> file.parity.agreement
    1.0
    >>> deepres.Predictor.load(file)("runs/digits-1/samples/0.png", top_k=1).guesses[0].name
    '0'
    >>> deepres.evaluate(file, progress=False).num_images
    269

    Args:
        weights: those of a run, or others.
        format: onnx, openvino, pt2, timm or browser.
        output: the new folder; by default `NAME-FORMAT`, here.
        check_images: pictures that the file is compared on, 64 at least; by default held-out images of the run.
        int8: in 8 bits, judged on the run's held-out images.
        settings: `input` ("image" or "fitted"), `check` (False: compare nothing), `max_loss` and `accept_uncertain` of
            8 bits, `runtime` of a page, `overwrite`, as the command's flags have them.
        progress: whether to show how far it is.

    Raises:
        InputError: what this network and this format cannot be, too few pictures, a place that is taken.
        RunError: the file answers otherwise than its network; nothing lies at `output` then.
    """
    spec = spec_of(weights)
    word(format, "format", "onnx, openvino, pt2, timm or browser")
    place = None if output is None else Path(path_text(output, "output", "a folder"))
    images = None if check_images is None else path_text(check_images, "check_images", "images")
    flag(int8, "int8")
    flag(progress, "progress")
    given = {"format": format, "check_images": images, "int8": int8}
    plan = build(ExportPlan, {**given, **_settings(settings, given)}, "settings")
    with watching("exporting", progress) as watch:
        return export_run(spec, place, plan, on_event=watch.hear, command=f"deepres.export({spec.name!r})")


def _settings(settings: Mapping[str, object] | None, given: Mapping[str, object]) -> dict[str, Any]:
    """Fields by their names, such as are no arguments of their own.

    Raises:
        InputError: they are none.
    """
    if not isinstance(settings, Mapping | None):
        raise InputError(f"settings: given {settings!r:.40}; wanted fields by name, such as {{'max_loss': 1}}")
    for name in settings or {}:
        if not isinstance(name, str):
            raise InputError(f"settings: {name!r:.40}: wanted the name of a field, such as max_loss")
        if name in given:
            raise InputError(f"settings: {name} is an argument of its own; name it there, {name}=…")
    return {**(settings or {})}
