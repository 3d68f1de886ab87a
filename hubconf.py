"""`torch.hub.load("OWNER/deepres", "resnet50", pretrained=True)`: a function for each network of the catalogue."""

import sys
from pathlib import Path
from typing import Any

dependencies = ["torch", "torchvision", "pydantic", "safetensors"]

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))
import deepres as _deepres  # noqa: E402


def _entry(name: str) -> Any:
    def create(*, pretrained: bool = False, **words: Any) -> Any:
        return _deepres.create_model(name, pretrained=pretrained, **words)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{name}; words as of deepres.create_model."
    return create


globals().update({name: _entry(name) for name in _deepres.list_models() if not name.startswith("fasterrcnn")})
