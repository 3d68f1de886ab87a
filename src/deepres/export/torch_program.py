"""One .pt2 file: a program that torch alone loads, batch symbolic, without an example, which would be a pickle."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepres.base.extras import quiet
from deepres.base.files import write_atomic
from deepres.export.fit_graph import FitGraph
from deepres.export.whole import whole
from deepres.export.whole_detector import OF_BOXES, whole_detector
from deepres.nn.onnx_graph import BATCH
from deepres.predict.exported.bundle import Bundle
from deepres.predict.exported.torch_program import FACTS, require_inert
from deepres.predict.predictor import Predictor


def program(predictor: Predictor, bundle: Bundle) -> Any:
    """The predictor as an ExportedProgram that takes what `bundle.input` says and tells nothing of this machine."""
    if bundle.finds_boxes:
        pictures = torch.zeros(2, bundle.shape[0], *OF_BOXES, dtype=torch.uint8)
        free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
        return _exported(whole_detector(predictor, plain=True), pictures, free)
    module: nn.Module = whole(predictor)
    shape, dims = bundle.shape, {0: torch.export.Dim(BATCH)}
    if bundle.any_size:
        module = nn.Sequential(FitGraph(predictor.preparation), module)
        shape = (shape[0], 5, 7)
        dims |= {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    return _exported(module, torch.zeros(2, *shape, dtype=torch.uint8), dims)


def _exported(module: nn.Module, example: Tensor, dims: dict[int, Any]) -> Any:
    with quiet(), torch.no_grad():
        found = torch.export.export(module.eval(), (example,), dynamic_shapes=(dims,))
    return bare(found)


def bare(found: Any) -> Any:
    """The program without what it tells of where it was made, and without its example, which would be pickled."""
    for part in found.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            for told in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom"):
                node.meta.pop(told, None)
    found._example_inputs = None
    return found


def write(path: Path, found: Any, bundle: Bundle) -> None:
    """Write the program with what it says of itself; InputError where what torch made of it could not be read back."""
    content = io.BytesIO()
    with quiet():
        torch.export.save(found, content, extra_files={FACTS: json.dumps(bundle.to_texts())})
    require_inert(content.getvalue(), str(path))
    write_atomic(path, content.getvalue())
