"""This service's own dialect: it reads bodies as it describes them, and writes answers so too."""

import csv
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from serving.dialects.dialect import Conversation, Sent
from serving.dialects.ours import DIALECT, UNEXPLAINED, many, one, write_many, write_one
from serving.dialects.tables import write_table
from serving.model.about import About
from serving.model.description import Description, Label
from serving.model.outputs import ExplainedPrediction, Prediction
from serving.model.rows import MAX_PROBLEMS, Explain, Question, Rows, below
from serving.problems import INVALID_INPUT, PROBLEM_JSON, FieldError, Problem
from tests.unit.drawn import instances, json_values
from tests.unit.pointers import assert_points_into
from tests.unit.samples import EACH_TASK, MIXED, PROBABILITIES, description, integer, number

NAMES = ("length", "a/b ~c")
IGNORED = ("kind", "id/~")
MAX_ROWS = 5
ROWS = Rows([number(name) for name in NAMES], MAX_ROWS, IGNORED)
ROW = [1.5, 2.0]
NAMED = dict(zip(NAMES, ROW, strict=True))
CLASSIFIER = About(description(asked=PROBABILITIES), "v7")
BOTH = pytest.mark.parametrize("asked", [one, many], ids=["one", "many"])


def body(data: object, **others: object) -> bytes:
    """Write a body; Python's own writer, so that nothing is tested against itself."""
    return json.dumps({"data": data, **others}).encode()


def read(asked: Conversation, sent: bytes, rows: Rows = ROWS) -> Question:
    """Read a body of JSON."""
    return asked.read(Sent(sent), CLASSIFIER, rows).question


def refusal(asked: Conversation, sent: bytes, rows: Rows = ROWS) -> Problem:
    """Read a body that is refused."""
    with pytest.raises(Problem) as caught:
        read(asked, sent, rows)
    return caught.value


def test_two_paths_are_spoken_for_each_model_too_and_what_is_refused_there_is_problem_json() -> (
    None
):
    told = DIALECT.conversations
    assert list(told) == [
        "/predict",
        "/predict/batch",
        "/models/{model}/predict",
        "/models/{model}/predict/batch",
    ]
    assert [told[path] for path in ("/predict", "/predict/batch")] == [one, many]
    for conversation, (path, of_model) in zip((one, many), list(told.items())[2:], strict=True):
        assert replace(of_model, describe=conversation.describe) == conversation, path
    assert one.wording is many.wording is PROBLEM_JSON


# Bodies


def test_a_body_of_one_has_an_instance_in_any_form() -> None:
    expected = Question([tuple(ROW)], is_one=True)
    for sent in (body(ROW), body(NAMED), body(NAMED | {"kind": [1]}), b"\xef\xbb\xbf" + body(ROW)):
        assert read(one, sent) == expected


def test_a_body_of_many_has_an_array_of_them() -> None:
    assert read(many, body([ROW, NAMED])) == Question([tuple(ROW)] * 2, is_one=False)
    assert read(many, body([])).rows == []


def test_what_is_unusual_is_told_by_its_place_in_the_body() -> None:
    (warning,) = read(one, body({"length": 1, "a/b ~c": 99})).warnings
    assert warning.pointer == "/data/a~1b ~0c"
    assert [told.pointer for told in read(many, body([ROW, [99, 1]])).warnings] == ["/data/1/0"]


def test_a_whole_number_may_be_written_with_an_exponent() -> None:
    rows = Rows([integer("n"), number("x")], MAX_ROWS)
    assert repr(read(one, b'{"data": [5e0, -0.0]}', rows).rows) == "[(5, -0.0)]"


@BOTH
@pytest.mark.parametrize(
    ("sent", "kind"), [("[]", "an array"), ("null", "null"), ("1", "a number")]
)
def test_a_body_is_an_object(asked: Conversation, sent: str, kind: str) -> None:
    (error,) = refusal(asked, sent.encode()).errors
    assert error == FieldError("", f'expected an object {{"data": …}}, got {kind}')


@BOTH
def test_a_body_without_data_tells_what_it_has_instead(asked: Conversation) -> None:
    told = refusal(asked, b'{"Data": [1, 2, 3]}').errors
    assert told == [FieldError("/data", "missing"), FieldError("/Data", "unknown name")]


def test_unknown_members_are_refused_beside_good_data_and_listed_beside_bad() -> None:
    for asked, data in ((one, ROW), (many, [ROW])):
        assert refusal(asked, body(data, extra=1)).errors == [FieldError("/extra", "unknown name")]
    told = refusal(many, body([ROW, [1]], extra=1)).errors
    assert [error.pointer for error in told] == ["/extra", "/data/1"]


@BOTH
def test_of_unknown_members_no_more_are_listed_than_the_limit(asked: Conversation) -> None:
    others = {f"x{n}": n for n in range(1000)}
    assert len(refusal(asked, body([], **others)).errors) == MAX_PROBLEMS
    assert len(refusal(asked, json.dumps(others).encode()).errors) == MAX_PROBLEMS


@pytest.mark.parametrize("wrong", ["1e400", "-1e400", '[{"deep": 1e400}]', "NaN", "oops"])
def test_a_body_that_can_t_be_read_for_what_it_says_is_malformed(wrong: str) -> None:
    whole = json.dumps(NAMED)[:-1]
    for data in (f"[1, {wrong}]", f'{whole}, "kind": {wrong}}}', f'{whole}, "x": {wrong}}}'):
        assert refusal(one, f'{{"data": {data}}}'.encode()).kind.slug == "malformed-body"
        sent = f'{{"data": [{json.dumps(ROW)}, {data}]}}'
        assert refusal(many, sent.encode()).kind.slug == "malformed-body"


@settings(max_examples=50)
@given(
    st.fixed_dictionaries(
        {"data": json_values | instances([number(name) for name in NAMES])},
        optional={"x": json_values},
    )
    | json_values
)
def test_any_json_is_either_taken_or_refused_with_its_mistakes(document: object) -> None:
    sent = json.dumps(document).encode()
    for asked in (one, many):
        try:
            read(asked, sent)
        except Problem as problem:
            tells_places = problem.kind is INVALID_INPUT
            assert bool(problem.errors) == tells_places  # noqa: PT017 (or it is none)
            for error in problem.errors:
                assert_points_into(document, error)
            json.loads(asked.wording.body(problem, "id-1", "/predict"))


# Answers

HAM = Prediction("ham", [1.0, 0.0])
WARNING = FieldError("/data/1", "outside of the range seen in training, 0.0 to 9.0")
CALM = Question([], is_one=True)
WARNED = Question([], is_one=True, warnings=[WARNING])


def one_of(prediction: Prediction, question: Question = CALM, about: About = CLASSIFIER) -> Any:  # noqa: ANN401 (any JSON)
    """Write an answer of one, and read it."""
    return json.loads(write_one(question, about, [prediction], "id-1").body)


def many_of(
    predictions: list[Prediction], question: Question = CALM, about: About = CLASSIFIER
) -> Any:  # noqa: ANN401 (any JSON)
    """Write an answer of many, and read it."""
    return json.loads(write_many(question, about, below(("data",)), predictions, "id-1").body)


def test_an_answer_of_one_has_the_prediction_the_model_and_the_id() -> None:
    question, write = one.read(Sent(body(ROW)), CLASSIFIER, ROWS)
    assert question.is_one
    assert write([Prediction("spam", [0.25, 0.75])], "id-1") == (
        b'{"prediction":"spam","probabilities":{"ham":0.25,"spam":0.75},'
        b'"model":{"name":"mail","version":"v7"},"request_id":"id-1"}',
        "application/json",
        {},
    )


def test_an_answer_of_many_has_the_predictions_in_order() -> None:
    write = many.read(Sent(body([ROW, ROW])), CLASSIFIER, ROWS).write
    assert json.loads(write([Prediction("spam", [0.25, 0.75]), HAM], "id-1").body) == {
        "predictions": [
            {"prediction": "spam", "probabilities": {"ham": 0.25, "spam": 0.75}},
            {"prediction": "ham", "probabilities": {"ham": 1.0, "spam": 0.0}},
        ],
        "model": {"name": "mail", "version": "v7"},
        "request_id": "id-1",
    }


def test_an_answer_has_warnings_if_there_are_any() -> None:
    for told in (one_of(HAM, WARNED), many_of([HAM], WARNED)):
        assert told["warnings"] == [{"pointer": WARNING.pointer, "detail": WARNING.detail}]
    for told in (one_of(HAM), many_of([HAM])):
        assert "warnings" not in told


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
def test_doubles_read_back_the_same(probabilities: list[float]) -> None:
    document = one_of(Prediction("ham", probabilities))
    assert repr(list(document["probabilities"].values())) == repr(probabilities)


@pytest.mark.parametrize("label", [2**53 + 1, -(2**63), 1.0, True])
def test_labels_read_back_the_same(label: Label) -> None:
    document = one_of(Prediction(label), about=About(description((label,)), "v7"))
    assert repr(document["prediction"]) == repr(label)


# Explanations

WHY: dict[str, Any] = {"of": "ham", "contributions": {"length": 0.5}}
CSV_BODY = Sent(b"1.5,2\n1.5,3\n", "text/csv", explain=Explain.PREDICTED)


def explained(conversation: Conversation, sent: Sent, *told: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Answer with these explanations."""
    question, write = conversation.read(sent, CLASSIFIER, ROWS)
    assert question.explain is sent.explain
    return json.loads(write([ExplainedPrediction(HAM, each) for each in told], "id-1").body)


def test_an_explanation_stands_with_what_it_explains() -> None:
    told = explained(one, Sent(body(ROW), explain=Explain.PREDICTED), WHY)
    assert list(told) == ["prediction", "probabilities", "explanation", "model", "request_id"]
    assert told["explanation"] == WHY
    told = explained(many, Sent(body([ROW, ROW]), explain=Explain.ALL), [WHY], [WHY, WHY])
    assert [each["explanation"] for each in told["predictions"]] == [[WHY], [WHY, WHY]]
    assert "warnings" not in told


@pytest.mark.parametrize(
    ("asked", "sent", "told", "pointers"),
    [
        (one, Sent(body([99, 1]), explain=Explain.ALL), [None], ["/data/0", "/data"]),
        (
            many,
            Sent(body([ROW, [99, 1]]), explain=Explain.ALL),
            [WHY, None],
            ["/data/1/0", "/data/1"],
        ),
        (many, CSV_BODY, [None, WHY], ["/0"]),
    ],
    ids=["one", "many", "csv"],
)
def test_what_could_not_be_explained_is_null_and_warned_of_at_its_place(
    asked: Conversation, sent: Sent, told: list[Any], pointers: list[str]
) -> None:
    document = explained(asked, sent, *told)
    assert [warning["pointer"] for warning in document["warnings"]] == pointers
    assert document["warnings"][-1]["detail"] == UNEXPLAINED
    predictions = document.get("predictions", [document])
    assert [each["explanation"] for each in predictions] == told


# CSV, both ways

CSV = "text/csv"


def test_a_batch_may_be_lines_of_csv_and_is_then_asked_as_in_json() -> None:
    lines = Sent(b"a/b ~c,length\n2,1.5\n99,1\n", CSV)
    question = many.read(lines, CLASSIFIER, ROWS).question
    assert question.rows == [(1.5, 2.0), (1.0, 99.0)]
    assert not question.is_one
    assert [warning.pointer for warning in question.warnings] == ["/1/0"]
    with pytest.raises(Problem, match="6 rows, but at most 5 are accepted"):
        many.read(Sent(b"1,2\n" * 6, CSV), CLASSIFIER, ROWS)
    assert (one.reads, many.reads[:2]) == (("application/json",), ("application/json", CSV))


@pytest.mark.parametrize("sent", [Sent(body([ROW])), Sent(b"1.5,2", CSV)], ids=["json", "csv"])
def test_a_batch_is_answered_in_the_media_type_that_is_wanted(sent: Sent) -> None:
    answers = {
        wanted: many.read(sent._replace(wanted=wanted), CLASSIFIER, ROWS).write([HAM], "id-1")
        for wanted in many.writes
    }
    assert json.loads(answers["application/json"].body)["predictions"][0]["prediction"] == "ham"
    assert answers[CSV] == (
        b"prediction,probability_ham,probability_spam\nham,1.0,0.0\n",
        "text/csv; charset=utf-8",
        {},
    )


# What is described

PREDICTIONS: dict[str, list[Prediction]] = {
    "one label": [Prediction("ham", [0.75, 0.25]), Prediction("spam", [0.0, 1.0])],
    "one label, no scores": [Prediction("ham"), Prediction("spam")],
    "one label, scores by class": [Prediction("ham", scores=[0.5, -0.5])],
    "one label, scores in a list": [Prediction("c", scores=[0.5, -0.5, 2.0])],
    "several labels": [Prediction([1, "c"], [[0.25, 0.75], [0.5, 0.25, 0.25]])],
    "one number": [Prediction(1.5), Prediction(-3)],
    "several numbers": [Prediction([1.5, -2.0])],
    "clusters": [Prediction(0), Prediction(7)],
    "outliers": [Prediction("inlier", scores=0.5), Prediction("outlier", scores=-0.5)],
}
# Of each task, predictions that would be answers of another model.
STRANGE: dict[str, list[Any]] = {
    "one label": ["eggs", 1, None, ["ham"]],
    "one label, no scores": ["eggs"],
    "one label, scores by class": ["eggs"],
    "one label, scores in a list": ["d"],
    "several labels": [1, [1], [1, "d"], ["c", 1], [1, "c", 0]],
    "one number": ["1.5", True, [1.5]],
    "several numbers": [1.5, [1.5], [1.5, 2.5, 3.5], ["1", "2"]],
    "clusters": [1.5, "0", [0]],
    "outliers": ["ham", 1, -1],
}


def schemas(described: Description, example: Prediction) -> dict[str, Any]:
    """Give all schemas by which both operations describe a model."""
    about = About(described, "v7")
    told = [asked.describe(about, example, MAX_ROWS).schemas for asked in (one, many)]
    return {**told[0], **told[1]}


def validator(name: str, told: dict[str, Any]) -> OAS31Validator:
    """Check by one of the schemas."""
    reference = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": told}}
    return OAS31Validator(reference)


@pytest.mark.parametrize("task", EACH_TASK)
def test_what_a_model_answers_is_described_and_nothing_else(task: str) -> None:
    about, predictions = About(EACH_TASK[task], "v7"), PREDICTIONS[task]
    told = schemas(EACH_TASK[task], predictions[0])
    for schema in told.values():
        OAS31Validator.check_schema(schema)
    answers, batches = validator("PredictAnswer", told), validator("BatchAnswer", told)
    for question in (WARNED, CALM):
        for prediction in predictions:
            answer = one_of(prediction, question, about)
            assert answers.is_valid(answer)
        assert batches.is_valid(many_of(predictions, question, about))
    for strange in STRANGE[task]:
        assert not answers.is_valid({**answer, "prediction": strange})
    assert not answers.is_valid({**answer, "surprise": 1})
    for member in answer:
        assert not answers.is_valid({name: answer[name] for name in answer if name != member})
    for name in ("Prediction", "PredictAnswer"):
        members = {"probabilities", "scores", "score"} & told[name]["properties"].keys()
        assert members == {"probabilities", "scores", "score"} & answer.keys()


# Of each task, the names of what a line of CSV has.
HEADERS = {
    "one label": "prediction,probability_ham,probability_spam",
    "one label, no scores": "prediction",
    "one label, scores by class": "prediction,score_ham,score_spam",
    "one label, scores in a list": "prediction,score_0,score_1,score_2",
    "several labels": "prediction_label 0,prediction_label 1,probability_label 0_0,"
    "probability_label 0_1,probability_label 1_a,probability_label 1_b,probability_label 1_c",
    "one number": "prediction",
    "several numbers": "prediction_price,prediction_weight",
    "clusters": "prediction",
    "outliers": "prediction,score",
}


def values(document: Any) -> list[Any]:  # noqa: ANN401 (any JSON)
    """Give the values in a document, in order."""
    if isinstance(document, dict | list):
        inside = document.values() if isinstance(document, dict) else document
        return [value for each in inside for value in values(each)]
    return [document]


@pytest.mark.parametrize("task", EACH_TASK)
def test_a_line_of_csv_has_what_the_json_has_and_its_doubles(task: str) -> None:
    about, predictions = About(EACH_TASK[task], "v7"), PREDICTIONS[task]
    read = csv.reader(write_table(about, predictions, "id-1").body.decode().splitlines())
    assert ",".join(next(read)) == HEADERS[task]
    for cells, document in zip(read, many_of(predictions, CALM, about)["predictions"], strict=True):
        told = values(document)
        assert repr([type(v)(cell) for cell, v in zip(cells, told, strict=True)]) == repr(told)


@pytest.mark.parametrize(
    "classes",
    [(0, 1), (0.5, 1.0), (False, True), (2**53 + 1, 2**53 + 2)],
    ids=["int", "float", "bool", "large"],
)
def test_labels_of_every_type_are_described(classes: tuple[Label, ...]) -> None:
    described = description(classes, asked=PROBABILITIES)
    answers = validator("Prediction", schemas(described, Prediction(classes[0], [1.0, 0.0])))
    for label in classes:
        assert answers.is_valid(About(described, "v7").document(Prediction(label, [0.25, 0.75])))
    document = About(described, "v7").document(Prediction(classes[0], [0.25, 0.75]))
    assert not answers.is_valid({**document, "prediction": "eggs"})


MIXED_MODEL = description(features=MIXED, ignored=IGNORED, asked=PROBABILITIES)
MIXED_ROWS = Rows(MIXED, MAX_ROWS, IGNORED)
TOLD = schemas(MIXED_MODEL, HAM)
DESCRIBED = (
    (one, validator("PredictBody", TOLD), validator("PredictAnswer", TOLD)),
    (many, validator("BatchBody", TOLD), validator("BatchAnswer", TOLD)),
)

any_instance = instances(MIXED, (*IGNORED, "x"))


@settings(max_examples=60)
@given(any_instance, st.lists(any_instance, max_size=3), st.booleans())
def test_it_accepts_what_it_describes_and_nothing_else(
    instance: object, batch: list[object], more: bool
) -> None:
    others = {"x": 1} if more else {}
    for data in (instance, batch):
        for asked, described, _ in DESCRIBED:
            try:
                read(asked, body(data, **others), MIXED_ROWS)
            except Problem:
                accepted = False
            else:
                accepted = True
            assert described.is_valid({"data": data, **others}) == accepted


@pytest.mark.parametrize("wrong", [{}, {"x": 1}, [], None, {"data": {}}])
def test_no_body_is_described_that_has_no_data(wrong: object) -> None:
    assert not any(described.is_valid(wrong) for _, described, _ in DESCRIBED)


def test_columns_that_are_ignored_are_listed_as_such_and_no_other_name_is_taken() -> None:
    named = TOLD["Named"]
    assert {n for n, value in named["properties"].items() if value.get("title")} == set(IGNORED)
    assert named["required"] == [feature.name for feature in MIXED]
    row = {feature.name: feature.example for feature in MIXED}
    whole = row | {"kind": ["any", {"thing": None}], "id/~": 7}
    _, bodies, _ = DESCRIBED[0]
    assert bodies.is_valid({"data": whole})
    assert not bodies.is_valid({"data": whole | {"kinds": 1}})
    assert not bodies.is_valid({"data": [*row.values(), "ham"]})


def test_values_by_place_are_described_as_those_by_name_with_the_name_as_title() -> None:
    by_name = TOLD["Named"]["properties"]
    expected = [{"title": feature.name, **by_name[feature.name]} for feature in MIXED]
    assert TOLD["Values"]["prefixItems"] == expected
    assert by_name["length"] == MIXED[0].json_schema()


def test_examples_are_what_is_described_and_are_taken() -> None:
    for asked, bodies, answers in DESCRIBED:
        told = asked.describe(About(MIXED_MODEL, "v7"), HAM, MAX_ROWS)
        examples = told.bodies["application/json"]["examples"]
        assert examples
        for example in (each["value"] for each in examples.values()):
            assert bodies.is_valid(example)
            assert read(asked, json.dumps(example).encode(), MIXED_ROWS).rows
        assert answers.is_valid(told.answers["application/json"]["example"])
        assert told.bodies.keys() == set(asked.reads)
        assert told.answers.keys() == set(asked.writes)


def test_the_limit_on_rows_is_told() -> None:
    assert "at most 5" in many.describe(CLASSIFIER, HAM, MAX_ROWS).description
