"""What other tools call what a run has: each spelling, and the flag or field that it means here, or what is said of it.

Read by the command line, by files of settings and by the documentation (`docs/coming-from.md`); loads nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OtherWord:
    """One thing that others (timm, torchvision, ultralytics, transformers, Lightning) call `names`, without dashes.

    `to` is our flag (`--batch-size`), a field (`train.epochs`), or `SOURCE` or `RUN`, the arguments. A switch
    sets it to `switch`. `values` are their values -> ours, where these differ ("" changes nothing); `refused` their
    values -> what is said of them ("*": of any other). Without `to` it is answered with `answer`.
    """

    names: tuple[str, ...]
    to: str = ""
    switch: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""


_OPTIMIZERS = "wanted sgd, adamw or lamb (train.optimizer)"
_SCHEDULES = "wanted cosine, step or constant (train.schedule.kind, .milestones, .gamma)"
_WHERE = "a run has one folder: --output DIR"
_PROCESSES = "start it with torchrun --nproc-per-node N -m deepres train …; one device is --device cuda:0"
_SPLITS = "SOURCE is one folder with train/ and val/ (and test/) inside, or one to be divided: data.val_fraction"

TRAIN: tuple[OtherWord, ...] = (
    OtherWord(("data", "data-dir", "data-path", "train-dir", "data-root", "dataset-dir"), "SOURCE"),
    OtherWord(("dataset", "dataset-name"), "SOURCE"),
    OtherWord(("arch", "a", "backbone", "net", "network", "model-name"), "--model"),
    OtherWord(
        ("initial-checkpoint", "load-weights", "checkpoint", "ckpt", "model-name-or-path", "finetune"), "--weights"
    ),
    OtherWord(("learning-rate", "lr0", "base-lr"), "--lr"),
    OtherWord(("batch", "bs", "train-batch-size"), "--batch-size"),
    OtherWord(("num-train-epochs", "max-epochs", "num-epochs"), "--epochs"),
    OtherWord(("num-workers", "dataloader-num-workers"), "--workers"),
    OtherWord(("output-dir", "out-dir", "work-dir", "save-dir", "out", "default-root-dir"), "--output"),
    OtherWord(("teacher-model", "kd-model-name"), "--teacher"),
    OtherWord(("fast-dev-run",), "--smoke"),
    OtherWord(("image-size", "train-crop-size", "crop-size", "img"), "--img-size"),
    OtherWord(("amp", "use-amp"), "train.precision", switch="auto"),
    OtherWord(("no-amp", "fp32"), "train.precision", switch="float32"),
    OtherWord(("bf16",), "train.precision", switch="bfloat16"),
    OtherWord(
        ("amp-dtype", "precision"),
        "train.precision",
        values={"bf16": "bfloat16", "bf16-mixed": "bfloat16", "32": "float32", "32-true": "float32", "fp32": "float32"}
        | {"fp16": "float16", "16": "float16", "16-mixed": "float16"},
    ),
    OtherWord(
        ("opt", "optimizer", "optim"),
        "train.optimizer",
        values={"sgd": "", "auto": "", **dict.fromkeys(("adamw", "adamw_torch", "adamw_torch_fused"), "adamw")}
        | dict.fromkeys(("lamb", "nvlamb"), "lamb"),
        refused={
            "momentum": "SGD without Nesterov's step is --set train.optimizer.nesterov=false",
            "nesterov": "SGD with Nesterov's step is --set train.optimizer.nesterov=true",
            "*": _OPTIMIZERS,
        },
    ),
    OtherWord(
        ("sched", "lr-scheduler", "lr-scheduler-type", "scheduler"),
        "train.schedule.kind",
        values={
            **dict.fromkeys(("cosine", "cosineannealinglr"), "cosine"),
            **dict.fromkeys(("step", "steps", "steplr", "multistep", "multisteplr"), "steps"),
            **dict.fromkeys(("constant", "none"), "constant"),
        },
        refused={"*": _SCHEDULES},
    ),
    OtherWord(("momentum",), "train.optimizer.momentum"),
    OtherWord(("nesterov",), "train.optimizer.nesterov", switch="true"),
    OtherWord(("min-lr", "lr-min"), "train.schedule.end"),
    OtherWord(("warmup-ratio",), "train.schedule.warmup_fraction"),
    OtherWord(("lr-gamma", "decay-rate"), "train.schedule.gamma"),
    OtherWord(("smoothing", "label-smoothing", "label-smoothing-factor"), "train.label_smoothing"),
    OtherWord(("mixup", "mixup-alpha"), "augmentation.mixup"),
    OtherWord(("cutmix", "cutmix-alpha"), "augmentation.cutmix"),
    OtherWord(("aug-repeats", "ra-reps"), "train.repeats"),
    OtherWord(("ra-sampler",), answer="each image several times in a step: --set train.repeats=4"),
    OtherWord(("reprob", "random-erase", "erasing"), "augmentation.erase"),
    OtherWord(("hflip", "fliplr"), "augmentation.flip"),
    OtherWord(("color-jitter", "colour-jitter"), "augmentation.jitter"),
    OtherWord(
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
    OtherWord(("clip-grad", "clip-grad-norm", "max-grad-norm", "gradient-clip-val"), "train.clip_norm"),
    OtherWord(("drop-path", "drop-path-rate", "stochastic-depth-prob"), "model.drop_path"),
    OtherWord(("drop", "dropout"), "model.head_dropout"),
    OtherWord(("early-stopping-patience", "patience"), "train.patience"),
    OtherWord(("layer-decay",), "train.layer_decay"),
    OtherWord(("model-ema", "ema"), "train.ema_decay", switch="0.9998"),
    OtherWord(("model-ema-decay", "ema-decay"), "train.ema_decay"),
    OtherWord(("sync-bn", "sync-batchnorm"), "train.sync_norm", switch="true"),
    OtherWord(("train-val-split", "validation-split", "val-split"), "data.val_fraction"),
    OtherWord(("torchcompile", "torch-compile"), "--compile", switch="max"),
    OtherWord(("grad-checkpointing", "gradient-checkpointing"), "--memory", switch="save"),
    OtherWord(("log-wandb", "use-wandb", "wandb"), "--log", switch="wandb"),
    OtherWord(("report-to", "logger", "loggers"), "--log", values={"all": "tensorboard,wandb,mlflow"}),
    OtherWord(("no-cuda", "use-cpu", "cpu"), "--device", switch="cpu"),
    OtherWord(("fp16", "half"), "train.precision", switch="float16"),
    OtherWord(("project", "name", "experiment", "run-name", "exist-ok"), answer=_WHERE),
    OtherWord(("gpus", "devices", "ngpus", "accelerator", "nproc-per-node", "launcher", "strategy"), answer=_PROCESSES),
    OtherWord(("val-dir", "validation-dir", "test-dir", "train-split", "val-split-name"), answer=_SPLITS),
    OtherWord(("warmup-epochs", "lr-warmup-epochs", "warmup-steps"), answer="a share of the run: --warmup-ratio 0.05"),
    OtherWord(
        ("grad-accum-steps", "gradient-accumulation-steps", "accumulate-grad-batches"),
        answer="--batch-size is that of the whole step; --set train.accumulate=N computes it in N pieces",
    ),
    OtherWord(
        ("per-device-train-batch-size", "per-gpu-batch-size", "lr-base"),
        answer="--batch-size is that of the whole step, of all processes together, and the rate goes with it",
    ),
    OtherWord(("lrf",), answer="the rate at the end is --set train.schedule.end=LR"),
    OtherWord(
        ("lr-step-size", "decay-epochs", "decay-milestones", "milestones"),
        answer="shares of the run: --set train.schedule.milestones=0.5,0.75",
    ),
    OtherWord(("freeze",), answer="parts by name: --set train.frozen=stem,stage1"),
    OtherWord(
        ("evaluate", "test-only", "eval-only", "do-eval"), answer="measuring is a verb: deepres eval RUN [SOURCE]"
    ),
    OtherWord(("do-train",), answer="training is what deepres train does; leave it out"),
    OtherWord(("channels-last",), answer="the layout is chosen by what the device is fast at; leave it out"),
    OtherWord(
        ("deterministic", "full-determinism", "use-deterministic-algorithms"),
        answer="a run repeats bitwise on a CPU as it is, on a GPU as far as its kernels do (--seed); leave it out",
    ),
    OtherWord(("cache", "cache-dataset"), answer="deepres data pack SOURCE OUT, then train on OUT"),
    OtherWord(
        ("start-epoch", "no-resume-opt"), answer="--resume goes on at the step where the run stopped; leave it out"
    ),
    OtherWord(
        ("save-period", "checkpoint-hist", "save-total-limit"),
        answer="states are kept by time: --set train.save_every_seconds=60",
    ),
)
"""Of `deepres train`, `deepres data show` and their files of settings."""

_TRAINED = OtherWord(
    ("weights", "checkpoint", "ckpt", "resume", "initial-checkpoint", "ckpt-path", "model-path", "pretrained", "model"),
    "RUN",
)
_OF_IMAGES = OtherWord(("data", "data-dir", "data-path", "dataset", "val-dir", "source", "input", "images"), "SOURCE")
_FITTING = OtherWord(("batch-size", "batch", "b"), answer="as many images as fit are answered at once; leave it out")
_PRECISION = (
    OtherWord(("amp",), "--precision", switch="auto"),
    OtherWord(("bf16",), "--precision", switch="bfloat16"),
    OtherWord(("half", "fp16"), answer="float16 is not computed in; --precision bfloat16 is"),
)
_OF_ANSWERING = (
    _TRAINED,
    _FITTING,
    *_PRECISION,
    OtherWord(("num-classes",), answer="the trained network says how many classes there are; leave it out"),
    OtherWord(("num-workers", "workers", "j"), answer="how many processes decode is found out; leave it out"),
)
_NO_SIZE = "pictures are prepared as in training; leave it out"

SPELLINGS: dict[str, tuple[OtherWord, ...]] = {
    "train": TRAIN,
    "data show": TRAIN,
    "eval": (
        *_OF_ANSWERING,
        _OF_IMAGES,
        OtherWord(("img-size", "imgsz", "val-crop-size"), answer="another size is a protocol: --protocol center:SIDE"),
        OtherWord(("tta", "augment"), answer="several views are a protocol: --protocol ten-crop"),
    ),
    "predict": (
        *_OF_ANSWERING,
        _OF_IMAGES,
        OtherWord(("topk", "top"), "--top-k"),
        OtherWord(("conf", "conf-thres", "threshold"), "--above"),
        OtherWord(("img-size", "imgsz"), answer=_NO_SIZE),
        OtherWord(("save-txt", "save-json"), answer="answers are printed, or written: --json, --csv FILE"),
    ),
    "analyze": (_TRAINED, _OF_IMAGES),
    "export": (
        _TRAINED,
        OtherWord(("img-size", "imgsz"), answer="the size is that of training; the form of the input: --input"),
        OtherWord(("dynamic", "simplify", "opset", "optimize"), answer="what can be is done by itself; leave it out"),
        OtherWord(("half", "fp16"), answer="float16 is not written; --int8 makes files smaller"),
        OtherWord(("batch-size", "batch"), answer="a file takes any number of images; leave it out"),
        OtherWord(("fast",), answer="leave it out"),
    ),
    "bench": (
        OtherWord(("model", "weights", "checkpoint"), "RUN"),
        OtherWord(("img-size", "imgsz"), answer="measured at the network's own size; leave it out"),
    ),
    "serve": (_FITTING, *_PRECISION),
}
"""By verb; what stands in no table of a verb is no flag there."""
