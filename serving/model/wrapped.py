"""What is put around estimators that lack what a pipeline, or a person, expects of them.

Labels for a classifier that learns 0, 1, 2 … alone, as XGBoost's do, and as files of gradient
boosting hold; and what scikit-learn asks of a step, for a class that has no more than ``fit``,
``predict`` and ``get_params``. A model that was saved with these classes needs them where it is
loaded, so they live here and not in training.
"""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from serving.model.outputs import Array


def unwrapped(estimator: Any) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Give the estimator inside, fitted if it is; one that is not wrapped stays as it is."""
    while isinstance(estimator, _Wrapped):
        estimator = getattr(estimator, "estimator_", estimator.estimator)
    return estimator


def _has(name: str) -> Any:  # noqa: ANN401 (scikit-learn's own)
    """Have a method if it is inside, and the order of the labels is known in which it answers."""
    return available_if(lambda self: hasattr(unwrapped(self), name) and hasattr(self, "classes_"))


class _Wrapped(BaseEstimator):
    """Asks the estimator inside; ``estimator_`` is what was fitted."""

    def __init__(self, estimator: Any) -> None:  # noqa: ANN401 (scikit-learn has no type for it)
        """Take an estimator, which stays as it is."""
        self.estimator = estimator

    @_has("predict_proba")
    def predict_proba(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give the probabilities that it gives, of shape (rows, classes)."""
        return np.asarray(self.estimator_.predict_proba(rows))

    @_has("decision_function")
    def decision_function(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give the scores that it gives."""
        return np.asarray(self.estimator_.decision_function(rows))


class CodedLabels(ClassifierMixin, _Wrapped):
    """Puts labels in the place of the codes that a classifier learns and gives.

    ``classes_`` has the labels in the order of their codes.
    """

    @classmethod
    def of(cls, fitted: Any, labels: Any) -> "CodedLabels":  # noqa: ANN401 (as above; a sequence)
        """Take a classifier that was fitted on codes, and the labels in their order."""
        coded = cls(fitted)
        coded.classes_, coded.estimator_ = np.asarray(labels), fitted
        return coded

    def fit(self, rows: Any, labels: Any, **params: Any) -> "CodedLabels":  # noqa: ANN401 (as above)
        """Fit a clone of the classifier on codes of one target's labels."""
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self.estimator_ = clone(self.estimator).fit(rows, codes, **params)
        return self

    def predict(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give the labels, of shape (rows,)."""
        codes = np.asarray(self.estimator_.predict(rows)).ravel()
        return np.asarray(self.classes_[codes.astype(np.int64)])

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 (scikit-learn's own)
        """Take what the classifier takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


class PlainEstimator(_Wrapped):
    """Has what scikit-learn asks of an estimator beside ``fit``, ``predict`` and ``get_params``."""

    def fit(self, rows: Any, labels: Any = None) -> "PlainEstimator":  # noqa: ANN401 (as above)
        """Fit a clone of the estimator, whatever its ``fit`` gives back."""
        fitted = clone(self.estimator)
        fitted.fit(rows, labels)
        self.estimator_ = fitted
        return self

    @property
    def classes_(self) -> Array:
        """The labels, if it knows them."""
        return np.asarray(self.estimator_.classes_)

    def predict(self, rows: Any) -> Any:  # noqa: ANN401 (as above)
        """Give what it gives."""
        return self.estimator_.predict(rows)
