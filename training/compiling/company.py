"""A graph whose rows get the same bits in any company: alone, in a batch, at any place in one.

ONNX Runtime adds the products of matrices for each row by itself, in one order. Two things depend
on who else is there. Of functions such as the exponential it computes two numbers at a time, and
the last of an odd count in another way. And it adds what lies together in memory in an order that
depends on where that begins. So here such functions get an even count of numbers, and sums are
added one after the other. What comes out is for the proof to tell (`compiling`).
"""

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)

FUNCTIONS = {"Cos", "Exp", "Log", "Mish", "Sigmoid", "Sin", "Softplus", "Tanh"}  # in pairs
SUMS = {"ReduceMean", "ReduceSum"}


def keep_rows_apart(model: ModelProto) -> None:
    """Replace the nodes of a graph whose results for a row depend on its company."""
    graph = model.graph
    if not any(node.op_type in {*FUNCTIONS, *SUMS, "Softmax"} for node in graph.node):
        return
    nodes = list(graph.node)
    apart = _Apart(model)
    for node in nodes:
        apart.take(node)
    del graph.node[:]
    graph.node.extend(apart.nodes)
    graph.initializer.extend(apart.constants)


class _Apart:
    """Takes the nodes of a graph in order, and gives such as keep rows apart."""

    def __init__(self, model: ModelProto) -> None:
        """Read what a graph holds; its nodes are still to be taken."""
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        # Columns may have any names.
        taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self._names = (name for n in count() if (name := f"company_{n}") not in taken)
        self._known = {constant.name: constant for constant in model.graph.initializer}
        self._of_rows = {given.name for given in model.graph.input}
        self._even = {
            value.name
            for value in shape_inference.infer_shapes(model).graph.value_info
            if any(length and length % 2 == 0 for length in _lengths(value))
        }

    def take(self, node: NodeProto) -> None:
        """Take a node as it is, or what stands in for it."""
        kind, values, result = node.op_type, next(iter(node.input), ""), node.output[0]
        depends = not self._of_rows.isdisjoint(node.input)
        if depends:
            self._of_rows.update(node.output)
        if depends and kind in FUNCTIONS:
            self._function(kind, values, result, is_even=values in self._even)
        elif depends and kind == "Softmax":
            self._softmax(values, _attribute(node, "axis", -1), result)
        elif depends and kind in SUMS and (axes := self._axes(node)):
            self._sum(node, values, axes, result)
        else:
            self.nodes.append(node)

    def _add(self, kind: str, *inputs: str, result: str | None = None, **attributes: Any) -> str:  # noqa: ANN401 (ONNX's own)
        name = result or next(self._names)
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _constant(self, values: Any) -> str:  # noqa: ANN401 (whatever becomes an array)
        name = next(self._names)
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _function(self, kind: str, values: str, result: str, *, is_even: bool) -> None:
        """Compute a function, of each number twice where their count may be odd."""
        if is_even:
            self._add(kind, values, result=result)
            return
        twice = self._add(kind, self._add("Concat", values, values, axis=-1))
        halves = [result, next(self._names)]
        self.nodes.append(helper.make_node("Split", [twice], halves, axis=-1, num_outputs=2))

    def _softmax(self, values: str, axis: int, result: str) -> None:
        largest = self._add("ReduceMax", values, self._constant([axis]), keepdims=1)
        powers = next(self._names)
        below = self._add("Sub", values, largest)
        self._function("Exp", below, powers, is_even=values in self._even)
        self._add("Div", powers, self._added(powers, axis), result=result)

    def _sum(self, node: NodeProto, values: str, axes: Sequence[int], result: str) -> None:
        total = values
        for axis in axes:
            total = self._added(total, axis)
        if node.op_type == "ReduceMean":
            lengths = self._add("Gather", self._add("Shape", values), self._constant(axes))
            length = self._add("ReduceProd", lengths, keepdims=0)
            total = self._add("Div", total, self._add("Cast", length, to=TensorProto.DOUBLE))
        if _attribute(node, "keepdims", 1):
            self._add("Identity", total, result=result)
        else:
            self._add("Squeeze", total, self._constant(axes), result=result)

    def _added(self, values: str, axis: int) -> str:
        """Add along an axis, one number after the other; the axis stays."""
        sums = self._add("CumSum", values, self._constant(axis))
        return self._add("Gather", sums, self._constant([-1]), axis=axis)

    def _axes(self, node: NodeProto) -> list[int]:
        """Tell along which axes a node adds, where that is known."""
        if len(node.input) > 1 and node.input[1] in self._known:
            return [int(axis) for axis in numpy_helper.to_array(self._known[node.input[1]]).ravel()]
        return list(_attribute(node, "axes", []))


def _lengths(value: ValueInfoProto) -> list[int]:
    """Give the lengths of an array's axes; 0 for one that is not known, such as the rows'."""
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _attribute(node: NodeProto, name: str, default: Any) -> Any:  # noqa: ANN401 (ONNX's own)
    found = [attribute for attribute in node.attribute if attribute.name == name]
    return helper.get_attribute_value(found[0]) if found else default
