"""ONNX Runtime, as this service computes graphs with it: in one thread, and saying nothing."""

from typing import Any


def session_of(graph: bytes) -> Any:  # noqa: ANN401 (ONNX Runtime's own)
    """Give a session that computes a graph.

    Raises:
        Exception: ONNX Runtime can't compute with it.
    """
    import onnxruntime  # what is served without it needs not load it

    options = onnxruntime.SessionOptions()
    # For a few rows threads cost more than they do, and they would add up in any order.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what matters is raised
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
