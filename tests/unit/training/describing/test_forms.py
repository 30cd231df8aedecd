"""Estimators that were fitted elsewhere, on rows in some form: asked in that form, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
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
from skrub import TableVectorizer
from xgboost import XGBClassifier

import train
from serving.model.description import Description, Metrics
from serving.model.estimator import FittedEstimator
from serving.model.features import Row
from training.adopt import reference_table
from training.describing.describe import before_asking, describe, rows_of
from training.describing.evidence import Evidence
from training.describing.forms import with_form
from training.errors import TrainingError
from training.fitting.fitted import load_fitted
from training.options import Options
from training.table.table import Table, to_table

Estimator = Any  # scikit-learn has no type for it
Given = Any  # what estimators take and give
TRAINED, ASKED = 400, 2000
TOWNS = np.array(["Bari", "Lodi", "Pisa", "Rome"], dtype=object)
UNKNOWN = Metrics(split="none", values={}, dummy={})

Form = Callable[[pd.DataFrame], pd.DataFrame]


def houses(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Make up houses, and whether they are sold, which depends on all that is known of them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "rooms": rng.integers(1, 6, rows),
            "code": rng.choice([10115, 20095, 50667, 80331], rows),
            "lift": rng.integers(0, 2, rows).astype(bool),
            "baths": rng.integers(1, 6, rows) / 2,
            "town": TOWNS[rng.integers(0, 4, rows)],
            "x": rng.normal(size=rows).round(3),
        }
    )
    signs = [frame.rooms % 2 == 0, frame.x > 0, frame.lift, frame.baths == 1.5]
    signs += [frame.town == "Pisa", frame.code == 20095]
    return frame, np.logical_xor.reduce(signs).astype(int)


def categories(*names: str, as_text: bool = False, ordered: bool = False) -> Form:
    """Give the columns, and x, as pandas' categories."""

    def form(frame: pd.DataFrame) -> pd.DataFrame:
        held = {name: frame[name].astype(str) if as_text else frame[name] for name in names}
        return pd.DataFrame(
            {name: pd.Categorical(held[name], ordered=ordered) for name in names} | {"x": frame.x}
        )

    return form


def typed(**dtypes: str) -> Form:
    """Give columns with dtypes of pandas' own."""
    return lambda frame: frame[list(dtypes)].astype(dtypes)


def with_gaps(form: Form) -> Form:
    """Leave out a value here and there."""

    def gapped(frame: pd.DataFrame) -> pd.DataFrame:
        whole = form(frame)
        places = np.arange(len(whole))[:, None] % 7 == np.arange(whole.shape[1])
        return whole.mask(places)

    return gapped


def in_another_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Give categories that are not in the order in which pandas would put them."""
    rooms = pd.Categorical(frame.rooms, categories=[5, 3, 1, 2, 4], ordered=True)
    return pd.DataFrame({"rooms": rooms, "x": frame.x})


FORMS: dict[str, Form] = {
    "categories of whole numbers": categories("rooms"),
    "categories of codes": categories("code"),
    "categories of booleans": categories("lift"),
    "categories of decimals": categories("baths"),
    "categories of texts": categories("town"),
    "categories of texts that are numbers": categories("rooms", as_text=True),
    "ordered categories": categories("rooms", ordered=True),
    "categories in an order of their own": in_another_order,
    "two columns of categories": categories("rooms", "code"),
    "one column of categories of two": lambda frame: frame[["rooms", "code", "x"]].astype(
        {"code": "category"}
    ),
    "categories of a small dtype": lambda frame: (
        frame[["rooms", "x"]].astype({"rooms": "int8"}).astype({"rooms": "category"})
    ),
    "categories of a nullable dtype": lambda frame: (
        frame[["rooms", "x"]].astype({"rooms": "Int64"}).astype({"rooms": "category"})
    ),
    "categories with gaps": with_gaps(categories("rooms")),
    "nullable dtypes": typed(rooms="Int64", lift="boolean", x="Float64"),
    "nullable dtypes with gaps": with_gaps(typed(rooms="Int64", lift="boolean", x="Float64")),
    "Arrow's dtypes": typed(rooms="int64[pyarrow]", lift="bool[pyarrow]", x="double[pyarrow]"),
    "plain dtypes": lambda frame: frame[["rooms", "lift", "baths", "x"]],
    "floats of half the size": typed(rooms="int64", x="float32"),
}


def light(frame: pd.DataFrame) -> Estimator:
    return LGBMClassifier(n_estimators=15, min_child_samples=3, verbose=-1)


def extreme(frame: pd.DataFrame) -> Estimator:
    return XGBClassifier(n_estimators=15, enable_categorical=True)


def cat(frame: pd.DataFrame) -> Estimator:
    chosen = [name for name, dtype in frame.dtypes.items() if dtype == "category"]
    return CatBoostClassifier(
        iterations=15, verbose=0, allow_writing_files=False, cat_features=chosen or None
    )


def histogram(frame: pd.DataFrame) -> Estimator:
    return HistGradientBoostingClassifier(max_iter=15)


BOOSTERS = (light, extreme, cat, histogram)
NOT_TAKEN = {  # by the library itself, when it is fitted
    light: {"Arrow's dtypes"},
    extreme: {
        "categories of booleans",
        "categories of decimals",
        "categories of a nullable dtype",
    },
    cat: {"categories of decimals", "categories with gaps", "nullable dtypes with gaps"},
}
FITTED = [
    pytest.param(form, booster, id=f"{booster.__name__} on {name}")
    for name, form in FORMS.items()
    for booster in BOOSTERS
    if name not in NOT_TAKEN.get(booster, ())
]


def brought(
    estimator: Estimator,
    frame: pd.DataFrame,
    labels: Given,
    folder: Path,
    options: str = "",
    kind: str = "csv",
) -> tuple[Description, Table]:
    """Bring an estimator and its table, as far as the form is decided in which it is asked."""
    joblib.dump(estimator, folder / "mine.joblib")
    file = folder / f"table.{kind}"
    getattr(frame.assign(sold=labels), f"to_{kind}")(file, index=False)
    parsed = train.build_parser().parse_args(["--target", "sold", *options.split()])
    loaded = load_fitted(folder / "mine.joblib", trust=True)
    found, evidence = reference_table(file, Options(**vars(parsed)), loaded)
    unasked = before_asking("mine", loaded, found, UNKNOWN)
    return with_form(loaded, unasked, rows_of(found), evidence), found


def sent(frame: pd.DataFrame, description: Description) -> list[Row]:
    """Give rows as a client sends them: numbers, booleans and texts, as the features have it."""
    kinds = {"integer": int, "number": float, "boolean": bool, "category": str, "text": str}
    columns = [
        [None if pd.isna(value) else kinds[feature.type](value) for value in frame[feature.name]]
        for feature in description.features
    ]
    return list(zip(*columns, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("form", "booster"), FITTED)
@pytest.mark.filterwarnings("ignore")
def test_what_is_served_is_the_estimators_own_whatever_form_it_was_fitted_on(
    form: Form, booster: Callable[[pd.DataFrame], Estimator], kind: str, tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    estimator = booster(form(frame)).fit(form(frame), labels)
    description, _ = brought(estimator, form(frame), labels, tmp_path, kind=kind)

    others, _ = houses(ASKED, seed=1)
    model = FittedEstimator(estimator, description)
    table = model.table(sent(form(others), description))

    assert (estimator.predict(table) == estimator.predict(form(others))).all()
    np.testing.assert_array_equal(
        estimator.predict_proba(table), estimator.predict_proba(form(others))
    )


@pytest.mark.filterwarnings("ignore")
def test_the_categories_that_an_estimator_keeps_decide_and_not_that_it_answers_an_array(
    tmp_path: Path,
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = categories("rooms")(frame)
    estimator = light(given).fit(given, labels)

    description, table = brought(estimator, given, labels, tmp_path)

    assert description.asked.input == "frame"
    array = np.array(rows_of(table), dtype=float)
    assert (estimator.predict(array) != estimator.predict(given)).any()
    asked = FittedEstimator(estimator, description).table(rows_of(table))
    assert (estimator.predict(asked) == estimator.predict(given)).all()


class Hidden:
    """A class of one's own around an estimator, which tells nothing of it."""

    classes_ = np.array([0, 1])
    __slots__ = ("ask",)

    def __init__(self, ask: Given) -> None:
        """Take what answers."""
        self.ask = ask

    def __reduce__(self) -> Given:
        """Be pickled."""
        return Hidden, (self.ask,)

    def predict(self, rows: Given) -> Given:
        """Answer."""
        return self.ask(rows)


def of_columns(rows: Given) -> Given:
    """Tell categories from numbers, as gradient boosting does."""
    rooms = rows["rooms"] if isinstance(rows, pd.DataFrame) else pd.Series(np.asarray(rows)[:, 0])
    codes = rooms.cat.codes if rooms.dtype == "category" else rooms
    return (np.asarray(codes).astype(int) % 2 == 0).astype(int)


@pytest.mark.parametrize(
    ("options", "kind", "categories_given"),
    [("--category rooms", "csv", ["rooms"]), ("--category", "csv", []), ("", "parquet", ["rooms"])],
)
def test_where_nothing_tells_the_form_training_refuses_until_it_is_told(
    options: str, kind: str, categories_given: list[str], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given, hidden = categories("rooms")(frame), Hidden(of_columns)
    task = "--task classification"

    with pytest.raises(TrainingError, match=r"nothing tells on which it was fitted\. .*--category"):
        brought(hidden, given, labels, tmp_path, task)

    description, _ = brought(hidden, given, labels, tmp_path, f"{task} {options}", kind)
    assert list(description.asked.dtypes) == categories_given


def test_a_column_that_is_no_feature_is_none_of_the_categories(tmp_path: Path) -> None:
    frame, labels = houses(TRAINED, seed=0)

    with pytest.raises(TrainingError, match="'rom', as --category says"):
        brought(Hidden(of_columns), frame, labels, tmp_path, "--category rom --task classification")


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


def dummies(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.get_dummies(frame, columns=["town"])


def test_what_answers_only_tables_that_have_all_categories_is_refused() -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = frame[["town", "x"]]
    estimator = make_pipeline(FunctionTransformer(dummies), LogisticRegression()).fit(given, labels)
    table = to_table(given.assign(sold=labels), ["sold"])

    with pytest.raises(TrainingError, match="no finite answer to a typical row"):
        describe("mine", estimator, table, UNKNOWN, seed=0, evidence=Evidence(named=True))


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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("booster", BOOSTERS)
def test_an_estimator_that_was_fitted_on_an_array_needs_no_names_of_columns(
    booster: Callable[[pd.DataFrame], Estimator], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = frame[["rooms", "x"]]
    estimator = booster(given).fit(given.to_numpy(), labels)

    description, _ = brought(estimator, given, labels, tmp_path)

    assert description.asked.input == "array"


@pytest.mark.filterwarnings("ignore")
def test_a_vectorizer_of_tables_is_asked_as_it_answers(tmp_path: Path) -> None:
    frame, labels = houses(TRAINED, seed=0)
    estimator = make_pipeline(TableVectorizer(), LogisticRegression(max_iter=500))
    estimator.fit(frame, labels)

    description, table = brought(estimator, frame, labels, tmp_path)

    asked = FittedEstimator(estimator, description).table(rows_of(table))
    np.testing.assert_allclose(
        estimator.predict_proba(asked), estimator.predict_proba(frame), rtol=1e-12
    )


# Rows that are one text, or one dict


@pytest.mark.parametrize("vectorizer", [TfidfVectorizer(), HashingVectorizer(n_features=64)])
def test_an_estimator_of_texts_is_given_a_list_of_them(
    vectorizer: Estimator, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(TOWNS[rng.integers(0, 4, 5)]) + f" {n}" for n in range(TRAINED)]
    labels = ["Rome" in text for text in texts]
    estimator = make_pipeline(vectorizer, LogisticRegression()).fit(texts, labels)

    description, table = brought(estimator, pd.DataFrame({"text": texts}), labels, tmp_path)

    assert description.asked.input == "texts"
    assert FittedEstimator(estimator, description).table(rows_of(table)) == texts


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_frame_of_texts_that_is_read_as_the_names_of_its_columns_is_no_form(
    kind: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(TOWNS[rng.integers(0, 4, 3)]) + f" {n}" for n in range(TRAINED)]
    labels = ["Rome" in text for text in texts]
    bare = make_pipeline(TfidfVectorizer(), LogisticRegression())
    estimator = CalibratedClassifierCV(bare, cv=2).fit(texts, labels)
    frame = pd.DataFrame({"text": texts})
    assert estimator.predict(frame).shape == (TRAINED,)

    description, _ = brought(estimator, frame, labels, tmp_path, kind=kind)

    assert description.asked.input == "texts"


def records() -> tuple[pd.DataFrame, list[dict[str, Any]], list[str]]:
    """Give houses as dicts."""
    frame, _ = houses(TRAINED, seed=0)
    chosen = frame[["town", "rooms", "lift"]]
    labels = np.where((chosen.town == "Rome") & (chosen.rooms > 2), "sold", "kept").tolist()
    return chosen, chosen.to_dict("records"), labels


def test_an_estimator_of_dicts_is_given_a_list_of_them(tmp_path: Path) -> None:
    frame, rows, labels = records()
    estimator = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, labels)

    description, table = brought(estimator, frame, labels, tmp_path)

    assert description.asked.input == "dicts"
    asked = FittedEstimator(estimator, description).table(rows_of(table))
    np.testing.assert_array_equal(estimator.predict_proba(asked), estimator.predict_proba(rows))


def test_numbers_that_were_texts_in_dicts_are_texts(tmp_path: Path) -> None:
    frame, rows, labels = records()
    rows = [{**row, "rooms": str(row["rooms"])} for row in rows]
    estimator = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, labels)

    description, table = brought(estimator, frame, labels, tmp_path)

    asked = FittedEstimator(estimator, description).table(rows_of(table))
    np.testing.assert_array_equal(estimator.predict_proba(asked), estimator.predict_proba(rows))


def gapped_records() -> tuple[pd.DataFrame, list[dict[str, Any]], np.ndarray[Any, Any]]:
    """Give houses as dicts which lack what is missing."""
    frame, labels = houses(TRAINED, seed=0)
    chosen = with_gaps(lambda frame: frame[["x", "town", "lift"]])(frame)
    rows = chosen.to_dict("records")
    return chosen, [{k: v for k, v in row.items() if not pd.isna(v)} for row in rows], labels


@pytest.mark.parametrize("vectorizer", [DictVectorizer(), FeatureHasher(32)])
def test_what_is_missing_has_no_key_in_dicts_if_the_estimator_takes_no_gaps(
    vectorizer: Estimator, tmp_path: Path
) -> None:
    frame, rows, labels = gapped_records()
    frame["lift"] = frame.lift.fillna(value=False)
    rows = [{**row, "lift": bool(row.get("lift"))} for row in rows]
    estimator = make_pipeline(vectorizer, LogisticRegression()).fit(rows, labels)

    description, table = brought(estimator, frame, labels, tmp_path)

    assert FittedEstimator(estimator, description).table(rows_of(table)) == rows


def test_where_dicts_with_and_without_gaps_are_answered_otherwise_training_refuses(
    tmp_path: Path,
) -> None:
    frame, rows, labels = gapped_records()
    estimator = make_pipeline(DictVectorizer(sparse=False), HistGradientBoostingClassifier())
    estimator.fit(rows, labels)

    with pytest.raises(TrainingError, match="Leave rows with missing values out"):
        brought(estimator, frame, labels, tmp_path)


def test_a_column_of_which_dicts_knew_nothing_is_refused(tmp_path: Path) -> None:
    frame, rows, labels = records()
    estimator = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, labels)

    with pytest.raises(TrainingError, match="was fitted without 'street'"):
        brought(estimator, frame.assign(street=["A"] * TRAINED), labels, tmp_path)
