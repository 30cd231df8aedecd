"""The shortcut to boosters, past their wrappers.

XGBoost's and LightGBM's wrappers take ten times as long for a row as the boosters in them, and for
a label they compute the probabilities once more. Here a booster is asked once, for all that is
answered. Training looks whether that is the estimator's own answer, bit for bit, before serving may
go this way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from serving.model.description import Description
from serving.model.outputs import Array, tied
from serving.model.wrapped import unwrapped

Asks: TypeAlias = Callable[[Any], Array]  # from a table, as an estimator takes it
PIPELINES = {"sklearn.pipeline", "imblearn.pipeline"}  # whose steps are made one after the other


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Asks a booster in the place of the estimator that holds it.

    A table goes through the ``transforms``, of a pipeline, and ``asks`` gives the numbers for it:
    each class's probability, or what is predicted where there are no ``classes``.
    """

    estimator: Any
    transforms: Sequence[Asks]
    asks: Asks
    classes: Array | None

    def __call__(self, table: Any) -> tuple[Array, Array | None]:  # noqa: ANN401 (an array or a frame)
        """Give what ``predict`` and ``predict_proba`` give; without classes the first alone.

        Raises:
            Exception: what the estimator raises.
        """
        rows = table
        for transform in self.transforms:
            rows = transform(rows)
        numbers = self.asks(rows)
        if self.classes is None:
            return numbers, None
        if numbers.ndim == 1:  # as boosters tell of two classes
            numbers = np.column_stack((1 - numbers, numbers))
        if tied(numbers).any():  # there the label may be chosen otherwise
            return np.asarray(self.estimator.predict(table)), numbers
        return self.classes[numbers.argmax(axis=1)], numbers


def shortcut(estimator: Any, description: Description) -> Shortcut | None:  # noqa: ANN401 (scikit-learn has no type for it)
    """Give the shortcut to the booster of a fitted estimator, if it has one."""
    transforms: list[Asks] = []
    last = estimator
    if type(estimator).__module__ in PIPELINES:
        *before, (_, last) = estimator.steps
        transforms = [step.transform for _, step in before if hasattr(step, "transform")]
    last = unwrapped(last)
    if (booster := BOOSTERS.get(type(last).__module__)) is None:
        return None
    if description.task == "regression":
        return Shortcut(estimator, transforms, booster(last), None)
    classes = getattr(estimator, "classes_", None)
    if description.asked.scored_by != "predict_proba" or not isinstance(classes, np.ndarray):
        return None
    return Shortcut(estimator, transforms, booster(last), classes)


def _lightgbm(model: Any) -> Asks:  # noqa: ANN401 (as above)
    booster = model.booster_
    said = {name: value for name, value in model.get_params().items() if name.startswith("pred")}
    return lambda rows: booster.predict(rows, num_threads=1, **said)


def _xgboost(model: Any) -> Asks:  # noqa: ANN401 (as above)
    booster, missing = model.get_booster(), model.missing
    try:
        rounds = (0, model.best_iteration + 1)
    except AttributeError:  # it was not stopped early
        rounds = (0, 0)
    return lambda rows: booster.inplace_predict(rows, iteration_range=rounds, missing=missing)


# By the module of the wrapper's class, so that nothing is imported that is not there.
BOOSTERS: Mapping[str, Callable[[Any], Asks]] = {
    "lightgbm.sklearn": _lightgbm,
    "xgboost.sklearn": _xgboost,
}
