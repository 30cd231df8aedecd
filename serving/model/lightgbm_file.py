"""What LightGBM keeps in its own files, asked as scikit-learn's estimators are.

Such a file holds a booster, which gives one kind of number for each row and knows no labels but
0, 1, 2 …. A model that was saved with these classes needs them where it is loaded, so they live
here and not in training. XGBoost and CatBoost have estimators of their own for their files.
"""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from serving.model.outputs import Array


class _Boosted(BaseEstimator):
    """A booster with its features; as it is fitted, there is no ``fit``."""

    def __init__(self, booster: Any) -> None:  # noqa: ANN401 (LightGBM's own)
        """Take a ``lightgbm.Booster``."""
        self.booster = booster

    def __sklearn_is_fitted__(self) -> bool:
        """Tell that there is nothing to be fitted."""
        return True

    @property
    def n_features_in_(self) -> int:
        """How many columns the booster takes."""
        return int(self.booster.num_feature())

    @property
    def feature_names_in_(self) -> Array:
        """Their names, which LightGBM makes up where it was given none."""
        return np.array(self.booster.feature_name(), dtype=object)

    def _answers(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        return np.asarray(self.booster.predict(rows, num_threads=1))

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 (scikit-learn's own)
        """Tell that values may be missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class BoosterClassifier(ClassifierMixin, _Boosted):
    """A booster of which each row's answer is one probability, or one for each of the classes."""

    @property
    def classes_(self) -> Array:
        """The codes 0, 1, 2 …."""
        return np.arange(max(2, int(self.booster.num_model_per_iteration())))

    def predict(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give the code of the largest probability, of shape (rows,)."""
        return np.asarray(self.predict_proba(rows).argmax(axis=1))

    def predict_proba(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give the probabilities, of shape (rows, classes)."""
        given = self._answers(rows)
        return given if given.ndim > 1 else np.column_stack([1 - given, given])


class BoosterRegressor(RegressorMixin, _Boosted):
    """A booster of which the answers are what is wanted."""

    def predict(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give what the booster gives, a number for each row, or several."""
        return self._answers(rows)
