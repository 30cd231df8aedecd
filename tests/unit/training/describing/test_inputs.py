"""In which form scikit-learn's own and odd estimators are given rows."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
)
from sklearn.linear_model import (
    LogisticRegression,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from serving.model.domains import Lengths
from serving.model.estimator import FittedEstimator
from tests.unit.training.describing.asked import (
    FLOWERS,
    KINDS,
    PETS,
    SMALL,
    SPECIES,
    Given,
    asked_as_it_is,
    color_of,
    described,
    regressor,
    table_of,
)
from training.describing.describe import rows_of
from training.describing.evidence import Evidence
from training.errors import TrainingError


def test_an_array_is_given_where_its_answers_are_those_to_a_frame() -> None:
    named = LogisticRegression(max_iter=1000).fit(FLOWERS.data, SPECIES)

    assert asked_as_it_is(named, table_of(FLOWERS.data, SPECIES)).asked.input == "array"


@pytest.mark.slow
def test_a_frame_is_given_to_what_takes_columns_by_name() -> None:
    columns = make_column_transformer((OneHotEncoder(), ["color"]), remainder="passthrough")
    estimator = make_pipeline(columns, LogisticRegression()).fit(PETS, KINDS)

    asked = asked_as_it_is(estimator, table_of(PETS, KINDS)).asked

    assert asked.input == "frame"
    assert (asked.scored_by, asked.label_by) == ("predict_proba", "predict_proba")


def test_a_frame_is_given_where_names_tell_that_an_array_gets_wrong_answers() -> None:
    class ByName(ClassifierMixin, BaseEstimator):
        classes_ = np.array(["cat", "dog"], dtype=object)

        def predict(self, rows: Given) -> Given:
            values = rows["size"] if isinstance(rows, pd.DataFrame) else np.zeros(len(rows))
            return np.where(np.asarray(values) > 5, "dog", "cat")

    asked = asked_as_it_is(ByName(), table_of(PETS, KINDS), Evidence(named=True)).asked

    assert asked.input == "frame"
    with pytest.raises(TrainingError, match="nothing tells on which it was fitted"):
        asked_as_it_is(ByName(), table_of(PETS, KINDS))


def test_a_frame_of_categories_is_given_to_what_takes_nothing_else() -> None:
    class OfCategories(ClassifierMixin, BaseEstimator):
        classes_ = np.array([False, True])

        def predict(self, rows: Given) -> Given:
            assert list(rows.dtypes.astype(str)) == ["category", "float64"]
            return (rows["size"] > 5).to_numpy()

    labels = (PETS["size"] > 5).to_numpy()
    description = asked_as_it_is(OfCategories(), table_of(PETS, labels))

    assert description.asked.input == "categorical-frame"
    assert color_of(description).domain == Lengths(min_length=0, max_length=1000)


def test_what_was_fitted_on_categories_is_asked_so_that_it_answers_alike() -> None:
    frame = PETS.astype({"color": "category"})
    estimator = HistGradientBoostingClassifier(
        categorical_features="from_dtype", max_iter=3, min_samples_leaf=1
    ).fit(frame, KINDS)

    description = asked_as_it_is(estimator, table_of(PETS, KINDS))

    predictions = FittedEstimator(estimator, description).predict(rows_of(table_of(PETS, KINDS)))
    assert [found and found.value for found in predictions] == list(estimator.predict(frame))


def test_an_estimator_of_whatever_objects_is_given_an_array_of_them() -> None:
    estimator = make_pipeline(
        make_column_transformer((OrdinalEncoder(), [0]), remainder=FunctionTransformer(np.asarray)),
        DecisionTreeClassifier(),
    )

    assert described(estimator, PETS, KINDS).asked.input == "array"


def test_an_estimator_that_answers_no_way_is_refused_with_what_each_said() -> None:
    def predict(rows: Given) -> Given:
        raise KeyError(f"{type(rows).__name__} of {len(rows)}")

    with pytest.raises(TrainingError) as caught:
        asked_as_it_is(regressor(predict), table_of(SMALL, np.zeros(20), "regression"))

    assert str(caught.value).splitlines() == [
        "the estimator does not answer the rows of the table",
        "given an array: KeyError: 'ndarray of 20'",
        "given a frame: KeyError: 'DataFrame of 20'",
        "given a frame with categories in 'a', 'b': KeyError: 'DataFrame of 20'",
        "given a list of dicts: KeyError: 'list of 20'",
    ]


def test_arrays_in_the_place_of_labels_are_refused() -> None:
    def predict(rows: Given) -> Given:
        answers = np.empty(len(rows), dtype=object)
        answers[:] = [csr_matrix(np.eye(2))] * len(rows)
        return answers

    with pytest.raises(TrainingError, match="predict gave arrays in the place of labels"):
        asked_as_it_is(regressor(predict), table_of(SMALL, np.zeros(20), "regression"))


@pytest.mark.parametrize("shape", [(), (3,), (20, 2), (20, 1, 1)], ids=str)
def test_answers_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match="predict gave an array of shape"):
        asked_as_it_is(
            regressor(lambda rows: np.zeros(shape)),
            table_of(SMALL, np.zeros(20), "regression"),
        )
