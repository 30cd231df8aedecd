"""What a graph's arithmetic may do to its answers, told by its nodes.

Elementwise arithmetic rounds alike wherever it runs; sums, products of matrices and functions such
as the exponential may differ in the last bits by processor and by version. That is harmless unless
something decides by it: a tree, a comparison. And how others compare at the very threshold no
sample of rows would tell.
"""

from onnx import ModelProto, NodeProto, TensorProto

from training.compiling.graph import OURS, CannotConvertError

# What IEEE 754 leaves no choice for, and what only moves values.
ALIKE = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sqrt", "Max", "Min", "Clip", "Relu", "CumSum"),
    *("Cast", "Where", "IsNaN", "Gather", "ArrayFeatureExtractor", "Concat", "Split", "Slice"),
    *("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "ArgMax", "ArgMin"),
    *("Round", "Floor", "Ceil", "ReduceMax", "ReduceMin"),
    *("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Shape", "Constant"),
    "TreeEnsembleRegressor",
}
DECIDES = {
    *("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Sign", "Floor", "Ceil"),
    *("Round", "ArgMax", "ArgMin", "TopK", "TreeEnsembleRegressor"),
}
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def is_alike_everywhere(model: ModelProto) -> bool:
    """Tell whether no part of a graph may be rounded otherwise than by the estimator.

    Raises:
        CannotConvertError: but for what our own converters do, it computes with floats, or decides
            by numbers; or ours decide by what may be rounded otherwise.
    """
    if any(constant.data_type in FLOATS for constant in model.graph.initializer):
        raise CannotConvertError("its graph computes with floats")
    rounded: set[str] = set()
    for node in model.graph.node:
        is_ours = node.name.startswith(OURS)
        kind = _cast_to(node)
        of_floats = node.domain == "ai.onnx.ml" and node.op_type != "ArrayFeatureExtractor"
        if (kind in FLOATS or of_floats) and not is_ours:
            raise CannotConvertError("its graph computes with floats")
        takes_rounded = not rounded.isdisjoint(node.input)
        decides = node.op_type in DECIDES or kind not in {None, TensorProto.DOUBLE}
        if decides and (takes_rounded or (node.op_type in DECIDES and not is_ours)):
            raise CannotConvertError("it decides by numbers that may be rounded otherwise")
        if takes_rounded or node.op_type not in ALIKE:
            rounded.update(node.output)
    return rounded.isdisjoint(output.name for output in model.graph.output)


def _cast_to(node: NodeProto) -> int | None:
    """Tell to which type a node converts, if it does."""
    if node.op_type != "Cast":
        return None
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")
