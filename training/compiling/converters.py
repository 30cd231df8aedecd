"""Which parts of an estimator become ONNX by this project's own converters.

Those for which skl2onnx has none that gives the same answers, of scikit-learn and of libraries of
boosting: what it makes of others is right already, or is found out (`proof`).
"""

from collections.abc import Callable, Iterable
from typing import Any

from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType
from sklearn.base import ClassifierMixin
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from serving.model.estimator import Estimator
from training.compiling.boosters import booster_converter
from training.compiling.graph import Graph, Operator
from training.compiling.preparation import Preparation, same, widths
from training.compiling.trees import FORESTS, boosting, forest, histogram_boosting

CLASSIFIER_OPTIONS = ("zipmap", "nocl", "output_class_labels", "raw_scores")  # that skl2onnx knows


def register(parts: Iterable[Estimator], preparation: Preparation) -> None:
    """Make skl2onnx use these converters, for an estimator's parts those of other libraries too."""
    for estimators, convert in (
        (FORESTS, forest),
        ((GradientBoostingClassifier, GradientBoostingRegressor), boosting),
        ((HistGradientBoostingClassifier, HistGradientBoostingRegressor), histogram_boosting),
    ):
        for estimator in estimators:
            _register(estimator, convert, _shape_predictions)
    _register(SimpleImputer, preparation.impute, _shape_columns)
    for encoder in (OneHotEncoder, OrdinalEncoder):
        _register(encoder, preparation.encode, _shape_columns)
    _register(FunctionTransformer, same, _shape_columns)
    for part in parts:
        if found := booster_converter(part, preparation):
            _register(type(part), found, _shape_predictions)


def _register(
    kind: type, convert: Callable[[Graph, Estimator], None], shape: Callable[[Operator], None]
) -> None:
    def converter(scope: Any, operator: Operator, container: Any) -> None:  # noqa: ANN401
        convert(Graph(scope, operator, container), operator.raw_operator)

    options = {name: [True, False] for name in CLASSIFIER_OPTIONS}
    update_registered_converter(
        kind,
        f"Exact{kind.__name__}",
        shape,
        converter,
        options=options if issubclass(kind, ClassifierMixin) else None,
    )


def _shape_predictions(operator: Operator) -> None:
    if hasattr(operator.raw_operator, "classes_"):
        label, scores = operator.outputs
        label.type = Int64TensorType([None])
        scores.type = DoubleTensorType([None, len(operator.raw_operator.classes_)])
    else:
        operator.outputs[0].type = DoubleTensorType([None, 1])


def _shape_columns(operator: Operator) -> None:
    part = operator.raw_operator
    count = sum(variable.type.shape[1] for variable in operator.inputs)
    if hasattr(part, "categories_"):
        count = sum(widths(part))
    elif getattr(part, "indicator_", None) is not None:
        count += len(part.indicator_.features_)
    operator.outputs[0].type = DoubleTensorType([None, count])
