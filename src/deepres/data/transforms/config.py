"""What happens to an image on its way to the network, as facts: `Preparation` always, `Augmentation` in training.

Pixels are scaled to [0, 1] first, always; then normalised. What can be done on whole batches (shifts and flips of
images that have the network's size, colour noise, erasing, mixing) is done by `per_batch` on the training device; what
must see the image's own size (resizing, crops), and automatic augmentation, by `per_image` on uint8 in the workers.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from deepres.base.errors import InputError
from deepres.base.records import Record

Decode = Literal["scaled", "full"]
"""full: every pixel, then torchvision's transforms. scaled: no finer than the crop needs, which is cut at once."""


class Preparation(Record):
    """What training, evaluation and prediction all do: channels, the network's input size, normalisation.

    `fit`: "crop" = short side to `resize`, then the central `crop` x `crop`; "squash" = to `crop` x `crop`, aspect
    given up; "pad" = long side to `crop`, grey bars (128), whole image kept; "sides" = short side to `resize`, long
    side to `longest` at most, whole image kept, in the corner of a canvas of multiples of `multiple` px (sides.py);
    None = as they are (all of one size). `resize` is read by "crop" and "sides" only, `longest` and `multiple` by
    "sides". `normalise`, on values in [0, 1]: "per_pixel" subtracts the mean
    of the training images and divides by nothing (He et al. 2015, 4.2); "per_channel" is (x - mean) / std; "none" is x.
    `margins`: before the central crop lies half of what is outside of it, rounded as torchvision does, to the even
    number, or floored as transformers does.
    `levels` is the value of pictures of more than 8 bits that is white (decode.py).
    """

    channels: int = 3
    levels: float | None = Field(default=None, gt=0)
    fit: Literal["crop", "squash", "pad", "sides"] | None = None
    resize: int | None = Field(default=None, ge=1, le=4096)
    crop: int | None = Field(default=None, ge=1, le=4096)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    normalise: Literal["per_pixel", "per_channel", "none"] = "per_channel"
    margins: Literal["rounded", "floored"] = "rounded"
    longest: int | None = Field(default=None, ge=1, le=4096)
    multiple: Annotated[int, Field(ge=1, le=256)] | None = None  # None: 32

    @property
    def size(self) -> int | None:
        """The side of the network's square input in pixels; None = that of the images, or no square."""
        return None if self.fit in (None, "sides") else self.crop

    @property
    def edge(self) -> int:
        """What the sides of a canvas are multiples of, in px."""
        return self.multiple or 32

    def input(self, side: int) -> tuple[int, int]:
        """(H, W) for which the network's costs are stated, of images of `side` px; of "sides" the largest canvas."""
        if self.fit == "sides":
            assert self.resize is not None
            assert self.longest is not None
            height, width = (-(-edge // self.edge) * self.edge for edge in (self.resize, self.longest))
            return height, width
        own = self.size or side
        return own, own

    @field_validator("channels")
    @classmethod
    def _grey_or_colour(cls, channels: int) -> int:
        if channels not in (1, 3):
            raise ValueError(f"given {channels}, wanted 1 (grey) or 3 (RGB)")
        return channels

    @model_validator(mode="after")
    def _has_sizes(self) -> Self:
        if self.fit == "sides":
            if self.resize is None or self.longest is None or self.longest < self.resize:
                raise ValueError(
                    f"fit 'sides' cannot have a short side of {self.resize} and a long one of {self.longest}; "
                    "give longest >= resize first"
                )
            return self
        if self.fit is not None and self.crop is None:
            raise ValueError(f"fit '{self.fit}' without a size; give crop first, such as crop=224")
        if self.fit == "crop" and (self.resize is None or self.crop is None or self.resize < self.crop):
            raise ValueError(
                f"fit 'crop' cannot cut {self.crop} from a short side of {self.resize}; give resize >= crop first"
            )
        return self


class Augmentation(Record):
    """What only training does; the default is nothing.

    `crop`: "pad" = `pad` pixels added on every side of the normalised image, then a random crop of the old size;
    "short_side" = short side to an integer uniform in `scale` (both ends included), then a random crop;
    "random_resized" = a random part of `area` (share) and aspect `ratio`, resized (Szegedy et al. 2015); "whole", of
    fit "sides" = short side to an integer uniform in `scale`, nothing cut off.
    `pad_fill`: "zero" = the mean once normalised; "reflect" (Zagoruyko & Komodakis 2016).
    `flip`, `erase`: probabilities. `colour_pca`: std of AlexNet's noise along the principal axes of RGB (0.1 there).
    `auto`: TrivialAugmentWide, RandAugment (2 of magnitude 9), AutoAugment (ImageNet's policy), AugMix of torchvision.
    `jitter`: brightness, contrast and saturation, each by a factor in [1 - jitter, 1 + jitter].
    `mixup`, `cutmix`: alphas of their Beta distributions. 0 is off everywhere.
    """

    crop: Literal["none", "pad", "random_resized", "short_side", "whole"] = "none"
    pad: int = Field(default=4, ge=1, le=4096)
    pad_fill: Literal["zero", "reflect"] = "zero"
    scale: tuple[int, int] = (256, 480)
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = Field(default=0.0, ge=0, le=1)
    colour_pca: float = Field(default=0.0, ge=0)
    auto: Literal["none", "trivial", "rand", "auto", "augmix"] = "none"
    jitter: float = Field(default=0.0, ge=0, le=1)
    erase: float = Field(default=0.0, ge=0, le=1)
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)

    @field_validator("scale", "area", "ratio")
    @classmethod
    def _rises(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 < limits[0] <= limits[1]:
            raise ValueError(f"given {limits}, wanted two numbers above 0, the smaller first")
        return limits

    @field_validator("scale")
    @classmethod
    def _is_of_pictures(cls, scale: tuple[int, int]) -> tuple[int, int]:
        if scale[1] > 4096:
            raise ValueError(f"given {scale}, wanted short sides of at most 4096 px")
        return scale

    @field_validator("area")
    @classmethod
    def _is_share(cls, area: tuple[float, float]) -> tuple[float, float]:
        if area[1] > 1:
            raise ValueError(f"given {area}, wanted shares of the image, at most 1")
        return area

    @property
    def sees_own_size(self) -> bool:
        """Whether the crop is cut from the image's own size, not from one already fitted to the network."""
        return self.crop in ("random_resized", "short_side")

    @property
    def is_per_sample(self) -> bool:
        """Whether some of it has to be done image by image, before batches are made."""
        return self.sees_own_size or self.crop == "whole" or self.auto != "none" or self.jitter > 0


def in_words(augmentation: Augmentation) -> str:
    """`random parts of 25 to 100 % of the image, mirrored in 50 %`: what training does to an image, in this order."""
    crops = {
        "none": "",
        "pad": f"shifted by up to {augmentation.pad} px",
        "short_side": "short side {} to {} px, a random part of it".format(*augmentation.scale),
        "random_resized": f"random parts of {_percent(*augmentation.area)} of the image",
        "whole": "short side {} to {} px".format(*augmentation.scale),
    }
    autos = {
        "none": "",
        "trivial": "TrivialAugmentWide",
        "rand": "RandAugment",
        "auto": "AutoAugment",
        "augmix": "AugMix",
    }
    told = {
        crops[augmentation.crop]: True,
        f"mirrored in {_percent(augmentation.flip)}": augmentation.flip,
        f"brightness, contrast and saturation changed by up to {_percent(augmentation.jitter)}": augmentation.jitter,
        autos[augmentation.auto]: True,
        f"colours moved along their axes (std {augmentation.colour_pca:g})": augmentation.colour_pca,
        f"a box erased in {_percent(augmentation.erase)}": augmentation.erase,
        f"mixup {augmentation.mixup:g}": augmentation.mixup,
        f"cutmix {augmentation.cutmix:g}": augmentation.cutmix,
    }
    return ", ".join(words for words, holds in told.items() if words and holds) or "nothing is done to an image"


def check_together(augmentation: Augmentation, preparation: Preparation) -> None:
    """Refuse an augmentation that cannot give what the preparation promises the network.

    Raises:
        InputError: no size to crop to, a short side below the crop, colour noise without colours.
    """
    size, sides = preparation.size, preparation.fit == "sides"
    if sides and augmentation.crop not in ("none", "whole"):
        raise InputError(
            f"augmentation.crop '{augmentation.crop}': preparation.fit 'sides' keeps pictures whole; "
            "wanted none, or whole (short side drawn from augmentation.scale)"
        )
    if not sides and augmentation.crop == "whole":
        raise InputError("augmentation.crop 'whole': is for preparation.fit 'sides'; wanted another crop")
    if sides and augmentation.auto != "none":
        raise InputError(
            f"augmentation.auto={augmentation.auto}: it turns and shears by maps that it does not tell, and boxes move "
            "with the pixels; set augmentation.auto=none"
        )
    if sides and (augmentation.mixup or augmentation.cutmix):
        raise InputError("augmentation.mixup and cutmix: preparation.fit 'sides' has pictures of several sizes; set 0")
    if augmentation.sees_own_size and size is None:
        raise InputError(
            f"augmentation.crop '{augmentation.crop}': wanted a size to crop to; set preparation.crop, resize and fit"
        )
    if augmentation.crop == "short_side" and size is not None and augmentation.scale[0] < size:
        raise InputError(
            f"augmentation.scale {augmentation.scale}: short side {augmentation.scale[0]} holds no crop of {size}; "
            f"raise the scale or lower preparation.crop"
        )
    if augmentation.colour_pca and preparation.channels != 3:
        raise InputError(
            f"augmentation.colour_pca {augmentation.colour_pca}: wanted preparation.channels 3, "
            f"given {preparation.channels}; set colour_pca to 0"
        )


def cifar_2015() -> tuple[Augmentation, Preparation]:
    """Per-pixel mean subtracted, 4 px padded on each side, random 32 crop of it or its mirror (He et al. 2015, 4.2).

    The mean is subtracted before padding, so what is padded is the mean: our choice, the paper does not say.
    """
    return Augmentation(crop="pad", pad=4, flip=0.5), Preparation(normalise="per_pixel")


def imagenet_2015() -> tuple[Augmentation, Preparation]:
    """Short side in 256..480, random 224 crop of it or its mirror, per-pixel mean, PCA colour (He et al. 2015, 3.4).

    The mean is a 224 x 224 image subtracted after the crop, as in the authors' published networks; colours on [0, 1]
    with std 0.1 as in AlexNet. One evaluation crop: the central 224 of short side 256. Bilinear: our choice.
    """
    return (
        Augmentation(crop="short_side", scale=(256, 480), flip=0.5, colour_pca=0.1),
        Preparation(fit="crop", resize=256, crop=224, normalise="per_pixel"),
    )


def imagenet_modern() -> tuple[Augmentation, Preparation]:
    """RandomResizedCrop 224, mirror, TrivialAugmentWide, erasing 0.1; test on the central 224 of 256 (torchvision).

    Their full recipe trains at 176 and adds mixup 0.2 and cutmix 1; set `mixup` and `cutmix` for long trainings.
    """
    return (
        Augmentation(crop="random_resized", flip=0.5, auto="trivial", erase=0.1),
        Preparation(fit="crop", resize=256, crop=224),
    )


def photos(size: int = 224) -> tuple[Augmentation, Preparation]:
    """One's own photos: random parts of at least 35 % of the image, mirror, light colour jitter (ours).

    Evaluated on the central square of the whole short side, so that objects near the edges are kept as far as a square
    allows; `preparation.fit=pad` keeps all of a long image.
    """
    return (
        Augmentation(crop="random_resized", area=(0.35, 1.0), flip=0.5, jitter=0.2),
        Preparation(fit="crop", resize=size, crop=size),
    )


def small(size: int, channels: int = 3) -> tuple[Augmentation, Preparation]:
    """Small images (digits, Fashion-MNIST): shifts by up to an eighth of `size`, no mirror, per-channel (ours).

    No mirror, because a digit or a letter is another thing in the mirror.
    """
    return (
        Augmentation(crop="pad", pad=max(1, size // 8)),
        Preparation(channels=channels, fit="crop", resize=size, crop=size),
    )


def _percent(*shares: float) -> str:
    return " to ".join(f"{100 * share:.3g}" for share in shares) + " %"
