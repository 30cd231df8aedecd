"""How answers, logs and metrics name a version and its predictions."""

import pytest

from serving.model.about import About
from serving.model.description import Description, Label
from serving.model.outputs import Prediction
from tests.unit.samples import (
    EACH_TASK,
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


def told(described: Description, prediction: Prediction) -> dict[str, object]:
    """Tell of a prediction by names."""
    return About(described, "v7").document(prediction)


def test_a_version_is_named_by_model_and_version_and_its_features_in_order() -> None:
    about = About(CLASSIFIER, "v7")
    assert about.named == {"name": "mail", "version": "v7"}
    assert (about.name, about.version) == ("mail", "v7")
    assert about.features == ("length", "a/b ~c")


@pytest.mark.parametrize(
    ("label", "key"),
    [(7, "7"), (1.5, "1.5"), (1.0, "1.0"), (True, "true"), ("7", "7"), (-(2**63), f"{-(2**63)}")],
)
def test_a_label_keeps_its_type_and_is_a_string_as_a_key(label: Label, key: str) -> None:
    described = description((label,), asked=PROBABILITIES)
    document = told(described, Prediction(label, [1.0]))
    assert repr(document) == repr({"prediction": label, "probabilities": {key: 1.0}})
    assert About(described, "v7").counted([Prediction(label, [1.0])]) == {key: 1}


def test_probabilities_stand_in_the_order_of_the_classes() -> None:
    described = description(("z", "a", "m"), asked=PROBABILITIES)
    probabilities = told(described, Prediction("a", [0.1, 0.7, 0.2]))["probabilities"]
    assert isinstance(probabilities, dict)
    assert list(probabilities.items()) == [("z", 0.1), ("a", 0.7), ("m", 0.2)]


@pytest.mark.parametrize(
    ("described", "prediction", "document"),
    [
        (description(("a",)), Prediction("a"), {"prediction": "a"}),
        (
            several_labels((0, 1), ("a", "b", "c"), asked=PROBABILITIES),
            Prediction([1, "a"], [[0.25, 0.75], [0.5, 0.375, 0.125]]),
            {
                "prediction": [1, "a"],
                "probabilities": [{"0": 0.25, "1": 0.75}, {"a": 0.5, "b": 0.375, "c": 0.125}],
            },
        ),
        (several_labels((0, 1), (0, 1)), Prediction([0, 1]), {"prediction": [0, 1]}),
        (
            description(asked=SCORES),
            Prediction("ham", scores=[0.5, -0.5]),
            {"prediction": "ham", "scores": {"ham": 0.5, "spam": -0.5}},
        ),
        *(
            (
                description(asked=asked(scored_by="decision_function")),
                Prediction("ham", scores=scores),
                {"prediction": "ham", "scores": scores},
            )
            for scores in (1.5, [1.5, -1.0, 2.0])
        ),
        *(
            (regression("price"), Prediction(value), {"prediction": value})
            for value in (1.5, -0.0, 3, 2**53 + 1, 1e300)
        ),
        (regression("a", "b"), Prediction([1.5, 2.0]), {"prediction": [1.5, 2.0]}),
        (clustering(), Prediction(3), {"prediction": 3}),
        (
            outlier_detection(),
            Prediction("outlier", scores=-0.5),
            {"prediction": "outlier", "score": -0.5},
        ),
    ],
)
def test_a_prediction_is_told_with_what_the_model_gives_and_no_more(
    described: Description, prediction: Prediction, document: dict[str, object]
) -> None:
    assert repr(told(described, prediction)) == repr(document)


@pytest.mark.parametrize(
    ("described", "prediction"),
    [
        (CLASSIFIER, Prediction("ham", [1.0])),
        (description(asked=SCORES), Prediction("ham", scores=[1.0, 2.0, 3.0])),
        (
            several_labels((0, 1), (0, 1), asked=PROBABILITIES),
            Prediction([0, 1], [[0.5, 0.5], [1.0]]),
        ),
    ],
    ids=["probabilities", "scores", "several"],
)
def test_numbers_that_do_not_match_the_classes_are_never_told(
    described: Description, prediction: Prediction
) -> None:
    with pytest.raises(ValueError, match="zip"):
        told(described, prediction)


def test_predictions_are_counted_by_label() -> None:
    labels = ["ham", "spam", "ham"]
    counted = About(CLASSIFIER, "v7").counted([Prediction(label) for label in labels])
    assert counted == {"ham": 2, "spam": 1}
    assert About(CLASSIFIER, "v7").counted([]) == {}
    clusters = About(clustering(), "v7").counted([Prediction(0), Prediction(7), Prediction(7)])
    assert clusters == {"0": 1, "7": 2}


@pytest.mark.parametrize("task", ["one number", "several numbers", "several labels"])
def test_where_there_is_not_one_label_of_few_predictions_are_counted_as_one(task: str) -> None:
    assert About(EACH_TASK[task], "v7").counted([Prediction([1.5, 2.5])] * 3) == {"": 3}


@pytest.mark.parametrize(
    ("described", "prediction", "given"),
    [
        (description(), Prediction("ham"), {"predict": "ham"}),
        (
            CLASSIFIER,
            Prediction("ham", [0.75, 0.25]),
            {"predict": "ham", "predict_proba": [0.75, 0.25]},
        ),
        (
            several_labels((0, 1), ("a", "b"), asked=PROBABILITIES),
            Prediction([0, "a"], [[1.0, 0.0], [0.5, 0.5]]),
            {"predict": [0, "a"], "predict_proba": [[1.0, 0.0], [0.5, 0.5]]},
        ),
        # Of two classes the estimator gives the score of the second, of more that of each.
        (
            description(asked=SCORES),
            Prediction("ham", scores=[0.5, -0.5]),
            {"predict": "ham", "decision_function": -0.5},
        ),
        (
            description(("a", "b", "c"), asked=SCORES),
            Prediction("b", scores=[0.5, 1.5, -0.5]),
            {"predict": "b", "decision_function": [0.5, 1.5, -0.5]},
        ),
        (
            outlier_detection(),
            Prediction("outlier", scores=-0.5),
            {"predict": "outlier", "decision_function": -0.5},
        ),
        (regression("a", "b"), Prediction([1.5, 2.0]), {"predict": [1.5, 2.0]}),
        (clustering(), Prediction(3), {"predict": 3}),
    ],
)
def test_a_prediction_has_what_the_methods_of_the_estimator_give(
    described: Description, prediction: Prediction, given: dict[str, object]
) -> None:
    methods = About(described, "v7").methods
    assert {name: method(prediction) for name, method in methods.items()} == given
