"""What other tools call what a run has: each spelling, and the flag or field that it means here, or what is said of it.

Read by the command line, by files of settings and by the documentation (`docs/coming-from.md`); loads nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Spelling:
    """One thing that others (timm, torchvision, ultralytics, transformers, Lightning) call `names`, without dashes.

    `to` is our flag (`--batch-size`), a field (`train.sgd.momentum`), or `SOURCE` or `RUN`, the arguments. A switch
    sets it to `switch`. `values` are their values -> ours, where these differ ("" changes nothing); `refused` their
    values -> what is said of them ("*": of any other). Without `to` it is answered with `answer`.
    """

    names: tuple[str, ...]
    to: str = ""
    switch: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""


_SGD = "deepres trains with SGD as the papers define it (train.sgd.momentum, .nesterov, .weight_decay); leave it out"
_SCHEDULES = "wanted cosine, step or constant (train.schedule.kind, .milestones, .gamma)"
_FLOAT16 = "float16 would need its losses scaled, and is not trained in; bfloat16 is: --set train.precision=bfloat16"
_WHERE = "a run has one folder: --output DIR"
_PROCESSES = "start it with torchrun --nproc-per-node N -m deepres train …; one device is --device cuda:0"
_SPLITS = "SOURCE is one folder with train/ and val/ (and test/) inside, or one to be divided: data.val_fraction"

TRAIN: tuple[Spelling, ...] = (
    Spelling(("data", "data-dir", "data-path", "train-dir", "data-root", "dataset-dir"), "SOURCE"),
    Spelling(("dataset", "dataset-name"), "SOURCE"),
    Spelling(("arch", "a", "backbone", "net", "network", "model-name"), "--model"),
    Spelling(
        ("initial-checkpoint", "load-weights", "checkpoint", "ckpt", "model-name-or-path", "finetune"), "--weights"
    ),
    Spelling(("learning-rate", "lr0", "base-lr"), "--lr"),
    Spelling(("batch", "bs", "train-batch-size"), "--batch-size"),
    Spelling(("num-train-epochs", "max-epochs", "num-epochs"), "--epochs"),
    Spelling(("num-workers", "dataloader-num-workers"), "--workers"),
    Spelling(("output-dir", "out-dir", "work-dir", "save-dir", "out", "default-root-dir"), "--output"),
    Spelling(("teacher-model", "kd-model-name"), "--teacher"),
    Spelling(("fast-dev-run",), "--smoke"),
    Spelling(("image-size", "train-crop-size", "crop-size", "img"), "--img-size"),
    Spelling(("amp", "use-amp"), "train.precision", switch="auto"),
    Spelling(("no-amp", "fp32"), "train.precision", switch="float32"),
    Spelling(("bf16",), "train.precision", switch="bfloat16"),
    Spelling(
        ("amp-dtype", "precision"),
        "train.precision",
        values={"bf16": "bfloat16", "bf16-mixed": "bfloat16", "32": "float32", "32-true": "float32", "fp32": "float32"},
        refused={"float16": _FLOAT16, "fp16": _FLOAT16, "16": _FLOAT16, "16-mixed": _FLOAT16},
    ),
    Spelling(
        ("opt", "optimizer", "optim"),
        "train.sgd.nesterov",
        values={"sgd": "", "auto": "", "momentum": "false", "nesterov": "true"},
        refused={"*": _SGD},
    ),
    Spelling(
        ("sched", "lr-scheduler", "lr-scheduler-type", "scheduler"),
        "train.schedule.kind",
        values={
            **dict.fromkeys(("cosine", "cosineannealinglr"), "cosine"),
            **dict.fromkeys(("step", "steps", "steplr", "multistep", "multisteplr"), "steps"),
            **dict.fromkeys(("constant", "none"), "constant"),
        },
        refused={"*": _SCHEDULES},
    ),
    Spelling(("momentum",), "train.sgd.momentum"),
    Spelling(("nesterov",), "train.sgd.nesterov", switch="true"),
    Spelling(("min-lr", "lr-min"), "train.schedule.end"),
    Spelling(("warmup-ratio",), "train.schedule.warmup_fraction"),
    Spelling(("lr-gamma", "decay-rate"), "train.schedule.gamma"),
    Spelling(("smoothing", "label-smoothing", "label-smoothing-factor"), "train.label_smoothing"),
    Spelling(("mixup", "mixup-alpha"), "augmentation.mixup"),
    Spelling(("cutmix", "cutmix-alpha"), "augmentation.cutmix"),
    Spelling(("reprob", "random-erase", "erasing"), "augmentation.erase"),
    Spelling(("hflip", "fliplr"), "augmentation.flip"),
    Spelling(("color-jitter", "colour-jitter"), "augmentation.jitter"),
    Spelling(
        ("aa", "auto-augment"),
        "augmentation.auto",
        values={
            "ta_wide": "trivial",
            "trivialaugment": "trivial",
            "ra": "rand",
            "randaugment": "rand",
            "imagenet": "auto",
        }
        | {"autoaugment": "auto", "original": "auto"},
        refused={"*": "wanted trivial, rand, auto or augmix (augmentation.auto)"},
    ),
    Spelling(("clip-grad", "clip-grad-norm", "max-grad-norm", "gradient-clip-val"), "train.clip_norm"),
    Spelling(("drop-path", "drop-path-rate", "stochastic-depth-prob"), "model.drop_path"),
    Spelling(("drop", "dropout"), "model.head_dropout"),
    Spelling(("early-stopping-patience", "patience"), "train.patience"),
    Spelling(("layer-decay",), "train.layer_decay"),
    Spelling(("model-ema", "ema"), "train.ema_decay", switch="0.9998"),
    Spelling(("model-ema-decay", "ema-decay"), "train.ema_decay"),
    Spelling(("sync-bn", "sync-batchnorm"), "train.sync_norm", switch="true"),
    Spelling(("train-val-split", "validation-split", "val-split"), "data.val_fraction"),
    Spelling(("torchcompile", "torch-compile"), "--compile", switch="max"),
    Spelling(("grad-checkpointing", "gradient-checkpointing"), "--memory", switch="save"),
    Spelling(("no-cuda", "use-cpu", "cpu"), "--device", switch="cpu"),
    Spelling(("fp16", "half"), answer=_FLOAT16),
    Spelling(("project", "name", "experiment", "run-name", "exist-ok"), answer=_WHERE),
    Spelling(("gpus", "devices", "ngpus", "accelerator", "nproc-per-node", "launcher", "strategy"), answer=_PROCESSES),
    Spelling(("val-dir", "validation-dir", "test-dir", "train-split", "val-split-name"), answer=_SPLITS),
    Spelling(("warmup-epochs", "lr-warmup-epochs", "warmup-steps"), answer="a share of the run: --warmup-ratio 0.05"),
    Spelling(
        ("grad-accum-steps", "gradient-accumulation-steps", "accumulate-grad-batches"),
        answer="--batch-size is that of the whole step; --set train.accumulate=N computes it in N pieces",
    ),
    Spelling(
        ("per-device-train-batch-size", "per-gpu-batch-size", "lr-base"),
        answer="--batch-size is that of the whole step, of all processes together, and the rate goes with it",
    ),
    Spelling(("lrf",), answer="the rate at the end is --set train.schedule.end=LR"),
    Spelling(
        ("lr-step-size", "decay-epochs", "decay-milestones", "milestones"),
        answer="shares of the run: --set train.schedule.milestones=0.5,0.75",
    ),
    Spelling(("freeze",), answer="parts by name: --set train.frozen=stem,stage1"),
    Spelling(
        ("evaluate", "test-only", "eval-only", "do-eval"), answer="measuring is a verb: deepres eval RUN [SOURCE]"
    ),
    Spelling(("do-train",), answer="training is what deepres train does; leave it out"),
    Spelling(("channels-last",), answer="the layout is chosen by what the device is fast at; leave it out"),
    Spelling(
        ("deterministic", "full-determinism", "use-deterministic-algorithms"),
        answer="a run repeats bitwise on the same machine as it is (--seed); leave it out",
    ),
    Spelling(("cache", "cache-dataset"), answer="deepres data pack SOURCE OUT, then train on OUT"),
    Spelling(
        ("start-epoch", "no-resume-opt"), answer="--resume goes on at the step where the run stopped; leave it out"
    ),
    Spelling(
        ("save-period", "checkpoint-hist", "save-total-limit"),
        answer="states are kept by time: --set train.save_every_seconds=60",
    ),
)
"""Of `deepres train`, `deepres data show` and their files of settings."""

_TRAINED = Spelling(
    ("weights", "checkpoint", "ckpt", "resume", "initial-checkpoint", "ckpt-path", "model-path", "pretrained", "model"),
    "RUN",
)
_OF_IMAGES = Spelling(("data", "data-dir", "data-path", "dataset", "val-dir", "source", "input", "images"), "SOURCE")
_FITTING = Spelling(("batch-size", "batch", "b"), answer="as many images as fit are answered at once; leave it out")
_PRECISION = (
    Spelling(("amp",), "--precision", switch="auto"),
    Spelling(("bf16",), "--precision", switch="bfloat16"),
    Spelling(("half", "fp16"), answer="float16 is not computed in; --precision bfloat16 is"),
)
_OF_ANSWERING = (
    _TRAINED,
    _FITTING,
    *_PRECISION,
    Spelling(("num-classes",), answer="the trained network says how many classes there are; leave it out"),
    Spelling(("num-workers", "workers", "j"), answer="how many processes decode is found out; leave it out"),
)
_NO_SIZE = "pictures are prepared as in training; leave it out"

SPELLINGS: dict[str, tuple[Spelling, ...]] = {
    "train": TRAIN,
    "data show": TRAIN,
    "eval": (
        *_OF_ANSWERING,
        _OF_IMAGES,
        Spelling(("img-size", "imgsz", "val-crop-size"), answer="another size is a protocol: --protocol center:SIDE"),
        Spelling(("tta", "augment"), answer="several views are a protocol: --protocol ten-crop"),
    ),
    "predict": (
        *_OF_ANSWERING,
        _OF_IMAGES,
        Spelling(("topk", "top"), "--top-k"),
        Spelling(("conf", "conf-thres", "threshold"), "--above"),
        Spelling(("img-size", "imgsz"), answer=_NO_SIZE),
        Spelling(("save-txt", "save-json"), answer="answers are printed, or written: --json, --csv FILE"),
    ),
    "analyze": (_TRAINED, _OF_IMAGES),
    "export": (
        _TRAINED,
        Spelling(("img-size", "imgsz"), answer="the size is that of training; the form of the input: --input"),
        Spelling(("dynamic", "simplify", "opset", "optimize"), answer="what can be is done by itself; leave it out"),
        Spelling(("half", "fp16"), answer="float16 is not written; --int8 makes files smaller"),
        Spelling(("batch-size", "batch"), answer="a file takes any number of images; leave it out"),
        Spelling(("fast",), answer="leave it out"),
    ),
    "bench": (
        Spelling(("model", "weights", "checkpoint"), "RUN"),
        Spelling(("img-size", "imgsz"), answer="measured at the network's own size; leave it out"),
    ),
    "serve": (_FITTING, *_PRECISION),
}
"""By verb; what stands in no table of a verb is no flag there."""
