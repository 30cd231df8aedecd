"""The compiled model: a fitted estimator as an ONNX graph, which training has proven to be alike.

A graph takes one matrix of doubles, a column for each feature: NaN where a value is missing, and
for a category its place among all that training has seen, or how many these are if it has not seen
it. It gives one matrix too: each class's probability, or one number, for each row.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.values import Row

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
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        (given,), (self._output,) = self._session.get_inputs(), self._session.get_outputs()
        self._input = given.name
        named = self._session.get_modelmeta().custom_metadata_map.get(CATEGORIES, "[]")
        self._places = {category: place for place, category in enumerate(json.loads(named))}

    def __call__(self, rows: Sequence[Row]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Give each class's probability, or one number, for each row: an array (rows, n)."""
        table = np.array(self._in_numbers(rows), dtype=np.float64)  # None becomes NaN
        (output,) = self._session.run([self._output.name], {self._input: table})
        return output  # type: ignore[no-any-return]

    def _in_numbers(self, rows: Sequence[Row]) -> Sequence[Sequence[Any]]:
        """Put the places of categories for their names."""
        if not self._places:
            return rows
        places, unseen = self._places, len(self._places)
        return [
            [places.get(value, unseen) if isinstance(value, str) else value for value in row]
            for row in rows
        ]
