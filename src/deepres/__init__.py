"""deepres: the residual family of networks, from one description. Importing it loads no torch."""

import sys
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deepres.base.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from deepres.arch.catalogue.lookup import names as list_models
    from deepres.arch.readings.describe import describe as describe
    from deepres.library.deploying import export as export
    from deepres.library.deploying import slim as slim
    from deepres.library.measuring import analyze as analyze
    from deepres.library.measuring import compare as compare
    from deepres.library.measuring import evaluate as evaluate
    from deepres.library.measuring import evaluate_unknown as evaluate_unknown
    from deepres.library.training import RunResult as RunResult
    from deepres.library.training import train as train
    from deepres.nn.weights.spec import WeightsSpec as WeightsSpec
    from deepres.predict.predictor import Predictor as Predictor
    from deepres.tasks.networks import create_model as create_model
    from deepres.tasks.networks import load as load

_PUBLIC = {
    "train": ("deepres.library.training", "train"),
    "RunResult": ("deepres.library.training", "RunResult"),
    "evaluate": ("deepres.library.measuring", "evaluate"),
    "evaluate_unknown": ("deepres.library.measuring", "evaluate_unknown"),
    "Predictor": ("deepres.predict.predictor", "Predictor"),
    "analyze": ("deepres.library.measuring", "analyze"),
    "compare": ("deepres.library.measuring", "compare"),
    "slim": ("deepres.library.deploying", "slim"),
    "export": ("deepres.library.deploying", "export"),
    "create_model": ("deepres.tasks.networks", "create_model"),
    "load": ("deepres.tasks.networks", "load"),
    "WeightsSpec": ("deepres.nn.weights.spec", "WeightsSpec"),
    "list_models": ("deepres.arch.catalogue.lookup", "names"),
    "describe": ("deepres.arch.readings.describe", "describe"),
}

__all__ = [
    "Predictor",
    "RunResult",
    "WeightsSpec",
    "__version__",
    "analyze",
    "compare",
    "create_model",
    "describe",
    "evaluate",
    "evaluate_unknown",
    "export",
    "list_models",
    "load",
    "slim",
    "train",
]


_VERBS = ("train", "analyze", "slim", "export")
"""Names that a room has too: the room `deepres.train` can be called, which is the verb."""


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'deepres' has no attribute '{name}'; public names: {', '.join(sorted(_PUBLIC))}")
    return import_module(f"deepres.{name}") if name in _VERBS else _public(name)


def _public(name: str) -> Any:
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


class _Room(ModuleType):
    """A room that is called like a verb."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return _public(self.__name__.partition(".")[2])(*arguments, **named)

    @property
    def __signature__(self) -> Any:
        return signature(_public(self.__name__.partition(".")[2]))

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        doc: str | None = _public(self.__name__.partition(".")[2]).__doc__
        return doc


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        if name in _VERBS and type(value) is ModuleType:
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
