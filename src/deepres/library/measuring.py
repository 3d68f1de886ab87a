"""`deepres.evaluate`, `deepres.compare` and `deepres.analyze`: what the verbs measure, from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from deepres.base.arguments import flag, path_text, whole, word, words
from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.reading import json_object, reading
from deepres.base.records import build
from deepres.data.sources.config import DataConfig
from deepres.library.showing import watching
from deepres.library.training import RunResult, device_of, spec_of
from deepres.nn.hardware import find_device
from deepres.nn.weights.spec import WANTED, WeightsSpec
from deepres.predict.exported.names import is_exported, require_cpu
from deepres.runs.analysis.run import ANALYSES, AnalysisTarget, examine
from deepres.runs.analysis.units import AnalysisConfig
from deepres.runs.ensemble import EnsembleConfig
from deepres.runs.exported import as_answers
from deepres.runs.folds_measured import measure_any
from deepres.runs.unknown import beside_unknown, require_plain
from deepres.tasks.comparison import Comparison, compared
from deepres.tasks.result import Result
from deepres.train.distributed import init_distributed

Weights = WeightsSpec | RunResult | PathLike[str] | str
"""A run, its folder, a file, an export, a name; `WeightsSpec` for weights that do not say of which network they are."""


def evaluate(
    weights: Weights | Sequence[Weights],
    source: str | Path | DataConfig | None = None,
    *,
    split: str | None = None,
    protocol: str = "center",
    force: bool = False,
    device: str | None = None,
    backend: str = "torch",
    progress: bool = True,
) -> Result:
    """The error of weights on images, with its interval, by class, and how they are confused.

    >>> import deepres
    >>> result = deepres.evaluate("runs/digits-1", device="cpu", progress=False)
    >>> result.num_images
    269
    >>> result.error_low <= result.error <= result.error_high
    True
    >>> deepres.evaluate("runs/digits-1", split="val", device="cpu", progress=False).num_images
    179

    Args:
        weights: those of a run, others, or an exported file, which answers on the CPU; of several the probabilities
            are averaged.
        source: the images; by default a run's own.
        split: train, val or test (test; of a source without splits all images).
        protocol: the views of each image: center, flip, ten-crop, multi-scale:224,256, …; of boxes boxes:refine,
            boxes:flip, boxes:scales=200,400,600, boxes:refine+flip, ….
        force: measure also images that the run was trained on; the result says so.
        device: `cpu`, `cuda`, `cuda:N` or `mps`; by default a GPU of CUDA's if there is one.
        backend: what computes on a CPU: torch, openvino, onnxruntime, or auto, the fastest that is installed.
        progress: whether to show how far it is.

    Raises:
        InputError: anything that weights or images refuse; images that the run has seen.
    """
    split = None if split is None else word(split, "split", "train, val or test")
    word(protocol, "protocol", "center, flip, ten-crop, …")
    flag(force, "force")
    flag(progress, "progress")
    config = build(
        EnsembleConfig, {"split": split, "protocol": protocol, "force": force, "backend": backend}, "evaluate"
    )
    several: list[Any] = list(weights) if isinstance(weights, list | tuple) else [weights]
    if not several:
        raise InputError(f"weights: none given; wanted {WANTED}")
    specs = [spec_of(one) for one in several]
    for spec in specs:
        if is_exported(spec.name):
            require_cpu(spec.name, device)
    said = ", ".join([*(spec.name for spec in specs), *([] if source is None else [f"source={source!s}"])])
    with watching("measuring", progress) as watch, init_distributed(device_of(device)) as processes:
        measured = measure_any(
            specs,
            source_of(source),
            config,
            device=processes.device,
            command=f"deepres.evaluate({said})",
            on_progress=watch.counting("images"),
            processes=processes,
        )
    found: Result = measured.evaluation.result
    return found


def evaluate_unknown(
    weights: Weights,
    unknown: str | PathLike[str],
    source: str | Path | DataConfig | None = None,
    *,
    split: str | None = None,
    force: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> Result:
    """How well the highest probability of one network tells its own images from those of classes it does not know.

    >>> import deepres
    >>> found = deepres.evaluate_unknown("runs/digits-1", "others", device="cpu", progress=False)
    >>> found.unknown.num_known, found.unknown.num_unknown
    (269, 1)
    >>> found.unknown.auroc_low <= found.unknown.auroc <= found.unknown.auroc_high
    True

    Args:
        weights: those of a run, others, or an exported file.
        unknown: images of none of its classes, a source, or a folder of pictures.
        source: its own images, by default those of the run.
        split: as in `evaluate`.
        force: as in `evaluate`.
        device: as in `evaluate`.
        progress: whether to show how far it is.

    Raises:
        InputError: anything that weights or images refuse; a class that the network knows; several networks.
    """
    split = None if split is None else word(split, "split", "train, val or test")
    strange = path_text(unknown, "unknown", "a source or a folder of pictures")
    spec = spec_of(weights)
    require_plain([spec.name], {})
    if is_exported(spec.name):
        require_cpu(spec.name, device)
    config = EnsembleConfig(split=split, force=flag(force, "force"), keep_scores=True)
    with watching("measuring", flag(progress, "progress")) as watch, init_distributed(device_of(device)) as processes:
        measured = measure_any(
            [spec],
            source_of(source),
            config,
            device=processes.device,
            command=f"deepres.evaluate_unknown({spec.name}, {strange})",
            on_progress=watch.counting("images"),
            processes=processes,
        )
        count = watch.counting("unknown images")
        beside = processes.on_all_ranks(
            lambda: beside_unknown(measured, spec, strange, device=processes.device, on_progress=count)
        )
    found: Result = beside.evaluation.result
    return found


def compare(*runs: RunResult | PathLike[str] | str, vote: bool = False, force: bool = False) -> Comparison:
    """Which of these runs is better on the images that all were tested on, and whether the difference is one.

    >>> import deepres
    >>> other = deepres.train("digits", epochs=1, settings={"seed": 1}, device="cpu", progress=False)
    >>> found = deepres.compare("runs/digits-1", other)
    >>> found.pairs[0].num_images
    269
    >>> 0 <= found.pairs[0].p_value <= 1
    True
    >>> found.seeds[0].seeds
    (0, 1)

    Args:
        runs: two or more: runs, their folders, files of predictions (`deepres eval --predictions`), or exported files,
            which are asked about the test images of the first run.
        vote: add the majority vote of all as one more.
        force: compare although they were measured by different protocols.

    Raises:
        InputError: fewer than two, the same twice, or runs that were tested on other images.
    """
    folders = [Path(path_text(run, "runs", "runs, their folders, or files of predictions (.npz)")) for run in runs]
    flag(vote, "vote")
    flag(force, "force")
    if len(folders) < 2:
        raise InputError(f"compare: given {len(folders)}, wanted two runs at least")
    with as_answers(folders, f"deepres.compare({', '.join(map(str, folders))})") as places:
        return compared(places, vote=vote, force=force)


@dataclass(frozen=True)
class Analysis:
    """What was found, in words by analysis, and the `folder` with page, plots and numbers."""

    folder: Path
    found: Mapping[str, Sequence[str]]

    def numbers(self, kind: str) -> dict[str, Any]:
        """The numbers of one analysis, as its plots show them."""
        if kind not in self.found:
            raise InputError(f"{kind}: not carried out here; there are {', '.join(self.found)}")
        path = self.folder / f"{kind}.json"
        facts = json_object(path, "analysis", "analyze the run again")
        with reading(path, "an analysis", "analyze the run again"):
            return dict(facts["numbers"])

    def __str__(self) -> str:
        lines = [f"{kind}: {line}" for kind, told in self.found.items() for line in told]
        return "\n".join([*lines, f"page: {self.folder / 'report.html'}"])


def analyze(
    weights: Weights,
    source: str | Path | DataConfig | None = None,
    *,
    kinds: Sequence[str] = (),
    images: int = 500,
    output: str | Path | None = None,
    device: str | None = None,
    progress: bool = True,
) -> Analysis:
    """Take a trained network apart: units left out, paths by length, responses, maps, shifts ….

    >>> import deepres
    >>> found = deepres.analyze("runs/digits-1", kinds=["responses"], images=16, device="cpu", progress=False)
    >>> print(found.found["responses"][0].split(";")[0])
    19 layers
    >>> sorted(found.numbers("responses"))[:2]
    ['responses', 'untrained']

    Args:
        weights: those of a run, or others, which need a `source`.
        source: the images that are looked at; by default a run's own test images.
        kinds: lesion, paths, responses, propagation, reuse, cam, equivariance, surface, pixels; by default all that
            suit the network but the last two, which take long.
        images: how many images are looked at.
        output: the folder for page, plots and numbers; by default `analysis` in the run's.
        device: `cpu`, `cuda`, `cuda:N` or `mps`; by default a GPU of CUDA's if there is one.
        progress: whether to show how far it is.

    Raises:
        InputError: an unknown analysis, one that this network has no parts for; anything that weights or images refuse.
    """
    spec, kinds = spec_of(weights), words(kinds, "kinds", f"some of {', '.join(ANALYSES)}")
    images = whole(images, "images", 1)
    output = None if output is None else path_text(output, "output", "a folder")
    flag(progress, "progress")
    with watching("looking at the network", progress) as watch:
        folder, found = examine(
            AnalysisTarget(spec, source_of(source)),
            kinds,
            None if output is None else Path(output),
            AnalysisConfig(images=images),
            device=find_device(device_of(device)),
            command=f"deepres.analyze({spec.name})",
            on_progress=lambda kind, done, total: watch(Doing(kind, done, total)),
        )
    return Analysis(folder, found)


def source_of(source: str | Path | DataConfig | None) -> DataConfig | None:
    """Images as they may be given to a call."""
    if isinstance(source, DataConfig) or source is None:
        return source
    return DataConfig(
        source=path_text(source, "source", "a name such as digits, a folder, an archive, a .csv or a .npz")
    )
