"""What is the same, and by how much the rest differs, for each task."""

import math

import pytest

from serving.model.about import About
from serving.model.description import Description
from serving.model.outputs import Prediction
from serving.shadowing.comparison import Compared, Comparison
from tests.unit.samples import (
    PROBABILITIES,
    SCORES,
    asked,
    clustering,
    description,
    outlier_detection,
    regression,
    several_labels,
)

CLASSIFIER = description(asked=PROBABILITIES)


def compared(
    served: Prediction,
    shadowed: Prediction,
    described: Description = CLASSIFIER,
    other: Description | None = None,
) -> Compared:
    """Compare two predictions of one version, or of two."""
    return Comparison(About(described, "v1"), About(other or described, "v2")).of(served, shadowed)


def test_the_same_are_equal_labels_with_numbers_that_differ_by_rounding_alone() -> None:
    served = Prediction("ham", [0.75, 0.25])
    found = compared(served, Prediction("ham", [0.75 + 9e-13, 0.25 - 9e-13]))
    assert found.is_same
    assert found.labels == ("ham", "ham")
    assert found.difference == pytest.approx(9e-13, rel=1e-3)
    assert not compared(served, Prediction("ham", [0.75 + 2e-12, 0.25])).is_same
    assert not compared(served, Prediction("spam", [0.75, 0.25])).is_same


def test_both_documents_are_told_as_answers_have_them() -> None:
    found = compared(Prediction("ham", [0.75, 0.25]), Prediction("spam", [0.5, 0.5]))
    assert found == Compared(
        {"prediction": "ham", "probabilities": {"ham": 0.75, "spam": 0.25}},
        {"prediction": "spam", "probabilities": {"ham": 0.5, "spam": 0.5}},
        False,
        0.25,
        ("ham", "spam"),
    )


def test_a_class_that_only_one_version_knows_has_no_share_in_the_other() -> None:
    other = description(("spam", "news"), asked=PROBABILITIES)
    found = compared(
        Prediction("spam", [0.25, 0.75]), Prediction("spam", [0.75, 0.25]), other=other
    )
    assert (found.is_same, found.difference) == (False, 0.25)
    found = compared(Prediction("ham", [1.0, 0.0]), Prediction("news", [0.5, 0.5]), other=other)
    assert (found.labels, found.difference) == (("ham", "news"), 1.0)


def test_what_only_one_version_tells_is_left_out() -> None:
    for ours, theirs in ((CLASSIFIER, description()), (description(), CLASSIFIER)):
        served, shadowed = (
            Prediction("ham", [0.75, 0.25] if each.asked.scored_by else None)
            for each in (ours, theirs)
        )
        found = compared(served, shadowed, ours, theirs)
        assert (found.is_same, found.difference) == (True, None)


def test_numbers_of_a_regression_differ_relative_to_them() -> None:
    price = regression("price")
    assert compared(Prediction(200.0), Prediction(150.0), price).difference == 0.25
    assert compared(Prediction(-1.0), Prediction(1.0), price).difference == 2
    assert compared(Prediction(0.0), Prediction(0.0), price)[2:] == (True, 0.0, None)
    assert compared(Prediction(1e15), Prediction(1e15 + 1), price).is_same
    two = regression("price", "weight")
    found = compared(Prediction([1.0, 4.0]), Prediction([1.0, 3.0]), two)
    assert found[2:] == (False, 0.25, None)


def test_labels_of_several_targets_have_no_pairs_but_probabilities_that_differ() -> None:
    both = several_labels((0, 1), ("a", "b", "c"), asked=PROBABILITIES)
    served = Prediction([1, "a"], [[0.25, 0.75], [0.5, 0.25, 0.25]])
    assert compared(served, served, both)[2:] == (True, 0.0, None)
    found = compared(served, Prediction([1, "b"], [[0.25, 0.75], [0.25, 0.5, 0.25]]), both)
    assert found[2:] == (False, 0.25, None)


def test_scores_differ_by_class_or_as_one_number_or_not_comparably() -> None:
    by_class = description(asked=SCORES)
    served = Prediction("ham", scores=[3.0, -3.0])
    found = compared(served, Prediction("ham", scores=[1.0, -1.0]), by_class)
    assert found[2:] == (False, 2.0, ("ham", "ham"))
    found = compared(
        Prediction("outlier", scores=-0.5), Prediction("inlier", scores=0.5), outlier_detection()
    )
    assert found[2:] == (False, 1.0, ("outlier", "inlier"))
    pairs = asked(scored_by="decision_function")
    three, four = description(tuple("abc"), asked=pairs), description(tuple("abcd"), asked=pairs)
    found = compared(
        Prediction("a", scores=[1.0] * 3), Prediction("a", scores=[1.0] * 6), three, four
    )
    assert found[2:] == (False, math.inf, ("a", "a"))


def test_clusters_are_labels() -> None:
    assert compared(Prediction(1), Prediction(2), clustering())[2:] == (False, None, ("1", "2"))
