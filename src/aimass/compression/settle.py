"""A graph whose activations are quantised anew in every run, made one that has no such runs.

Dynamic quantisation takes the range of its activations from all that a run is given: the same
sound gives slightly other outputs in other chunks, and beside other streams of a batch. Where two
runtimes must agree, whatever they run together, the weights stay int8 and the arithmetic becomes
float: the file keeps its size, and ONNX Runtime unfolds the weights once, when it loads.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from aimass.base.errors import BundleError

DYNAMIC = "DynamicQuantizeLinear"


@dataclass(frozen=True, slots=True)
class _Product:
    """A quantised product as the quantiser writes it: ``scaled = cast(integer) * scales``."""

    integer: NodeProto
    cast: NodeProto
    scales: NodeProto
    scaled: NodeProto

    @property
    def nodes(self) -> tuple[NodeProto, ...]:
        return self.integer, self.cast, self.scales, self.scaled


def depends_on_runs(model: ModelProto) -> bool:
    """Whether what is run together changes what a graph gives."""
    return any(node.op_type == DYNAMIC for node in model.graph.node)


def settle(model: ModelProto) -> None:
    """Let a graph compute in float with the int8 weights that it has.

    Raises:
        BundleError: dynamic quantisation of something other than products with weights.
    """
    graph = model.graph
    inputs = {node.output[0]: node.input[0] for node in graph.node if node.op_type == DYNAMIC}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    written: dict[str, list[NodeProto]] = {}
    done: set[str] = set()
    for product in _products(graph):
        nodes = _in_float(product, inputs[product.integer.input[0]], weights)
        written[product.scaled.output[0]] = nodes
        done.update(node.output[0] for node in product.nodes)
    kept: list[NodeProto] = []
    for node in graph.node:
        if node.output[0] in written:
            kept += written[node.output[0]]
        elif node.op_type != DYNAMIC and node.output[0] not in done:
            kept.append(node)
    _replace(graph, kept)
    _refuse_rest(graph)


def _products(graph: GraphProto) -> Iterator[_Product]:
    made = {name: node for node in graph.node for name in node.output}
    used: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            used.setdefault(name, []).append(node)
    for integer in graph.node:
        if integer.op_type == "MatMulInteger":
            (cast,) = used[integer.output[0]]
            (scaled,) = used[cast.output[0]]
            (scales,) = (made[name] for name in scaled.input if name != cast.output[0])
            yield _Product(integer, cast, scales, scaled)


def _in_float(
    product: _Product, heard: str, weights: dict[str, onnx.TensorProto]
) -> list[NodeProto]:
    """The nodes that compute the same product from the activations as they are."""
    name, zero = product.integer.input[1], product.integer.input[3]
    (scale,) = (given for given in product.scales.input if given in weights)
    if numpy_helper.to_array(weights[zero]).any():
        raise _unknown(f"weights around another point than 0 ({zero})")
    return [
        helper.make_node("Cast", [name], [f"{name}_cast"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}_cast", scale], [f"{name}_float"]),
        helper.make_node("MatMul", [heard, f"{name}_float"], [product.scaled.output[0]]),
    ]


def _replace(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Give a graph these nodes, and no weights that none of them uses."""
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    del graph.value_info[:]  # shapes of what is gone


def _refuse_rest(graph: GraphProto) -> None:
    known = {name for node in graph.node for name in node.output}
    known |= {tensor.name for tensor in graph.initializer} | {given.name for given in graph.input}
    lost = sorted({name for node in graph.node for name in node.input if name} - known)
    if lost:
        raise _unknown(f"another use of {', '.join(lost[:3])}")


def _unknown(found: str) -> BundleError:
    return BundleError(
        f"a graph with {found[:200]}",
        expected="dynamic int8 as aimass packs it: products of activations and weights alone",
        fix="Pack the bundle again",
    )
