"""What the Open Inference Protocol is answered: each task's outputs, as JSON and as bytes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.dialects.dialect import Answer, Asked
from serving.dialects.v2 import dialect, metadata
from serving.model.about import About
from serving.model.description import Description, Label
from serving.model.outputs import Prediction
from serving.model.rows import Rows
from serving.settings import Settings
from tests.tensors import outputs_of
from tests.unit.dialects.foreign import (
    ABOUT,
    AWKWARD,
    PREDICTIONS,
    places,
    refusal,
    sent,
)
from tests.unit.samples import (
    EACH_TASK,
    PROBABILITIES,
    SCORES,
    asked,
    description,
    several_labels,
)

INFER = dialect(Settings()).conversations["/v2/models/{model}/infer"]
INPUTS = [{"name": "x", "shape": [0, 2], "datatype": "FP64", "data": []}]
SCORED = asked(scored_by="decision_function")
BINARY = {"binary_data_output": True}
LENGTH = "Inference-Header-Content-Length"

# By task, for the predictions that `PREDICTIONS` has: name, datatype, shape and elements.
GIVEN: dict[str, list[tuple[str, str, list[int], list[Any]]]] = {
    "one label": [
        ("predict", "BYTES", [2, 1], ["ham", "spam"]),
        ("predict_proba", "FP64", [2, 2], [1 - AWKWARD, AWKWARD, 5e-324, 1.0]),
    ],
    "one label, no scores": [("predict", "BYTES", [2, 1], ["ham", "spam"])],
    "one label, scores by class": [
        ("predict", "BYTES", [1, 1], ["ham"]),
        ("decision_function", "FP64", [1], [-AWKWARD]),
    ],
    "one label, scores in a list": [
        ("predict", "BYTES", [1, 1], ["c"]),
        ("decision_function", "FP64", [1, 3], [0.5, -AWKWARD, 2.0]),
    ],
    "several labels": [
        ("predict_0", "INT64", [1, 1], [1]),
        ("predict_1", "BYTES", [1, 1], ["c"]),
        ("predict_proba_0", "FP64", [1, 2], [0.25, 0.75]),
        ("predict_proba_1", "FP64", [1, 3], [0.5, AWKWARD, 0.25]),
    ],
    "one number": [("predict", "FP64", [2, 1], [AWKWARD, -1.7976931348623157e308])],
    "several numbers": [("predict", "FP64", [1, 2], [AWKWARD, -2.0])],
    "clusters": [("predict", "INT64", [2, 1], [0, 7])],
    "outliers": [
        ("predict", "BYTES", [2, 1], ["inlier", "outlier"]),
        ("score", "FP64", [2], [AWKWARD, -0.5]),
    ],
}


def ask(about: About = ABOUT, **members: object) -> Asked:
    """Ask, with no row: what is answered is given."""
    rows = Rows(about.description.features, 9)
    return INFER.read(sent({"inputs": INPUTS, **members}), about, rows)


def told(answer: Answer) -> dict[str, Any]:
    """Read the JSON of an answer."""
    length = answer.headers.get(LENGTH)
    document: dict[str, Any] = json.loads(answer.body[: None if length is None else int(length)])
    return document


def outputs_told(about: About) -> dict[str, list[int]]:
    """Give the shape of each output that the metadata promise."""
    return {output["name"]: output["shape"] for output in metadata([about])["outputs"]}


def outputs(
    about: About = ABOUT, predictions: list[Prediction] | None = None, **members: object
) -> list[str]:
    """Give the names of the outputs of an answer."""
    predictions = PREDICTIONS["one label"] if predictions is None else predictions
    answer = ask(about, **members).write(predictions, "id-1")
    return [output["name"] for output in told(answer)["outputs"]]


# What a model gives


@pytest.mark.parametrize("task", EACH_TASK)
def test_a_model_of_each_task_gives_its_outputs_with_the_prediction_first(task: str) -> None:
    about = About(EACH_TASK[task], "v7")
    answer = ask(about).write(PREDICTIONS[task], "id-1")
    assert (answer.media_type, answer.headers) == ("application/json", {})
    assert json.loads(answer.body) == {
        "model_name": "mail",
        "model_version": "v7",
        "id": "id-1",
        "outputs": [
            {
                "name": name,
                "shape": shape,
                "datatype": datatype,
                "parameters": {"content_type": "np"},
                "data": elements,
            }
            for name, datatype, shape, elements in GIVEN[task]
        ],
    }


@pytest.mark.parametrize("task", EACH_TASK)
def test_the_same_is_given_in_bytes_for_who_wants_that(task: str) -> None:
    about = About(EACH_TASK[task], "v7")
    answer = ask(about, parameters=BINARY).write(PREDICTIONS[task], "id-1")
    assert answer.media_type == "application/octet-stream"
    assert list(answer.headers) == [LENGTH]
    for output, (name, datatype, shape, elements) in zip(
        told(answer)["outputs"], GIVEN[task], strict=True
    ):
        size = output["parameters"]["binary_data_size"]
        assert output == {
            "name": name,
            "shape": shape,
            "datatype": datatype,
            "parameters": {"binary_data_size": size},
        }
        read = outputs_of(answer.body, answer.headers[LENGTH])[name]
        assert list(map(repr, read)) == list(map(repr, elements))


@pytest.mark.parametrize("task", EACH_TASK)
@pytest.mark.parametrize("parameters", [{}, BINARY], ids=["JSON", "bytes"])
def test_no_rows_have_outputs_of_no_elements(task: str, parameters: dict[str, bool]) -> None:
    answer = ask(About(EACH_TASK[task], "v7"), parameters=parameters).write([], "id-1")
    shapes = {output["name"]: output["shape"] for output in told(answer)["outputs"]}
    for name, _, shape, _ in GIVEN[task]:
        of_unknown_width = task == "one label, scores in a list" and name == "decision_function"
        assert shapes[name] == [0, *(shape[1:] if not of_unknown_width else [0])]
    if parameters:
        assert set(outputs_of(answer.body, answer.headers[LENGTH])) == set(shapes)


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [
        ((0, 1), "INT64"),
        ((-(2**63), 2**63 - 1), "INT64"),
        ((0, 2**63), "UINT64"),
        ((0, 2**64 - 1), "UINT64"),
        ((0.5, 1.0), "FP64"),
        ((0, 1.5), "FP64"),
        ((False, True), "BOOL"),
        (("ham", "ünï"), "BYTES"),
    ],
)
def test_labels_have_the_datatype_that_holds_them(
    classes: tuple[Label, ...], datatype: str
) -> None:
    about = About(description(classes), "v7")
    predictions = [Prediction(label) for label in classes]
    for parameters in ({}, BINARY):
        answer = ask(about, parameters=parameters).write(predictions, "id-1")
        assert told(answer)["outputs"][0]["datatype"] == datatype
        read = outputs_of(answer.body, answer.headers.get(LENGTH))["predict"]
        assert read == list(classes)


def test_several_targets_are_columns_of_one_output_if_their_labels_are_alike() -> None:
    about = About(several_labels(("a", "b"), ("c", "d"), asked=PROBABILITIES), "v7")
    one = Prediction(["a", "d"], [[1.0, 0.0], [0.5, 0.5]])
    written = told(ask(about).write([one, one], "id-1"))["outputs"]
    assert (written[0]["shape"], written[0]["data"]) == ([2, 2], ["a", "d"] * 2)
    assert [output["name"] for output in written[1:]] == ["predict_proba_0", "predict_proba_1"]


@pytest.mark.parametrize(
    ("described", "value", "wide"),
    [
        (description(("a", "b", "c"), asked=SCORES), "a", 3),
        (several_labels(("a", "b"), ("c", "d"), asked=SCORED), ["a", "d"], -1),
    ],
    ids=["three classes", "two targets"],
)
def test_scores_of_several_classes_or_targets_have_a_column_for_each(
    described: Description,
    value: Label | list[Label],
    wide: int,
) -> None:
    about = About(described, "v7")
    assert outputs_told(about)["decision_function"] == [-1, wide]
    scores = [3.0, 2.0, 1.0][:wide]
    written = told(ask(about).write([Prediction(value, scores=scores)], "id-1"))
    output = written["outputs"][-1]
    assert (output["shape"], output["data"]) == ([1, len(scores)], scores)


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2)),
    st.sampled_from([{}, BINARY]),
)
def test_doubles_read_back_the_same(rows: list[list[float]], parameters: dict[str, bool]) -> None:
    predictions = [Prediction("ham", row) for row in rows]
    answer = ask(parameters=parameters).write(predictions, "id-1")
    read = outputs_of(answer.body, answer.headers.get(LENGTH))["predict_proba"]
    assert list(map(repr, read)) == [repr(value) for row in rows for value in row]


# Which of them


def test_outputs_are_those_that_are_named_in_that_order() -> None:
    both = ["predict_proba", "predict"]
    assert outputs(outputs=[{"name": name} for name in both]) == both
    assert outputs(outputs=[{"name": "predict_proba"}]) == ["predict_proba"]
    none: list[object] | None
    for none in (None, []):
        assert outputs(outputs=none) == ["predict", "predict_proba"]
    told_ = outputs(outputs=[{"name": "predict_proba"}], parameters={"content_type": "np"})
    assert told_ == ["predict_proba"]


def test_an_output_that_is_unknown_or_named_twice_is_refused_in_its_place() -> None:
    named = [{"name": "predict"}, {"name": "score"}, {"name": "predict"}, {}]
    wrong = refusal(INFER, sent({"inputs": INPUTS, "outputs": named}))
    assert places(wrong) == [f"/outputs/{at}/name" for at in (1, 2, 3)]
    assert {error.detail for error in wrong.errors} == {
        "expected one of predict, predict_proba, each once",
        "missing",
    }


def test_mlservers_codecs_are_given_the_prediction_alone() -> None:
    for content_type in ("np", "pd", "str", "x"):
        assert outputs(parameters={"content_type": content_type}) == ["predict"]
    assert outputs(parameters={"content_type": None}) == ["predict", "predict_proba"]
    of_input = [{**INPUTS[0], "parameters": {"content_type": "np"}}]
    assert outputs(inputs=of_input) == ["predict", "predict_proba"]
    told_ = outputs(parameters={"content_type": "np", "predict_method": "predict_proba"})
    assert told_ == ["predict_proba"]


def test_a_method_of_the_model_may_be_asked_for_by_its_name() -> None:
    for method in ("predict", "predict_proba"):
        assert outputs(parameters={"predict_method": method}) == [method]
    outliers = About(EACH_TASK["outliers"], "v7")
    parameters = {"predict_method": "decision_function"}
    assert outputs(outliers, PREDICTIONS["outliers"], parameters=parameters) == ["score"]
    for unknown in ("decision_function", "score", "", 1, ["predict"]):
        request = sent({"inputs": INPUTS, "parameters": {"predict_method": unknown}})
        assert places(refusal(INFER, request)) == ["/parameters/predict_method"]


# How they are written


@pytest.mark.parametrize("of_request", [None, False, True, 1])
@pytest.mark.parametrize(
    "own", [{}, {"binary_data": None}, {"binary_data": False}, {"binary_data": True}]
)
def test_an_output_is_binary_if_it_says_so_or_else_if_the_request_does(
    own: dict[str, bool | None], of_request: object
) -> None:
    first = {"name": "predict", "parameters": own}
    answer = ask(
        outputs=[first, {"name": "predict_proba"}], parameters={"binary_data_output": of_request}
    ).write(PREDICTIONS["one label"], "id-1")
    said = own.get("binary_data")
    expected = [of_request is True if said is None else said, of_request is True]
    assert [
        "binary_data_size" in output["parameters"] for output in told(answer)["outputs"]
    ] == expected
    assert (LENGTH in answer.headers) == any(expected)
    is_bytes = answer.media_type == "application/octet-stream"
    assert is_bytes == any(expected)
    read = outputs_of(answer.body, answer.headers.get(LENGTH))
    assert list(read.values()) == [elements for *_, elements in GIVEN["one label"]]


def test_the_id_is_the_clients_own_or_that_of_the_request() -> None:
    for given_, expected in (("42", "42"), ("", ""), (None, "id-1"), ("ü" * 300, "ü" * 300)):
        answer = ask(id=given_).write(PREDICTIONS["one label"], "id-1")
        assert told(answer)["id"] == expected
