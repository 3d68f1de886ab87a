"""A published network: its configuration, its source, and the figure printed there."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from deepres.arch.detector import DetectorConfig
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.fractal import FractalConfig
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.rir import RirConfig
from deepres.arch.families.vgg import VggConfig
from deepres.arch.localiser import LocaliserConfig

Config = Annotated[
    ResNetConfig | DenseNetConfig | VggConfig | HighwayConfig | FractalConfig | RirConfig,
    Field(discriminator="family"),
]
ModelConfig = Annotated[
    ResNetConfig
    | DenseNetConfig
    | VggConfig
    | HighwayConfig
    | FractalConfig
    | RirConfig
    | DetectorConfig
    | LocaliserConfig,
    Field(discriminator="family"),
]
"""What a run can train: a network that answers of the whole picture, or one that says where things are."""


def backbone_of(model: ModelConfig) -> Config:
    """The network that weights of one may be of: the model itself, of what finds objects its backbone."""
    return model.backbone if isinstance(model, DetectorConfig | LocaliserConfig) else model


@dataclass(frozen=True)
class Entry:
    """`published` is the figure that the paper prints, `note` what a reader must know."""

    config: Config
    paper: str
    table: str
    published: str = ""
    note: str = ""
