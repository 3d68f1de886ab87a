"""Which loggers there are, and which of them a run asks for: `train.log`. Free of their libraries."""

from collections.abc import Sequence
from typing import Literal

LoggerName = Literal["auto", "tensorboard", "csv", "wandb", "mlflow"]
"""auto: TensorBoard where it is installed."""

KNOWN: tuple[LoggerName, ...] = ("tensorboard", "csv", "wandb", "mlflow")


def as_asked(given: object) -> object:
    """`none` is no logger; each is named once.

    Raises:
        ValueError: a name that is none of a logger's.
    """
    if not isinstance(given, Sequence):
        return given
    names = tuple(dict.fromkeys((given,) if isinstance(given, str) else given))
    if names in (("none",), ("None",), ("",)):
        return ()
    for name in names:
        if name not in ("auto", *KNOWN):
            raise ValueError(f"{name!r:.40} is no logger; wanted some of {','.join(KNOWN)}, or auto, or none")
    return names
