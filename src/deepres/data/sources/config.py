"""Which images, how they are split and how they are read, as facts. Free of torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from deepres.base.records import Record
from deepres.data.forms import FormName
from deepres.data.transforms.config import Decode

Depth = int | Literal["leaf"]
BoxLabels = Literal["voc", "coco", "yolo", "csv", "imagenet"]
Splits = Literal["auto", "folders", "none"]


ABOUT_BOXES = ("boxes", "first_pixel", "frame", "on_bad_box", "unlabelled", "trainval", "masks", "classes")
"""Fields that say how labels of boxes are read."""


class DataConfig(Record):
    """Which images, and how they are split and read; written into the run, edited by `--set data.field=value`.

    `decode` is about training crops cut from an image's own size: "scaled" decodes no finer than the crop needs and
    resamples once (crops.py: the same law, pixels near the others); "full" decodes all and does what torchvision's
    transforms do, as the papers' recipes say. Evaluation, prediction and statistics always decode in full.
    `workers` "auto", and `prefetch_factor`, the batches that each has in hand or ready, are settled by
    measurement when the run starts (workers.py); they change no batch. `levels` "set" becomes the number that it means.
    """

    source: str = "digits"
    root: str | None = "data"  # where sets known by name lie, or a file's pictures; None: the working folder
    download: bool = False
    channels: Literal[1, 3] | None = None  # None: what the source has (photographs 3)
    val_fraction: float = Field(0.1, ge=0, lt=1)  # of the set that it is cut from; 0: no val
    test_fraction: float = Field(0.15, ge=0, lt=1)
    split_seed: int = 0
    folds: Annotated[int, Field(ge=2)] | None = None  # the test split is fold `fold` of so many (folding.py)
    fold: Annotated[int, Field(ge=1)] | None = None
    depth: Annotated[int, Field(ge=1)] | Literal["leaf"] | None = None  # of class folders; None: there is but one way
    splits: Splits = "auto"  # folders called train, …: "folders" splits in any case, "none" classes
    targets: FormName | Literal["auto"] = "auto"  # what stands beside an image (data/targets.py)
    boxes: BoxLabels | Literal["auto"] = "auto"  # whose way of writing boxes (boxed.py)
    first_pixel: Literal["auto", 0, 1] = (
        "auto"  # what VOC and CSV call the first pixel; auto: 0 where a box begins at 0
    )
    frame: Literal["auto", "upright", "stored"] = "auto"  # which way up boxes are meant where sizes do not tell
    on_bad_box: Literal["drop", "stop"] = "drop"  # a box without area
    unlabelled: Literal["auto", "stop", "empty"] = (
        "auto"  # a picture without labels; auto: VOC stops, YOLO has empty ones
    )
    trainval: bool = False  # pictures with boxes: val is learnt with train, where there is a test split besides
    masks: Literal["auto", "on", "off"] = "auto"  # of objects: read where all have one, wanted, not read
    classes: tuple[str, ...] | None = None  # of boxes, in this order, those of others left out; None: all
    columns: str | None = None  # of a table: path:COLUMN,label:COLUMN[,split:COLUMN]; None: by their names
    levels: Annotated[float, Field(gt=0)] | Literal["set"] | None = None  # white, of more than 8 bits (decode.py)
    on_bad_image: Literal["stop", "skip"] = "stop"
    decode: Decode = "scaled"
    workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = 0  # processes that decode files
    prefetch_factor: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _columns_of_old(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Runs of before had a field for each column."""
        old = {role: fields.get(f"{role}_column") for role in ("path", "label", "split")}
        if not any(f"{role}_column" in fields for role in old):
            return fields
        fields = {name: value for name, value in fields.items() if not name.endswith("_column")}
        said = ",".join(f"{role}:{column}" for role, column in old.items() if column not in (None, role))
        return {**fields, "columns": said or None}

    @field_validator("channels", "first_pixel", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if value in ("0", "1", "3") else value

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction {self.val_fraction:g} + test_fraction {self.test_fraction:g} leave nothing to train on; "
                "wanted a sum below 1"
            )
        if (self.folds is None) != (self.fold is None):
            raise ValueError(f"folds {self.folds} and fold {self.fold}: wanted both, such as 5 and 1, or neither")
        if self.folds is not None and self.fold is not None and self.fold > self.folds:
            raise ValueError(f"fold {self.fold}: there are {self.folds} folds; wanted 1 to {self.folds}")
        return self
