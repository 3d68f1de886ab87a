"""Torch modules -> ONNX graphs of plain operators, batch symbolic; two graphs, one after the other, as one."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepres.base.extras import need, quiet

IMAGE = "image"
"""What every graph's input is called."""
BATCH = "batch"
OPSET = 20
IR = 10
"""What the file's format calls itself: OpenVINO and the runtime of browsers read it too."""

Dims = Mapping[int, str]
"""Which dimensions of the input are symbolic, and what they are called."""


def traced(
    module: nn.Module,
    example: Tensor,
    output: str | Sequence[str],
    dims: Dims,
    *,
    related: bool = False,
    operators: Mapping[Any, Any] | None = None,
) -> Any:
    """The module as an ONNX model (a ModelProto), from `image` to `output`, or several.

    No dimension of `dims` may be 0 or 1 in the example, which would fix it. `related`: they are, in ways that torch
    lets no name have; then those of the input alone are named. `operators` says how those of our own are written.
    Nothing in the model tells of this machine.
    """
    need("onnxscript", "writing ONNX")
    shapes = {place: torch.export.Dim.DYNAMIC if related else torch.export.Dim(name) for place, name in dims.items()}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[IMAGE],
            output_names=[output] if isinstance(output, str) else list(output),
            dynamic_shapes=(shapes,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            custom_translation_table=None if operators is None else dict(operators),
        )
    assert program is not None
    model = program.model_proto
    model.ir_version = IR
    plain(model)
    if related:
        _name(model.graph, dims)
    return model


def after(first: Any, second: Any, output: str) -> Any:
    """One model: what `first` gives is the `image` of `second`; its input is `image`, its output `output`."""
    compose = need("onnx.compose", "writing ONNX")
    before = compose.add_prefix(first, "fit_")
    joined = compose.merge_models(before, second, io_map=[(before.graph.output[0].name, IMAGE)])
    _rename(joined.graph, before.graph.input[0].name, IMAGE)
    assert [each.name for each in joined.graph.output] == [output]
    plain(joined)
    return joined


def plain(model: Any) -> None:
    """Take off what is of no use to a reader: stack traces, documentation, functions and domains that nothing uses."""
    del model.metadata_props[:]
    model.doc_string, model.producer_name, model.producer_version, model.domain = "", "deepres", "", ""
    for graph in graphs(model.graph):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for each in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
            each.doc_string = ""
            del each.metadata_props[:]
    used = {node.domain for graph in graphs(model.graph) for node in graph.node}
    kept = {each.domain: each.version for each in model.opset_import if each.domain in {*used, ""}}
    del model.opset_import[:]
    for domain, version in sorted(kept.items()):
        model.opset_import.add(domain=domain, version=version)


def graphs(graph: Any) -> list[Any]:
    """The graph and those within its nodes."""
    attributes = [each for node in graph.node for each in node.attribute]
    inner = [sub for each in attributes for sub in ([each.g] if each.HasField("g") else []) + list(each.graphs)]
    return [graph, *(deeper for sub in inner for deeper in graphs(sub))]


def _rename(graph: Any, old: str, new: str) -> None:
    """The value `old` is called `new`, which nothing else is."""
    for each in graph.input:
        each.name = new if each.name == old else each.name
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new


def _name(graph: Any, dims: Dims) -> None:
    """Dimensions of the input by their names, wherever they are those of a value."""
    taken = graph.input[0].type.tensor_type.shape.dim
    names = {taken[place].dim_param: name for place, name in dims.items()}
    for each in (*graph.input, *graph.value_info, *graph.output):
        for dim in each.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]
