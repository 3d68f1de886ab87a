"""What is subtracted from pixels in [0, 1] and what they are divided by: pairs with a name, and what can be neither."""

from collections.abc import Sequence
from math import isfinite

from deepres.base.errors import InputError

Values = tuple[float, ...]

NAMED: dict[str, tuple[Values, Values]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "inception": ((0.5,), (0.5,)),
    "0.5": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
    "0-255": ((0.0,), (1 / 255,)),
}
"""Mean and std by name: torchvision's and timm's for ImageNet, those of all pixels of CIFAR's training images,
TensorFlow's [-1, 1] under both of its names, pixels in [0, 1], and as they are. One value is for every channel."""

CHOICES = f"--preprocessing {'|'.join(NAMED)}, or --mean and --std (in Python mean= and std=)"


def as_values(given: object, where: str) -> Values | None:
    """What is given as numbers, for callers of Python: a number, or numbers in any sequence; None stays None.

    Raises:
        InputError: no numbers.
    """
    if given is None:
        return None
    try:
        return (float(given),) if isinstance(given, int | float) else tuple(float(each) for each in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as cause:
        raise InputError(f"{where} {given!r}: wanted numbers such as 0.485, 0.456, 0.406") from cause


def require_possible(mean: Sequence[float] | None, std: Sequence[float] | None, where: str) -> None:
    """Refuse a mean and std that no images in [0, 1] have; `where` says who gave them.

    A mean lies in [0, 1], a std in (0, 1]: 1 divides by nothing, 1 / 255 leaves pixels in 0 to 255.

    Raises:
        InputError: one without the other, as many values as not in the other, values that are not finite, a std that
            is not positive, values as of 0 to 255: the line has them divided.
    """
    if mean is None or std is None:
        if mean is not std:
            have, lacks = ("std", "mean") if mean is None else ("mean", "std")
            raise InputError(f"{where}: a {have} without a {lacks}; give both, on a scale of 0 to 1")
        return
    told = f"mean {shown(mean)}, std {shown(std)}"
    if not len(mean) == len(std) > 0:
        raise InputError(f"{where}: {told}; wanted one mean and one std for each channel")
    if not all(map(isfinite, [*mean, *std])):
        raise InputError(f"{where}: {told}; wanted finite numbers on a scale of 0 to 1")
    if min(std) <= 0:
        raise InputError(f"{where}: {told}; a std is above 0, since it is divided by; 1 divides by nothing")
    if min(mean) < 0:
        raise InputError(f"{where}: {told}; a mean of pixels is not below 0; say what was subtracted, from 0 to 1")
    if max(mean) > 1 or max(std) > 1:
        by_255 = [each / 255 for each in mean] if max(mean) > 1 else mean
        spread = [each / 255 for each in std] if max(std) > 1 or (max(mean) > 1 and max(std) == 1) else std
        raise InputError(
            f"{where}: {told} are of pixels from 0 to 255, wanted 0 to 1; divide by 255: "
            f"--mean {shown(by_255, ',')} --std {shown(spread, ',')}"
        )


def per_channel(mean: Values, std: Values, channels: int, where: str) -> tuple[Values, Values]:
    """The pair with one value for each channel; a single value is for all of them.

    Raises:
        InputError: as many values as the images have channels are wanted; what `require_possible` refuses.
    """
    require_possible(mean, std, where)
    if len(mean) == 1:
        return mean * channels, std * channels
    if len(mean) != channels:
        raise InputError(
            f"{where}: images of {channels} channels, a mean of {len(mean)}; say with --mean and --std what was "
            "subtracted and divided by, on a scale of 0 to 1, one value for each channel"
        )
    return mean, std


def mean_std_text(mean: Values, std: Values) -> str:
    """`mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225 (imagenet)`; one value where all channels have it."""
    pair = tuple(values[:1] if len(set(values)) == 1 else values for values in (mean, std))
    names = [name for name, named in NAMED.items() if named == pair]
    return f"mean {shown(pair[0])}, std {shown(pair[1])}" + (f" ({', '.join(names)})" if names else "")


def shown(values: Sequence[float], comma: str = ", ") -> str:
    """The numbers with four digits: `0.485, 0.456, 0.406`."""
    return comma.join(f"{value:.4g}" for value in values)
