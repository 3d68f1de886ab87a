"""Libraries that an extra brings: there, or refused in one line that names it; their talk kept quiet."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any

from deepres.base.errors import InputError

_EXTRA = {
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "openvino": "openvino",
    "nncf": "openvino",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "huggingface_hub": "hub",
    "mlflow": "mlflow",
}


def need(library: str, what: str) -> Any:
    """The library, imported now; `what` begins the line that is told where it is not installed.

    Raises:
        InputError: it is not; the line says which extra brings it.
    """
    try:
        return import_module(library)
    except ImportError as cause:
        name = library.partition(".")[0]
        package = f"'deepres[{_EXTRA[name]}]'" if name in _EXTRA else name
        raise InputError(f"{what}: needs {name}; pip install {package}") from cause


@contextmanager
def quiet() -> Iterator[None]:
    """Within it libraries say nothing of how they work: no warnings, no log, nothing on stdout; errors come through."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
