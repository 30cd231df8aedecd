"""The compiled model: a fitted estimator as an ONNX graph, which training has proven to be alike.

A graph takes one matrix of doubles, a column for each feature: NaN where a value is missing, and
for a category its place among all that the table or an encoder knows, or how many these are if
none does. It gives one matrix too: each class's probability, or one number, for each row.
"""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from serving.model.values import Row

Doubles: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

CATEGORIES = "categories"  # under which a graph names them, in JSON


class CompiledEstimator:
    """Computes rows with ONNX Runtime."""

    def __init__(self, graph: bytes) -> None:
        """Take a graph that training has made.

        Raises:
            Exception: ONNX Runtime can't compute with it.
        """
        import onnxruntime  # what is served without it needs not load it

        options = onnxruntime.SessionOptions()
        # For a few rows threads cost more than they do, and they would add up in any order.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what matters is raised
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        (given,), (found,) = self._session.get_inputs(), self._session.get_outputs()
        self._input, self._output = given.name, found.name
        named = self._session.get_modelmeta().custom_metadata_map.get(CATEGORIES, "[]")
        self._places = {category: place for place, category in enumerate(json.loads(named))}

    def table(self, rows: Sequence[Row]) -> Doubles:
        """Give rows as a matrix, a column for each feature."""
        numbers: Sequence[Sequence[Any]] = rows
        if self._places:
            places, unseen = self._places, len(self._places)
            numbers = [
                [places.get(value, unseen) if isinstance(value, str) else value for value in row]
                for row in rows
            ]
        return np.array(numbers, dtype=np.float64)  # None becomes NaN

    def __call__(self, table: Doubles) -> Doubles:
        """Give each class's probability, or one number, for each row of such a matrix."""
        (scores,) = self._session.run([self._output], {self._input: table})
        return scores  # type: ignore[no-any-return]
