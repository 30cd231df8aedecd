"""What is made of each column before the last step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)

from serving.model.description import Description
from serving.model.estimator import Estimator, FittedEstimator
from tests.unit.samples import regression, text
from tests.unit.training.compiling.compiled import described, fitted, mixed, patients
from training.describing.asking import UNSEEN
from training.describing.describe import rows_of
from training.explaining.built import CannotExplainError
from training.explaining.images import Image, Images, images_of
from training.table.table import Table, to_table

pytestmark = pytest.mark.usefixtures("quick")

COUNT = 80


def found(estimator: Estimator, description: Description, table: Table) -> Images:
    model = FittedEstimator(estimator, description)
    return images_of(model, estimator, rows_of(table), np.random.default_rng(0))


def by_name(images: Images) -> dict[str, Image]:
    return {image.feature.name: image for image in images.all}


def sizes() -> Table:
    rng = np.random.default_rng(0)
    size = rng.choice(["small", "middle", "large"], COUNT).astype(object)
    frame = pd.DataFrame(
        {"size": size, "weight": rng.normal(size=COUNT), "ripe": rng.random(COUNT) < 0.5}
    )
    frame["y"] = (size == "small") * 3.0 + frame["weight"]
    frame.loc[rng.random(COUNT) < 0.2, "weight"] = np.nan
    return to_table(frame, ["y"])


def test_each_column_decides_of_its_own_columns_of_the_matrix() -> None:
    table = mixed()
    images = found(*fitted(LogisticRegression(), table), table)
    assert sorted(np.concatenate([image.columns for image in images.all])) == [*range(images.width)]
    image = by_name(images)
    assert image["length"].values is None
    assert image["ripe"].values == (False, True)
    assert image["colour"].values == ("blue", "green", "red")  # rare is as good as unseen
    assert len(image["width"].columns) == 2  # it, and whether it is missing
    colours = image["colour"]
    assert (colours.of(["rare"]) == colours.of([UNSEEN])).all()
    assert (colours.table() == colours.of(["blue", "green", "red", UNSEEN, None])).all()
    rows = rows_of(table)
    matrix = images.encoded(rows)
    for at, one in enumerate(images.all):
        assert (one.of([row[at] for row in rows]) == matrix[:, one.columns]).all()
    count = image["count"]
    assert (count.of([2, 2.0, 2.5]) == count.of([2])).all()  # a whole number
    assert np.isfinite(count.of([2**70, -(2**70)])).all()
    shown = {row[at] for row in images.shown for at in (0, 1, 3)}
    assert {None, UNSEEN} < shown  # what is missing and unseen was looked at, too


@pytest.mark.parametrize(
    "wrap",
    [lambda e: make_pipeline("passthrough", e), lambda e: GridSearchCV(e, {})],
    ids=["pipeline", "search"],
)
def test_a_pipeline_is_found_within_another(wrap: Callable[[Any], Any]) -> None:
    inner = make_pipeline(StandardScaler(), make_pipeline(SplineTransformer(3, degree=1), Ridge()))
    images = found(*described(wrap(inner), patients()), patients())
    assert isinstance(images.part, Ridge)
    assert [len(image.columns) for image in images.all] == [3] * 10


def test_a_bare_estimator_is_given_the_columns_themselves() -> None:
    images = found(*described(Ridge(), patients()), patients())
    assert [image.columns.tolist() for image in images.all] == [[at] for at in range(10)]
    numbers = [0.1, np.nextafter(0.1, 1), -1e300]
    assert images.all[2].of(numbers)[:, 0].tolist() == numbers


def test_what_never_moves_belongs_to_the_first_column() -> None:
    constant = FunctionTransformer(lambda rows: np.column_stack((rows, np.ones(len(rows)))))
    images = found(*described(make_pipeline(constant, Ridge()), patients()), patients())
    assert images.all[0].columns.tolist() == [0, 10]
    assert images.all[0].of([7.5]).tolist() == [[7.5, 1.0]]


def test_what_no_request_may_have_is_not_asked_for() -> None:
    table = sizes()
    columns = make_column_transformer((OneHotEncoder(), [0]), (SimpleImputer(), [1, 2]))
    images = found(*described(make_pipeline(columns, Ridge()), table), table)
    size = by_name(images)["size"]
    assert size.values == ("large", "middle", "small")
    assert size.other == size.feature.example
    assert (size.of(["none of them", None]) == size.of([size.other])).all()


def test_categories_that_the_table_lacks_are_told_apart() -> None:
    table = sizes()
    known = OrdinalEncoder(
        categories=[["tiny", "small", "middle", "large", "huge"]],
        handle_unknown="use_encoded_value",
        unknown_value=-1,
    )
    columns = make_column_transformer((known, [0]), (SimpleImputer(), [1, 2]))
    images = found(*described(make_pipeline(columns, Ridge()), table), table)
    assert by_name(images)["size"].values == ("huge", "large", "middle", "small", "tiny")
    assert by_name(images)["size"].table().ravel().tolist()[:-1] == [4, 3, 2, 1, 0, -1]


def test_numbers_that_are_taken_for_categories_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"code": rng.choice([10, 20, 40], COUNT), "x": rng.normal(size=COUNT)})
    table = to_table(frame.assign(y=frame["code"] + rng.normal(size=COUNT)), ["y"])
    columns = make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough")
    images = found(*described(make_pipeline(columns, Ridge()), table), table)
    code = by_name(images)["code"]
    assert code.values == (10, 20, 40)
    assert code.of([10, 40]).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_codes_of_categories_are_those_that_trees_compare() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=COUNT), "code": rng.integers(2, 5, COUNT)})
    frame["y"] = np.where(frame["code"] == 3, "a", "b")
    table = to_table(frame, ["y"])
    estimator = HistGradientBoostingClassifier(max_iter=2, categorical_features=[1])
    images = found(*described(estimator, table), table)
    image = by_name(images)
    assert image["x"].columns.tolist() == [1]
    assert image["code"].columns.tolist() == [0]
    assert image["code"].of([2, 3, 4]).tolist() == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (PCA(2), "PCA mixes columns"),
        (PolynomialFeatures(), "PolynomialFeatures mixes columns"),
        (
            make_column_transformer((PCA(2), [0, 1]), remainder="passthrough"),
            "'pca' of ColumnTransformer mixes columns",
        ),
        (
            FunctionTransformer(lambda rows: rows - rows.mean(axis=0)),
            "depends on other columns or rows",
        ),
        (FunctionTransformer(lambda rows: np.full(rows.shape, "text")), "takes other than numbers"),
    ],
    ids=["PCA", "products", "a part", "its company", "strings"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_step_that_mixes_columns_is_named(step: Any, why: str) -> None:  # noqa: ANN401
    estimator, description = described(make_pipeline(StandardScaler(), Ridge()), patients())
    estimator.steps.insert(1, ("step", step.fit(patients().frame.to_numpy())))
    with pytest.raises(CannotExplainError, match=why):
        found(estimator, description, patients())


def test_gaps_that_are_filled_by_other_columns_are_seen() -> None:
    table = sizes()
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), [0]), (KNNImputer(), [1, 2])
    )
    with pytest.raises(CannotExplainError, match="'weight' depends on other columns"):
        found(*described(make_pipeline(columns, Ridge()), table), table)


def test_unseen_strings_that_are_not_alike_are_seen() -> None:
    table = sizes()
    lower = FunctionTransformer(np.vectorize(lambda text: str(text).lower(), otypes=[object]))
    sized = make_pipeline(lower, OneHotEncoder(handle_unknown="ignore"))
    columns = make_column_transformer((sized, [0]), (SimpleImputer(), [1, 2]))
    with pytest.raises(CannotExplainError, match="unseen values of 'size' are not all treated"):
        found(*described(make_pipeline(columns, Ridge()), table), table)


def test_texts_are_not_told_apart() -> None:
    model = FittedEstimator(Ridge(), regression("y", features=(text("note"),)))
    with pytest.raises(CannotExplainError, match="texts"):
        images_of(model, Ridge(), [("a note",)], np.random.default_rng(0))


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.explaining.steps.MAX_S", -1)
    with pytest.raises(CannotExplainError, match="takes too long"):
        found(*described(Ridge(), patients()), patients())
