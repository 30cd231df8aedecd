"""A classifier that learns no labels but 0, 1, 2 …, with the labels that people have.

XGBoost wants such codes, and files of gradient boosting hold no others. A model that was saved with
this class needs it where it is loaded, so it lives here and not in training.
"""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from serving.model.outputs import Array


def uncoded(estimator: Any) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Give the classifier to which labels are codes, fitted if it is; any other stays as it is."""
    if not isinstance(estimator, CodedLabels):
        return estimator
    return getattr(estimator, "estimator_", estimator.estimator)


def _has(name: str) -> Any:  # noqa: ANN401 (scikit-learn's own)
    return available_if(lambda self: hasattr(uncoded(self), name))


class CodedLabels(ClassifierMixin, BaseEstimator):
    """Puts labels in the place of the codes that a classifier learns and gives.

    ``classes_`` has the labels in the order of their codes; ``estimator_`` is what was fitted.
    """

    def __init__(self, estimator: Any) -> None:  # noqa: ANN401 (scikit-learn has no type for it)
        """Take a classifier, which stays as it is."""
        self.estimator = estimator

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

    def predict(self, rows: Any) -> Array:  # noqa: ANN401 (as above)
        """Give the labels, of shape (rows,)."""
        codes = np.asarray(self.estimator_.predict(rows)).ravel()
        return np.asarray(self.classes_[codes.astype(np.int64)])

    @_has("predict_proba")
    def predict_proba(self, rows: Any) -> Array:  # noqa: ANN401 (as above)
        """Give the probabilities that the classifier gives, of shape (rows, classes)."""
        return np.asarray(self.estimator_.predict_proba(rows))

    @_has("decision_function")
    def decision_function(self, rows: Any) -> Array:  # noqa: ANN401 (as above)
        """Give the scores that the classifier gives."""
        return np.asarray(self.estimator_.decision_function(rows))

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 (scikit-learn's own)
        """Take what the classifier takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags
