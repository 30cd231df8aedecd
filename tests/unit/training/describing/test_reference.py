"""What requests are compared with: training's rows, counted as serving counts its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from serving.drift.bins import RARE, UNSEEN, digest
from serving.drift.watch import Kind, Watch
from serving.model.description import Description, Reference
from serving.model.features import Row
from serving.model.outputs import Prediction
from tests.unit.samples import (
    clustering,
    description,
    outlier_detection,
    regression,
    several_labels,
)
from tests.unit.training.describing.columns import METRICS, Constant, feature_of, table_of
from training.describing.describe import before_asking, rows_of
from training.describing.reference import references_of
from training.table.columns import FeatureType


def of_column(kind: FeatureType, values: Sequence[Any]) -> Reference:
    """Count one column."""
    table = table_of({"x": (kind, values)})
    described = before_asking("mine", Constant(), table, METRICS)
    return references_of(described, rows_of(table), [], ()).features["x"]


def of_predictions(model: Description, values: Sequence[Any]) -> dict[str, Reference]:
    """Count predicted values."""
    rows: list[Row] = [(1.0, 2.0)] * 3
    return dict(references_of(model, rows, [Prediction(value) for value in values], ()).predictions)


def sure(model: Description, probabilities: Sequence[Any]) -> dict[str, Reference]:
    """Count largest probabilities."""
    value: Any = "ham" if len(model.targets) == 1 else ["ham", "a"]
    predictions = [Prediction(value, each) for each in probabilities]
    return dict(references_of(model, [(1.0, 2.0)] * 3, predictions, ()).confidence)


def test_numbers_have_a_tenth_between_deciles() -> None:
    reference = of_column("number", [*map(float, range(101)), None, None])

    assert reference.edges == tuple(map(float, range(10, 100, 10)))
    assert reference.rows == {
        "below": 0,
        **{str(at): 11 if at == 0 else 10 for at in range(10)},
        "above": 0,
        "missing": 2,
    }


@pytest.mark.parametrize(
    ("values", "edges", "rows"),
    [
        ([0] * 60 + [*range(1, 41)], (0, 0.4, 10.3, 20.2, 30.1), (60, 0, 10, 10, 10, 10)),
        ([0] * 10 + [1] * 90, (0.9,), (10, 90)),
        ([0] * 95 + [1] * 5, (0.0,), (95, 5)),
        ([5] * 100, (), (100,)),
        ([*range(9)], (), (9,)),
        ([*range(10)], (4.5,), (5, 5)),
        ([2**53 + 2 * at for at in range(20)], (2**53 + 10, 2**53 + 20, 2**53 + 28), None),
        ([-0.0] * 50 + [0.0] * 10 + [5e-324] * 40, (0.0,), (60, 40)),
    ],
)
def test_equal_deciles_are_one_and_the_rows_are_those_that_there_are(
    values: list[float], edges: tuple[float, ...], rows: tuple[int, ...] | None
) -> None:
    reference = of_column("number", [*map(float, values)])

    inside = [n for name, n in reference.rows.items() if name not in {"below", "above"}]
    assert sum(inside) == len(values)
    assert len(inside) == len(reference.edges) + 1
    assert reference.rows["below"] == reference.rows["above"] == 0
    assert set(reference.edges) <= set(feature_edges(values))
    if rows is not None and len(rows) == len(inside):
        assert tuple(inside) == rows
        assert reference.edges == pytest.approx(edges)


def feature_edges(values: Sequence[float]) -> list[float]:
    """Give what the description tells of numbers anyhow."""
    feature = feature_of("number", [*map(float, values)])
    return list(feature.quantiles.values())  # type: ignore[union-attr]


def test_categories_are_counted_by_name_or_as_rare() -> None:
    values = ["red"] * 6 + ["missing"] * 5 + ["few"] * 3 + ["two"] * 2 + [None] * 4
    reference = of_column("category", values)

    assert reference.rows == {"red": 6, '"missing"': 5, RARE: 5, UNSEEN: 0, "missing": 4}
    assert set(reference.others) == {digest("few"), digest("two")}


def test_what_one_row_alone_has_counts_as_unseen() -> None:
    values = ["red"] * 6 + ["few"] * 3 + ["only", "once"]

    assert of_column("category", values).rows == {"red": 6, RARE: 3, UNSEEN: 2}
    assert len(of_column("category", values).others) == 3


def test_thirty_categories_have_names() -> None:
    values = [f"c{at:02}" for at in range(40) for _ in range(50 - at)]
    reference = of_column("category", values)

    assert [*reference.rows][:30] == [f"c{at:02}" for at in range(30)]
    assert reference.rows[RARE] == sum(50 - at for at in range(30, 40))
    assert len(reference.others) == 10


def test_texts_are_counted_by_their_lengths_alone() -> None:
    reference = of_column("text", ["", *["ab"] * 30, *["a longer text"] * 29, None])

    assert sum(reference.rows.values()) == 61
    assert reference.rows["missing"] == 1
    assert reference.others == ()
    assert all(0 <= edge < 13 for edge in reference.edges)


def test_booleans_are_counted() -> None:
    assert of_column("boolean", [True, False, True, None]).rows == {
        "false": 1,
        "true": 2,
        "missing": 1,
    }


def test_numbers_taken_for_categories_are_counted_as_such() -> None:
    table = table_of({"x": ("integer", [1] * 7 + [2] * 5 + [9])})
    described = before_asking("mine", Constant(), table, METRICS)
    codes = described.features[0].model_copy(update={"known": (1, 2, 9)})
    model = described.model_copy(update={"features": (codes,)})
    reference = references_of(model, rows_of(table), [], ()).features["x"]

    assert "above" not in reference.rows
    assert reference.rows[UNSEEN] == 1
    assert sum(reference.rows.values()) == 13


@pytest.mark.parametrize(
    ("classes", "values", "rows"),
    [
        (("ham", "spam"), ["spam"] * 3 + ["ham"], {"spam": 3, "ham": 1}),
        (("a", "rare", "never"), ["a", "rare"], {"a": 1, '"rare"': 1, "never": 0}),
        ((0, 1), [1, 1, 0], {"1": 2, "0": 1}),
        ((0.5, 1.5), [1.5, 0.5, 0.5], {"0.5": 2, "1.5": 1}),
        ((False, True), [True], {"true": 1, "false": 0}),
    ],
)
def test_classes_are_counted_the_commonest_first(
    classes: tuple[Any, ...], values: list[Any], rows: dict[str, int]
) -> None:
    found = of_predictions(description(classes), values)["kind"]

    assert found.rows == rows
    assert [*found.rows] == [*rows]


def test_thirty_classes_have_names_and_the_others_are_rare() -> None:
    classes = tuple(range(35))
    values = [at for at in classes for _ in range(at)]
    found = of_predictions(description(classes), values)["kind"]

    assert [*found.rows] == [*map(str, range(34, 4, -1)), RARE]
    assert found.rows[RARE] == 1 + 2 + 3 + 4


def test_clusters_are_counted_and_others_may_come() -> None:
    assert of_predictions(clustering(), [1, 1, 0])[""].rows == {"1": 2, "0": 1, RARE: 0}


def test_of_outliers_both_answers_have_bins_though_none_was_found() -> None:
    assert of_predictions(outlier_detection(), ["inlier"] * 3)[""].rows == {
        "inlier": 3,
        "outlier": 0,
    }


def test_predicted_numbers_are_counted_by_target() -> None:
    pairs = [[float(at), 1.0] for at in range(60)]
    found = of_predictions(regression("price", "constant"), pairs)

    assert [*found] == ["price"]  # of what is always the same, nothing can be told
    assert [*found["price"].rows.values()] == [6] * 10


def test_too_few_predictions_are_no_reference() -> None:
    assert of_predictions(regression("price"), [float(at) for at in range(9)]) == {}
    references = references_of(regression("price"), [(1.0, 2.0)], [], ())
    assert references.predictions == references.confidence == {}


def test_how_sure_predictions_are_is_counted_by_target() -> None:
    one = sure(description(), [[0.5 + at / 100, 0.5 - at / 100] for at in range(40)])
    assert [*one["kind"].rows.values()] == [10] * 4

    model = several_labels(("ham", "spam"), ("a", "b"))
    several = sure(model, [[[1.0, 0.0], [0.5, 0.5 + at / 100]] for at in range(40)])
    assert [*several] == ["label 1"]

    assert (
        references_of(description(), [(1.0, 2.0)], [Prediction("ham", scores=2.0)], ()).confidence
        == {}
    )


def test_rounding_puts_no_prediction_elsewhere() -> None:
    values = [0.1 * at for at in range(1, 11) for _ in range(10)]
    found = of_predictions(regression("price"), values)["price"]
    model = regression("price").model_copy(update={"features": ()})
    references = references_of(model, [], [Prediction(v) for v in values], ())
    watch = Watch(model, references, 30)
    otherwise = [np.nextafter(np.nextafter(v, 9), 9) for v in values]

    for said in (values, otherwise, [v * (1 - 1e-12) for v in values]):
        counts = watch.count([], [Prediction(v) for v in said])
        assert counts.tolist() == [*found.rows.values()] == [10] * 10


MIXED: dict[str, tuple[FeatureType, list[Any]]] = {
    "size": ("number", [*map(float, range(60)), *[None] * 4]),
    "count": ("integer", [at % 7 for at in range(64)]),
    "flag": ("boolean", [at % 3 == 0 for at in range(64)]),
    "colour": (
        "category",
        [*["red"] * 30, *["unseen"] * 20, *["few"] * 2, *["rare"] * 4, *[None] * 8],
    ),
    "note": ("text", ["x" * (at % 9) for at in range(64)]),
}


def test_serving_counts_training_s_rows_as_training_did() -> None:
    table = table_of(MIXED)
    rows = rows_of(table)
    asked = before_asking("mine", Constant(), table, METRICS)
    answers = [Prediction(float(at * at)) for at in range(64)]
    written = asked.model_copy(
        update={"reference": references_of(asked, rows, answers, ("flag", "size"))}
    )
    model = Description.model_validate_json(written.model_dump_json())
    assert model == written
    assert model.reference is not None
    watch = Watch(model, model.reference, 30)

    parts = watch.split(watch.count(rows, answers))

    for each, part in zip(watch.all, parts, strict=True):
        assert part.tolist() == each.seen.tolist()
        assert part.sum() == len(rows)
        assert [*each.reference.rows] == [*each.bins.names]
    assert [each.kind for each in watch.all] == [Kind.FEATURE] * 5 + [Kind.PREDICTION]


SECRETS = ("Wilhelmina of Ottersum", "08-15-4711", "☃ snowman")


@pytest.mark.parametrize("secret", SECRETS)
def test_no_rare_category_and_no_text_is_in_it(secret: str) -> None:
    columns: dict[str, tuple[FeatureType, list[Any]]] = {
        "colour": ("category", ["red"] * 20 + [secret] * 4),
        "once": ("category", ["red"] * 23 + [secret]),
        "note": ("text", [f"{secret} {at}" for at in range(24)]),
    }
    table = table_of(columns)
    asked = before_asking("mine", Constant(), table, METRICS)
    references = references_of(asked, rows_of(table), [], ())
    names = [name for each in Watch(asked, references, 30).all for name in each.bins.names]

    assert secret not in references.model_dump_json()
    assert not any(secret in name for name in names)
    assert all(len(each.others) <= 1 for each in references.features.values())
