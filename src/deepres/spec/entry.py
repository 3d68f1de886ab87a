"""A published network: its configuration, its source, and the figure printed there."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from deepres.spec.densenet import DenseNetConfig
from deepres.spec.fractal import FractalConfig
from deepres.spec.highway import HighwayConfig
from deepres.spec.resnet import ResNetConfig
from deepres.spec.rir import RirConfig
from deepres.spec.vgg import VggConfig

Config = Annotated[
    ResNetConfig | DenseNetConfig | VggConfig | HighwayConfig | FractalConfig | RirConfig,
    Field(discriminator="family"),
]


@dataclass(frozen=True)
class Entry:
    """`published` is the figure that the paper prints, `note` what a reader must know."""

    config: Config
    paper: str
    table: str
    published: str = ""
    note: str = ""
