"""deepres: the residual family of networks, from one description. Importing it loads no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepres.base.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from deepres.arch.catalogue.lookup import names as list_models
    from deepres.arch.readings.describe import describe as describe
    from deepres.nn.create import create_model as create_model
    from deepres.nn.create import load as load

_PUBLIC = {
    "create_model": ("deepres.nn.create", "create_model"),
    "load": ("deepres.nn.create", "load"),
    "list_models": ("deepres.arch.catalogue.lookup", "names"),
    "describe": ("deepres.arch.readings.describe", "describe"),
}

__all__ = ["__version__", "create_model", "describe", "list_models", "load"]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'deepres' has no attribute '{name}'; public names: {', '.join(sorted(_PUBLIC))}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)
