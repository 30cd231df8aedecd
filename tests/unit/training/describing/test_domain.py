"""Categories that have to be known, and numbers like them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serving.model.domains import Choices, Interval, Lengths
from serving.model.features import Number
from tests.unit.training.describing.asked import (
    KINDS,
    PETS,
    asked_as_it_is,
    color_of,
    described,
    table_of,
)
from training.describing.evidence import Evidence


def test_an_encoder_that_fails_on_unseen_categories_has_those_to_choose_from() -> None:
    encoder = make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough")
    description = described(make_pipeline(encoder, LogisticRegression()), PETS, KINDS)

    feature = color_of(description)
    assert feature.domain == Choices(values=("red", "blue"), rare=1)
    assert feature.known == ("blue", "rare", "red")


@pytest.mark.parametrize("step", [1, 0.5])
def test_numbers_that_an_encoder_knows_beside_the_tables_do_not_hide_those_that_it_does_not(
    step: float,
) -> None:
    known = np.arange(1, 10, 2) * step
    sizes = np.repeat(known, 8)
    estimator = make_pipeline(OneHotEncoder(), LogisticRegression())
    estimator.fit(sizes[:, None], sizes > 4 * step)
    frame = pd.DataFrame({"size": sizes[sizes != known[1]]})
    table = table_of(frame, frame["size"].to_numpy() > 4 * step)

    (feature,) = asked_as_it_is(estimator, table, Evidence(named=False)).features

    assert isinstance(feature, Number)
    assert feature.known == tuple(known[known != known[1]])


def test_numbers_beside_one_that_has_to_be_known_may_go_far_beyond_training() -> None:
    rng = np.random.default_rng(0)
    sizes = {name: rng.normal(size=60) for name in ("length", "width")}
    frame = pd.DataFrame({"code": np.tile([3, 5, 8], 20), **sizes})
    encoder = make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough")
    sums = (frame["length"] + frame["width"]).to_numpy()  # which go beyond doubles before these do
    estimator = make_pipeline(encoder, LinearRegression())
    features = described(estimator, frame, sums, "regression").features

    for feature in features[1:]:
        assert isinstance(feature.domain, Interval)
        assert feature.domain.minimum < -1e300
        assert feature.domain.maximum > 1e300


def test_an_encoder_that_takes_any_category_has_lengths_only() -> None:
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), [0]), remainder="passthrough"
    )
    description = described(make_pipeline(encoder, LogisticRegression()), PETS, KINDS)

    assert color_of(description).domain == Lengths(min_length=0, max_length=1000)
    assert color_of(description).known is None


def test_categories_that_have_to_be_known_do_not_name_what_is_missing() -> None:
    frame = PETS.assign(color=[np.nan, *PETS["color"][1:]]).astype({"color": object})
    encoder = make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough")
    feature = color_of(described(make_pipeline(encoder, LogisticRegression()), frame, KINDS))

    assert feature.known == ("blue", "rare", "red")
    assert feature.nullable
