"""The graph of one part of an estimator, into which its converter puts nodes.

It writes for skl2onnx, so that a converter reads as what it computes.
"""

from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto

OURS = "exact_"  # what the names of our nodes begin with
Operator: TypeAlias = Any  # skl2onnx has no types


class CannotConvertError(Exception):
    """A part has no counterpart that gives the same answers; the message says why."""


class Graph:
    """Adds nodes to the graph of an operator; what adds one gives the name of its result."""

    def __init__(self, scope: Any, operator: Operator, container: Any) -> None:  # noqa: ANN401
        """Take what skl2onnx hands to a converter."""
        self._scope = scope
        self._container = container
        self.results = [variable.full_name for variable in operator.outputs]
        names = [variable.full_name for variable in operator.inputs]
        self.width = sum(variable.type.shape[1] for variable in operator.inputs)
        self.input = names[0] if len(names) == 1 else self.add("Concat", *names, axis=1)

    def add(
        self,
        kind: str,
        *inputs: str,
        result: str | None = None,
        domain: str = "",
        **attributes: Any,  # noqa: ANN401 (ONNX's own)
    ) -> str:
        """Add a node with one result."""
        name: str = result or self._scope.get_unique_variable_name(kind)
        self._container.add_node(
            kind,
            list(inputs),
            [name],
            op_domain=domain,
            name=self._scope.get_unique_operator_name(OURS + kind),
            **attributes,
        )
        return name

    def constant(self, values: Any) -> str:  # noqa: ANN401 (whatever becomes an array)
        """Add an array of doubles or whole numbers."""
        array = np.asarray(values)
        kind = TensorProto.DOUBLE if array.dtype.kind == "f" else TensorProto.INT64
        name: str = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, list(array.shape), array.ravel().tolist())
        return name

    def cast(self, values: str, kind: int = TensorProto.DOUBLE) -> str:
        """Convert an array."""
        return self.add("Cast", values, to=kind)

    def rounded(self) -> str:
        """Give the input as `sklearn.tree` compares it: rounded to floats."""
        return self.cast(self.cast(self.input, TensorProto.FLOAT))

    def sum(self, values: str) -> str:
        """Add along the second axis, one after the other: ``ReduceSum`` takes any order."""
        sums = self.add("CumSum", values, self.constant(1))
        return self.add("Gather", sums, self.constant(-1), axis=1)

    def classes(self, probabilities: str) -> None:
        """Give probabilities (rows, classes) as a classifier does; its labels are their places."""
        label, scores = self.results
        self.add("Identity", probabilities, result=scores)
        self.add("ArgMax", scores, result=label, axis=1, keepdims=0)
