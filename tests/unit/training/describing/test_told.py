"""What an estimator tells of its columns, and tables that are put in line with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from serving.model.description import Categories
from serving.model.estimator import FittedEstimator
from tests.unit.training.describing.houses import (
    ASKED,
    BOOSTERS,
    TRAINED,
    Estimator,
    Given,
    brought,
    categories,
    extreme,
    histogram,
    houses,
    light,
    sent,
)
from training.describing.describe import rows_of
from training.errors import TrainingError


@pytest.mark.filterwarnings("ignore")
def test_categories_beyond_ascii_are_told_though_xgboost_keeps_them_cut(tmp_path: Path) -> None:
    frame, labels = houses(TRAINED, seed=0)
    towns = {"Bari": "Köln", "Lodi": "São Paulo", "Pisa": "Łódź", "Rome": "東京"}
    given = categories("town")(frame.assign(town=frame.town.map(towns)))
    estimator = extreme(given).fit(given, labels)

    description, table = brought(estimator, given, labels, tmp_path)

    dtype = description.asked.dtypes["town"]
    assert isinstance(dtype, Categories)
    assert dtype.values == tuple(sorted(towns.values()))
    asked = FittedEstimator(estimator, description).table(rows_of(table))
    assert (estimator.predict_proba(asked) == estimator.predict_proba(given)).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda booster: make_pipeline("passthrough", booster),
        lambda booster: make_sampling_pipeline(RandomOverSampler(random_state=0), booster),
        lambda booster: GridSearchCV(booster, {"n_estimators": [15]}, cv=2),
    ],
    ids=["a pipeline", "a pipeline that samples", "a search"],
)
def test_what_an_estimator_tells_is_found_wherever_it_stands(
    wrapped: Callable[[Estimator], Estimator], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = categories("rooms")(frame)
    estimator = wrapped(light(given)).fit(given, labels)

    description, table = brought(estimator, given, labels, tmp_path)

    asked = FittedEstimator(estimator, description).table(rows_of(table))
    assert (estimator.predict(asked) == estimator.predict(given)).all()


@pytest.mark.filterwarnings("ignore")
def test_texts_that_a_file_turns_into_numbers_are_texts_where_the_estimator_knows_them_so(
    tmp_path: Path,
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = frame[["rooms", "x"]].astype({"rooms": str})
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["rooms"]), remainder="passthrough"
    )
    estimator = make_pipeline(encoder, LogisticRegression()).fit(given, labels)

    description, table = brought(estimator, given, labels, tmp_path)

    assert description.features[0].type == "category"
    asked = FittedEstimator(estimator, description).table(rows_of(table))
    np.testing.assert_array_equal(estimator.predict_proba(asked), estimator.predict_proba(given))


SIZES = np.array(["1", "01", "1.5", "1.50"], dtype=object)


def sized(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a column of texts of which some say the same number."""
    return pd.DataFrame({"size": pd.Categorical(SIZES[frame.rooms % 4]), "x": frame.x})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("booster", [light, extreme, histogram])
def test_texts_that_say_the_same_number_stay_apart(
    booster: Callable[[pd.DataFrame], Estimator], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    estimator = booster(frame).fit(sized(frame), labels)

    _, table = brought(estimator, sized(frame), labels, tmp_path, kind="parquet")

    assert table.frame["size"].tolist() == sized(frame)["size"].tolist()


def test_a_number_of_a_file_that_may_have_been_one_of_two_texts_is_refused(tmp_path: Path) -> None:
    frame, labels = houses(TRAINED, seed=0)
    decimals = sized(frame[frame.rooms % 4 > 1])
    labels = labels[frame.rooms % 4 > 1]
    estimator = extreme(decimals).fit(decimals, labels)

    with pytest.raises(
        TrainingError, match=r"number 1\.5, .* knows '1\.5', '1\.50': bring .*Parquet"
    ):
        brought(estimator, decimals, labels, tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", [("false", "true"), ("False", "True"), ("FALSE", "TRUE")])
@pytest.mark.parametrize("booster", BOOSTERS)
def test_words_that_a_file_turns_into_booleans_are_words_where_the_estimator_knows_them_so(
    booster: Callable[[pd.DataFrame], Estimator], words: tuple[str, str], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)

    def form(frame: pd.DataFrame) -> pd.DataFrame:
        held = np.array(words, dtype=object)[frame.lift.astype(int)]
        return pd.DataFrame({"lift": pd.Categorical(held), "x": frame.x})

    estimator = booster(form(frame)).fit(form(frame), labels)

    description, _ = brought(estimator, form(frame), labels, tmp_path)

    others, _ = houses(ASKED, seed=1)
    asked = FittedEstimator(estimator, description).table(sent(form(others), description))
    assert (estimator.predict(asked) == estimator.predict(form(others))).all()


def test_values_of_which_the_estimator_knows_none_are_refused(tmp_path: Path) -> None:
    frame, labels = houses(TRAINED, seed=0)
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["town"]))
    estimator = make_pipeline(encoder, LogisticRegression()).fit(frame[["town"]], labels)

    with pytest.raises(TrainingError, match="column 'town' has none of the values"):
        brought(estimator, frame[["town"]].assign(town=frame.town.str.upper()), labels, tmp_path)


def lowered(values: Given) -> Given:
    return values.apply(lambda column: column.str.lower())


@pytest.mark.parametrize(
    ("before", "columns"),
    [
        (KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), ["x", "baths"]),
        (make_pipeline(StandardScaler(), OneHotEncoder()), ["rooms"]),
        (make_pipeline(OrdinalEncoder(), OneHotEncoder()), ["town"]),
        (make_pipeline(FunctionTransformer(lowered), OneHotEncoder()), ["town"]),
    ],
    ids=["bins", "scaled numbers", "codes", "texts that are written otherwise"],
)
def test_an_encoder_of_what_a_step_has_made_of_columns_tells_nothing_of_their_values(
    before: Estimator, columns: list[str], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    estimator = make_pipeline(before, LogisticRegression()).fit(frame[columns], labels)

    description, table = brought(estimator, frame[columns], labels, tmp_path)

    asked = FittedEstimator(estimator, description).table(rows_of(table))
    np.testing.assert_array_equal(
        estimator.predict_proba(asked), estimator.predict_proba(frame[columns])
    )


@pytest.mark.filterwarnings("ignore")
def test_columns_with_blanks_are_those_that_lightgbm_writes_with_underscores(
    tmp_path: Path,
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = categories("rooms")(frame).rename(columns={"rooms": "rooms in all"})
    estimator = light(given).fit(given, labels)

    description, table = brought(estimator, given, labels, tmp_path)

    assert [feature.name for feature in description.features] == ["rooms in all", "x"]
    asked = FittedEstimator(estimator, description).table(rows_of(table))
    assert (estimator.predict(asked) == estimator.predict(given)).all()
