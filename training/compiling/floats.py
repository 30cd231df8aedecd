"""Functions of floats in ONNX, to the last bit as C's mathematics library gives them.

ONNX Runtime has functions of its own for floats, which differ in the last bit. Here the arithmetic
is that of glibc's ``expf`` (sysdeps/ieee754/flt-32/e_expf.c): in doubles, by a table and a
polynomial.
"""

import numpy as np
from onnx import TensorProto

from training.compiling.graph import Graph

PARTS = 32  # of a power of two, in the table
SCALE = float.fromhex("0x1.71547652b82fep+0") * PARTS
POLYNOMIAL = tuple(
    float.fromhex(coefficient) / PARTS**power
    for coefficient, power in (
        ("0x1.c6af84b912394p-5", 3),
        ("0x1.ebfce50fac4f3p-3", 2),
        ("0x1.62e42ff0c52d6p-1", 1),
    )
)
LOWEST, HIGHEST = -104.0, 89.0  # beyond is zero, and infinity


def power(graph: Graph, values: str) -> str:
    """Give the exponential of floats."""
    wide = graph.cast(values)
    near = graph.add("Clip", wide, graph.constant(LOWEST), graph.constant(HIGHEST))
    scaled = graph.add("Mul", near, graph.constant(SCALE))
    whole = graph.add("Round", scaled)
    rest = graph.add("Sub", scaled, whole)
    first, last = (int(np.rint(end * SCALE)) for end in (LOWEST, HIGHEST))
    table = graph.constant(
        [_root(at % PARTS) * 2.0 ** (at // PARTS) for at in range(first, last + 1)]
    )
    place = graph.cast(graph.add("Sub", whole, graph.constant(float(first))), TensorProto.INT64)
    c0, c1, c2 = map(graph.constant, POLYNOMIAL)
    upper = graph.add("Add", graph.add("Mul", c0, rest), c1)
    lower = graph.add("Add", graph.add("Mul", c2, rest), graph.constant(1.0))
    square = graph.add("Mul", rest, rest)
    near_one = graph.add("Add", graph.add("Mul", upper, square), lower)
    found = graph.add("Mul", near_one, graph.add("Gather", table, place, axis=0))
    return graph.cast(found, TensorProto.FLOAT)


def logistic(graph: Graph, values: str) -> str:
    """Give the logistic of floats, as XGBoost computes it."""
    most = float32(graph, float(np.float32(88.7)))
    below = graph.add("Min", graph.add("Neg", values), most)
    one = float32(graph, 1.0)
    return graph.add("Div", one, graph.add("Add", power(graph, below), one))


def softmax(graph: Graph, values: str) -> str:
    """Give the softmax of floats (rows, classes), as XGBoost computes it: the sum is a double."""
    most = graph.add("ReduceMax", values, graph.constant([1]), keepdims=1)
    powers = power(graph, graph.add("Sub", values, most))
    sums = graph.add("CumSum", graph.cast(powers), graph.constant(1))
    total = graph.add("Gather", sums, graph.constant([-1]), axis=1)
    return graph.add("Div", powers, graph.cast(total, TensorProto.FLOAT))


def float32(graph: Graph, value: float) -> str:
    """Give a float; as a constant it would not be told from what computes with floats."""
    return graph.cast(graph.constant(value), TensorProto.FLOAT)


def _root(at: int) -> float:
    """Give two to the power of a part, rounded once."""
    return float(np.float64(np.exp2(np.longdouble(at) / PARTS)))
