"""A published network: its configuration, its source, and the figure printed there."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from deepres.spec.resnet import ResNetConfig

Config = Annotated[ResNetConfig, Field()]


@dataclass(frozen=True)
class Entry:
    """`published` is the figure that the paper prints, `note` what a reader must know."""

    config: Config
    paper: str
    table: str
    published: str = ""
    note: str = ""
