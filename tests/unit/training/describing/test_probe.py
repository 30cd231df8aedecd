"""How an estimator has to be asked, found out by asking it: scikit-learn's own, and odd ones."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RidgeClassifier,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import CategoricalNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.model.description import Description, Metrics, Task
from serving.model.domains import Choices, Interval, Lengths
from serving.model.estimator import FittedEstimator
from serving.model.features import Category, Number
from training.describing.describe import describe, rows_of
from training.describing.evidence import NO_EVIDENCE, Evidence
from training.describing.probe import MAX_COMPARED_ROWS
from training.errors import TrainingError
from training.table.columns import MAX_WHOLE
from training.table.table import Table

Estimator = Any  # scikit-learn has no type for it
Given = Any  # what estimators take and give
METRICS = Metrics(split="none", values={}, dummy={})
FLOWERS = load_iris(as_frame=True)
SPECIES = FLOWERS.target_names[FLOWERS.target].astype(object)
LARGE = np.where(SPECIES == "virginica", "large", "small").astype(object)
WIDTHS = FLOWERS.data.iloc[:, 1].to_numpy()


def table_of(frame: pd.DataFrame, labels: Given, task: Task = "classification") -> Table:
    """Make a table of a frame whose dtypes tell what its columns are."""
    kinds = {"i": "integer", "f": "number", "b": "boolean", "O": "category"}
    types: Any = {str(name): kinds[dtype.kind] for name, dtype in frame.dtypes.items()}
    target = pd.DataFrame(index=frame.index) if labels is None else pd.DataFrame({"y": labels})
    return Table(frame.rename(columns=str), types, target, task, ())


def described(
    estimator: Estimator,
    frame: pd.DataFrame = FLOWERS.data,
    labels: Given = SPECIES,
    task: Task = "classification",
) -> Description:
    """Fit an estimator on the values of a frame, and describe it."""
    table = table_of(frame, labels, task)
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        estimator.fit(table.frame.to_numpy(), labels)
        return describe("mine", estimator, table, METRICS, seed=0)


def asked_as_it_is(
    estimator: Estimator, table: Table, evidence: Evidence = NO_EVIDENCE
) -> Description:
    """Describe an estimator that was fitted elsewhere, or never."""
    with threadpool_limits(limits=1):
        return describe("mine", estimator, table, METRICS, seed=0, evidence=evidence)


SMALL = pd.DataFrame({"a": np.linspace(-1, 1, 20), "b": np.linspace(3, 5, 20)[::-1]})


class Foreign:
    """An estimator of another library; a test gives it the methods that it has."""

    def __init__(self, **methods: Given) -> None:
        """Take methods and attributes."""
        self.__dict__ |= methods


def regressor(predict: Given) -> Foreign:
    """Make an estimator of its `predict`."""
    return Foreign(predict=predict)


# Scores


@pytest.mark.parametrize(
    ("estimator", "labels", "expected"),
    [
        (LogisticRegression(), "species", ("predict_proba", False, "predict_proba")),
        (RidgeClassifier(), "species", ("decision_function", True, "decision_function")),
        (RidgeClassifier(), "size", ("decision_function", True, "decision_function")),
        (SVC(), "size", ("decision_function", True, "decision_function")),
        # Its columns are made of votes: where the label changes, the best two are not tied.
        (SVC(), "species", ("decision_function", True, None)),
        # Three classes, and three pairs of them.
        (SVC(decision_function_shape="ovo"), "species", ("decision_function", False, None)),
        # Its probabilities may say otherwise.
        (
            SVC(probability=True, random_state=0),
            "size",
            ("predict_proba", False, "decision_function"),
        ),
        # From one leaf to the next the probabilities jump.
        (DecisionTreeClassifier(), "species", ("predict_proba", False, None)),
        (
            FixedThresholdClassifier(LogisticRegression(), threshold=0.9),
            "size",
            ("predict_proba", False, None),
        ),
    ],
    ids=str,
)
def test_the_method_that_tells_most_and_the_one_that_decides_are_found(
    estimator: Estimator, labels: str, expected: tuple[str, bool, str | None]
) -> None:
    asked = described(estimator, labels={"species": SPECIES, "size": LARGE}[labels]).asked

    assert (asked.scored_by, asked.scores_by_class, asked.label_by) == expected


def test_four_classes_in_pairs_are_no_scores_by_class() -> None:
    frame = FLOWERS.data.iloc[:120]
    asked = described(
        SVC(decision_function_shape="ovo"), frame, [index % 4 for index in range(120)]
    ).asked

    assert (asked.scored_by, asked.scores_by_class, asked.label_by) == (
        "decision_function",
        False,
        None,
    )


def test_what_learns_no_classes_has_no_scores_but_a_detector_has() -> None:
    numbers = described(LinearRegression(), labels=WIDTHS, task="regression").asked
    groups = described(KMeans(3, n_init=1), labels=None, task="clustering").asked
    outliers = described(
        IsolationForest(n_estimators=5, random_state=0), labels=None, task="outlier-detection"
    ).asked

    assert numbers.scored_by is groups.scored_by is None
    assert outliers.scored_by == "decision_function"
    assert not outliers.scores_by_class


def test_a_method_that_fails_or_gives_nonsense_is_not_asked() -> None:
    def fails(rows: Given) -> Given:
        raise NotImplementedError

    for broken in (fails, lambda rows: np.ones((len(rows), 7)), lambda rows: None):
        estimator = Foreign(
            classes_=["dog", "cat"],
            predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
            predict_proba=broken,
            decision_function=lambda rows: -rows[:, 0],
        )
        labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)
        description = asked_as_it_is(estimator, table_of(SMALL, labels))
        assert description.asked.scored_by == "decision_function"
        assert description.asked.scores_by_class
        assert description.asked.label_by == "decision_function"
        assert description.classes == ("dog", "cat")


def test_scores_that_only_mostly_agree_are_by_class_but_decide_nothing() -> None:
    estimator = Foreign(
        classes_=["cat", "dog"],
        predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
        decision_function=lambda rows: rows[:, 0] + 0.1,  # wrong for one row of twenty
    )
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)

    asked = asked_as_it_is(estimator, table_of(SMALL, labels)).asked

    assert (asked.scores_by_class, asked.label_by) == (True, None)


# Classes


def classifier(labels: Sequence[Any], values: Given) -> Foreign:
    """Make an estimator that always answers with the first of its classes."""

    def predict(rows: Given) -> Given:
        answers = np.empty(len(rows), object)
        answers[:] = [labels[0]] * len(rows)
        return answers

    return Foreign(classes_=values, predict=predict)


@pytest.mark.parametrize(
    "labels",
    [
        ("a", "b"),
        (0, 1),
        (-1, 5, 2),
        (False, True),
        (0.5, 1.5),
        (2**53 + 1, 2**53 + 2),
        (-(2**63), 2**64 - 1),
        ("0", "False", "ünï", ""),
    ],
)
def test_labels_keep_their_types(labels: tuple[Any, ...]) -> None:
    table = table_of(SMALL, [labels[index % len(labels)] for index in range(len(SMALL))])
    held = np.empty(len(labels), object)
    held[:] = labels

    description = asked_as_it_is(classifier(labels, held), table)

    assert description.classes == labels
    read = Description.model_validate_json(description.model_dump_json())
    assert read.classes == labels
    assert [*map(type, read.classes or ())] == [*map(type, labels)]


@pytest.mark.parametrize(
    "array", [np.array([3, 7]), np.array([True, False]), np.array(["x", "y"]), np.array([1.5, 2.0])]
)
def test_labels_in_arrays_become_pythons_own(array: Given) -> None:
    table = table_of(SMALL, np.resize(array, len(SMALL)))

    description = asked_as_it_is(classifier(array, array), table)

    assert description.classes == tuple(array.tolist())
    assert type((description.classes or (None,))[0]) is type(array.tolist()[0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((2**64, 1), "beyond 64 bits"),
        ((-(2**63) - 1, 1), "beyond 64 bits"),
        ((1, "1"), "two classes have the same name in JSON"),
        ((True, "true"), "two classes have the same name in JSON"),
        ((float("nan"), 1.0), "can't be written as JSON"),
        ((float("inf"), 1.0), "can't be written as JSON"),
        ((b"a", b"b"), "can't be written as JSON"),
        ((None, "a"), "can't be written as JSON"),
    ],
)
def test_labels_that_json_loses_are_refused(labels: Given, message: str) -> None:
    held = np.empty(len(labels), object)
    held[:] = labels

    with pytest.raises(TrainingError, match=message):
        asked_as_it_is(classifier(labels, held), table_of(SMALL, [0, 1] * 10))


def test_without_classes_of_its_own_an_estimator_has_those_of_the_table() -> None:
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)
    estimator = regressor(lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"))

    assert asked_as_it_is(estimator, table_of(SMALL, labels)).classes == ("cat", "dog")


def test_several_targets_have_a_list_of_classes_each() -> None:
    labels = np.column_stack([SPECIES, LARGE])
    forest = RandomForestClassifier(3, random_state=0).fit(FLOWERS.data.to_numpy(), labels)
    types: Any = dict.fromkeys(FLOWERS.data.columns, "number")
    target = pd.DataFrame({"species": SPECIES, "size": LARGE})
    table = Table(FLOWERS.data, types, target, "classification", ())

    description = asked_as_it_is(forest, table)

    assert description.classes == (("setosa", "versicolor", "virginica"), ("large", "small"))
    assert description.asked.scored_by == "predict_proba"
    assert not description.asked.scores_by_class


# Batches


@pytest.mark.parametrize(
    ("estimator", "labels", "task", "batching"),
    [
        (DecisionTreeClassifier(), SPECIES, "classification", "invariant"),
        (RandomForestClassifier(3), SPECIES, "classification", "invariant"),
        (IsolationForest(n_estimators=5), None, "outlier-detection", "invariant"),
        (LogisticRegression(), SPECIES, "classification", "tolerant"),
        (LinearRegression(), WIDTHS, "regression", "tolerant"),
        (DecisionTreeRegressor(), WIDTHS, "regression", "tolerant"),
        # Labels alone don't show how near they were to be others.
        (KMeans(3, n_init=1, random_state=0), None, "clustering", "alone"),
    ],
    ids=lambda value: "" if isinstance(value, np.ndarray) else str(value),
)
def test_how_rows_compare_in_batches_is_found(
    estimator: Estimator,
    labels: Given,
    task: Task,
    batching: str,
) -> None:
    assert described(estimator, labels=labels, task=task).asked.batching == batching


def test_neighbours_weighted_by_distance_are_asked_alone() -> None:
    """A row of the table is at a distance of 0 from itself, or of 1e-8, as the batch may be."""
    digits = load_digits()
    frame = pd.DataFrame(digits.data).rename(columns=str) / 10
    estimator = KNeighborsClassifier(algorithm="brute", weights="distance")

    assert described(estimator, frame, digits.target).asked.batching == "alone"


def by_batch(error: float) -> Given:
    """Give answers that differ by so much as soon as rows have company."""
    return lambda rows: rows[:, 0] + (error if len(rows) > 1 else 0)


@pytest.mark.parametrize(
    ("error", "batching"), [(0.0, "tolerant"), (1e-14, "tolerant"), (1e-11, "alone")]
)
def test_numbers_may_differ_by_rounding_and_no_more(error: float, batching: str) -> None:
    table = table_of(SMALL, np.zeros(len(SMALL)), "regression")

    assert asked_as_it_is(regressor(by_batch(error)), table).asked.batching == batching


@pytest.mark.parametrize(
    ("error", "batching"), [(0.0, "tolerant"), (1e-14, "tolerant"), (1e-11, "alone")]
)
def test_scores_may_differ_by_rounding_if_they_tell_near_ties(error: float, batching: str) -> None:
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)
    estimator = Foreign(
        classes_=["cat", "dog"],
        predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
        decision_function=by_batch(error),
    )

    assert asked_as_it_is(estimator, table_of(SMALL, labels)).asked.batching == batching


def test_scores_that_differ_and_tell_no_ties_mean_that_rows_are_asked_alone() -> None:
    labels = np.where(SMALL["a"] > 0.5, "dog", "cat").astype(object)
    estimator = Foreign(
        classes_=["cat", "dog"],
        predict=lambda rows: np.where(rows[:, 0] > 0.5, "dog", "cat"),
        decision_function=by_batch(1e-14),
    )

    asked = asked_as_it_is(estimator, table_of(SMALL, labels)).asked

    assert (asked.label_by, asked.batching) == (None, "alone")


def test_numbers_that_differ_in_rows_as_the_table_has_none_mean_that_rows_are_asked_alone() -> None:
    frame = pd.DataFrame(np.eye(2)[np.arange(60) % 2] * (np.arange(60) < 6)[:, None])
    frame = frame.rename(columns="x{}".format)
    labels = np.where(frame["x0"] > 0, "dog", "cat").astype(object)

    def probabilities(rows: np.ndarray) -> np.ndarray:
        """Round in company what has several numbers to add."""
        dog = 0.25 + rows.sum(axis=1) / 8
        dog += np.where((rows > 0).all(axis=1) & (len(rows) > 1), 1e-16, 0)
        return np.column_stack([1 - dog, dog])

    estimator = Foreign(
        classes_=["cat", "dog"],
        predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
        predict_proba=probabilities,
    )

    assert asked_as_it_is(estimator, table_of(frame, labels)).asked.batching == "alone"


def test_labels_that_differ_mean_that_rows_are_asked_alone() -> None:
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)
    estimator = regressor(lambda rows: np.where((rows[:, 0] > 0) & (len(rows) != 7), "dog", "cat"))

    assert asked_as_it_is(estimator, table_of(SMALL, labels)).asked.batching == "alone"


# Domains


def domains(description: Description) -> list[tuple[float, float]]:
    """Give the domains of numbers."""
    return [
        (feature.bounds.minimum, feature.bounds.maximum)
        for feature in description.features
        if isinstance(feature, Number)
    ]


def test_a_trees_domain_is_that_of_float32() -> None:
    ((low, high), *others) = domains(described(DecisionTreeClassifier()))

    assert all(other == (low, high) for other in others)
    assert 1e37 <= high == -low <= np.finfo(np.float32).max


@pytest.mark.parametrize("estimator", [LogisticRegression(), SVC(), RidgeClassifier()], ids=str)
def test_a_linear_domain_is_as_wide_as_sums_of_doubles_allow(estimator: Estimator) -> None:
    ((_, high), *_) = domains(described(estimator))

    assert 1e300 <= high <= np.finfo(float).max


def test_what_takes_nothing_beyond_training_has_the_domain_of_training() -> None:
    isotonic = described(IsotonicRegression(), FLOWERS.data.iloc[:, :1], WIDTHS, task="regression")
    whole = FLOWERS.data.round().astype("int64")
    categorical = described(CategoricalNB(), whole)

    for description in (isotonic, categorical):
        for feature in description.features:
            assert isinstance(feature, Number)
            assert feature.domain == feature.trained
    assert type(categorical.features[0].domain.minimum) is int  # type: ignore[union-attr]


def test_what_clips_takes_any_number() -> None:
    clipped = IsotonicRegression(out_of_bounds="clip")
    description = described(clipped, FLOWERS.data.iloc[:, :1], WIDTHS, task="regression")

    assert domains(description) == [(-1e308, 1e308)]


def test_an_exponential_has_a_narrow_domain_in_which_all_answers_are_finite() -> None:
    table = table_of(FLOWERS.data, WIDTHS, "regression")
    estimator = PoissonRegressor().fit(FLOWERS.data.to_numpy(), WIDTHS)
    description = asked_as_it_is(estimator, table)

    ((low, high), *_) = domains(description)

    assert 10 <= high < 1e6
    random = np.random.default_rng(0).uniform(low, high, size=(500, 4))
    rows = [tuple(row) for row in random.tolist()]
    assert len(FittedEstimator(estimator, description).predict(rows)) == 500


@pytest.mark.parametrize("estimator", [LinearRegression(), DecisionTreeRegressor()], ids=str)
def test_whole_numbers_go_no_further_than_doubles_hold_them(estimator: Estimator) -> None:
    frame = FLOWERS.data.round().astype("int64")
    description = described(estimator, frame, WIDTHS, task="regression")

    assert set(domains(description)) == {(-int(MAX_WHOLE), int(MAX_WHOLE))}
    assert {type(low) for low, _ in domains(description)} == {int}


def test_a_number_that_spoils_the_others_narrows_all_domains() -> None:
    def predict(rows: Given) -> Given:
        if (np.abs(rows).sum(axis=1) > 1500).any():
            raise OverflowError
        return rows[:, 0]

    table = table_of(SMALL, np.zeros(len(SMALL)), "regression")

    assert domains(asked_as_it_is(regressor(predict), table)) == [(-100.0, 100.0)] * 2


def test_a_domain_holds_what_training_saw_though_that_is_no_power_of_ten() -> None:
    frame = pd.DataFrame({"a": np.linspace(0, 250, 20), "b": np.linspace(0, 1, 20)})

    def predict(rows: Given) -> Given:
        if (np.abs(rows) > 300).any():
            raise OverflowError
        return rows[:, 0]

    table = table_of(frame, np.zeros(len(frame)), "regression")

    (one, other) = domains(asked_as_it_is(regressor(predict), table))

    assert one[0] <= 0
    assert 250 <= one[1] <= 300
    assert other == (-100.0, 100.0)


def test_many_numbers_are_tried_in_random_corners_the_same_each_time() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(30, 14))).rename(columns=str)
    labels = np.where(frame["0"] > 0, "dog", "cat").astype(object)

    one, other = (domains(described(LogisticRegression(), frame, labels)) for _ in range(2))

    assert one == other
    assert one[0][1] > 1e300


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), DecisionTreeClassifier(), SVC()], ids=str
)
def test_every_number_in_the_domain_has_a_finite_answer(estimator: Estimator) -> None:
    description = described(estimator)
    ((low, high), *_) = domains(description)
    random = np.random.default_rng(0)
    exponents = random.uniform(-5, np.log10(high), size=(100, 4))
    points = np.clip(random.choice((-1, 1), size=(100, 4)) * 10**exponents, low, high)
    corners = random.choice((low, high, 0.0), size=(50, 4))

    model = FittedEstimator(estimator, description)
    for batch in (points, corners):
        with np.errstate(over="raise", invalid="raise"):
            predictions = model.predict([tuple(row) for row in batch.tolist()])
        assert len(predictions) == len(batch)


def test_an_estimator_without_an_answer_to_a_typical_row_is_refused() -> None:
    table = table_of(SMALL, np.zeros(len(SMALL)), "regression")
    for wrong in (np.nan, np.inf):
        with pytest.raises(TrainingError, match="no finite answer to some of the table's own rows"):
            asked_as_it_is(regressor(lambda rows, wrong=wrong: np.full(len(rows), wrong)), table)


# Categories and gaps

PETS = pd.DataFrame(
    {
        "color": np.array((["red", "blue"] * 9 + ["rare"] * 2), dtype=object),
        "size": np.linspace(1, 9, 20),
    }
)
KINDS = np.where(PETS["size"] > 5, "dog", "cat").astype(object)


def color_of(description: Description) -> Category:
    """Give the feature of colors."""
    (feature,) = (feature for feature in description.features if feature.name == "color")
    assert isinstance(feature, Category)
    return feature


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


def with_gaps() -> pd.DataFrame:
    """Give the flowers, some of whose widths are missing."""
    frame = FLOWERS.data.copy()
    frame.iloc[::10, 1] = np.nan
    return frame


def test_gaps_are_taken_where_the_estimator_takes_them() -> None:
    features = described(DecisionTreeClassifier(), with_gaps()).features

    assert [feature.nullable for feature in features] == [False, True, False, False]
    assert features[1].missing == 15


def test_gaps_of_the_table_are_not_taken_if_the_estimator_fails_on_them() -> None:
    estimator = LogisticRegression(max_iter=1000).fit(FLOWERS.data.to_numpy(), SPECIES)

    description = asked_as_it_is(estimator, table_of(with_gaps(), SPECIES))

    assert [feature.nullable for feature in description.features] == [False] * 4
    assert description.features[1].missing == 15
    assert description.asked.scored_by == "predict_proba"


def test_an_estimator_that_fails_where_every_row_has_gaps_is_refused() -> None:
    estimator = LogisticRegression(max_iter=1000).fit(FLOWERS.data.to_numpy(), SPECIES)
    frame = FLOWERS.data.copy()
    for at in range(4):
        frame.iloc[at::4, at] = np.nan

    with pytest.raises(TrainingError, match="given an array: ValueError: Input X contains NaN"):
        asked_as_it_is(estimator, table_of(frame, SPECIES))


# Input


def test_an_array_is_given_where_its_answers_are_those_to_a_frame() -> None:
    named = LogisticRegression(max_iter=1000).fit(FLOWERS.data, SPECIES)

    assert asked_as_it_is(named, table_of(FLOWERS.data, SPECIES)).asked.input == "array"


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


@pytest.mark.parametrize("shape", [(), (3,), (20, 2), (20, 1, 1)], ids=str)
def test_answers_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match="predict gave an array of shape"):
        asked_as_it_is(
            regressor(lambda rows: np.zeros(shape)),
            table_of(SMALL, np.zeros(20), "regression"),
        )


def test_not_all_rows_of_a_large_table_are_asked_for() -> None:
    seen = []

    def predict(rows: Given) -> Given:
        seen.append(len(rows))
        return np.zeros(len(rows))

    frame = pd.DataFrame({"a": np.arange(5000.0)})
    asked_as_it_is(regressor(predict), table_of(frame, np.zeros(5000), "regression"))

    assert max(seen) <= MAX_COMPARED_ROWS


def test_trained_ranges_stay_those_of_the_whole_table() -> None:
    frame = pd.DataFrame({"a": np.arange(5000.0)})
    table = table_of(frame, np.zeros(5000), "regression")

    (feature,) = asked_as_it_is(regressor(lambda rows: np.zeros(len(rows))), table).features

    assert feature.trained == Interval(minimum=0.0, maximum=4999.0)
