"""This service's own dialect: ``{"data": …}``, an instance or many, which other formats have too.

An instance is an array of values or an object by feature name. Floats are printed so that they read
back the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import orjson

from serving.dialects import formats
from serving.dialects.dialect import Answer, Asked, Conversation, Described, Dialect, Sent
from serving.dialects.schemas import (
    EXPLANATIONS,
    NUMBER,
    REQUEST_ID,
    TEXT,
    each_target,
    example_instances,
    explanation_schemas,
    instance_schemas,
    media,
    ref,
    value_schema,
)
from serving.json_text import read_json
from serving.model.about import About
from serving.model.description import Description, Explained, label_key
from serving.model.domains import Schema, closed
from serving.model.outputs import Prediction
from serving.model.rows import (
    MAX_PROBLEMS,
    Places,
    Question,
    Rows,
    below,
    expected,
    refuse,
    unknown,
)
from serving.problems import JSON_MEDIA_TYPE, FieldError, pointer

DATA = "data"
EXPLANATION = "explanation"
UNEXPLAINED = (
    "could not be explained: the model fails on rows that have only some of its values, or what "
    "its features contribute does not add up to the answer"
)


def read_one(sent: Sent, about: About, rows: Rows) -> Asked:
    """Read ``{"data": X}``."""
    question = read_json(sent.body, lambda document: rows.one(*_data(document)))
    question.explain = sent.explain
    return Asked(question, partial(write_one, question, about))


def write_one(
    question: Question, about: About, predictions: Sequence[Any], request_id: str
) -> Answer:
    """Write the one prediction."""
    (document,) = documents = _documents(question, about, predictions)
    warnings = _warnings(question, documents, lambda _: (DATA,))
    return _closed_by(document, warnings, about, request_id)


def read_many(sent: Sent, about: About, rows: Rows) -> Asked:
    """Read ``{"data": [X, X, …]}``, or rows in another format, and answer in any."""
    if (reads := formats.READERS.get(sent.media_type)) is not None:
        question, places = reads(sent, rows), below(())
    else:
        question = read_json(sent.body, lambda document: rows.many(*_data(document)))
        places = below((DATA,))
    if (writes := formats.WRITERS.get(sent.wanted)) is not None:
        return Asked(question, partial(writes, about))
    question.explain = sent.explain
    return Asked(question, partial(write_many, question, about, places))


def write_many(
    question: Question, about: About, places: Places, predictions: Sequence[Any], request_id: str
) -> Answer:
    """Write the predictions, in order; ``places`` are those of their rows in the body."""
    documents = _documents(question, about, predictions)
    warnings = _warnings(question, documents, places)
    return _closed_by({"predictions": documents}, warnings, about, request_id)


def _documents(
    question: Question, about: About, predictions: Sequence[Any]
) -> list[dict[str, Any]]:
    """Give predictions by names, with what explains each, if that was asked for."""
    if question.explain is None:
        return list(map(about.document, predictions))
    return [about.document(each) | {EXPLANATION: told} for each, told in predictions]


def _warnings(
    question: Question, documents: Sequence[dict[str, Any]], places: Places
) -> Sequence[FieldError]:
    """Give the warnings: of what is unusual, and of what could not be explained."""
    if question.explain is None:
        return question.warnings
    told = (document[EXPLANATION] for document in documents)
    rows = [row for row, explanation in enumerate(told) if explanation is None]
    return [*question.warnings, *(FieldError(pointer(*places(row)), UNEXPLAINED) for row in rows)]


def _describe_one(name: str, about: About, example: Prediction, max_rows: int) -> Described:
    document = about.document(example)
    values, names = example_instances(about.description)
    answered = document | {"model": about.named, "request_id": REQUEST_ID}
    return Described(
        name=name,
        summary="Predict one instance",
        description="Concurrent calls are batched inside; each is answered as if it were alone.",
        bodies={
            JSON_MEDIA_TYPE: media(ref("PredictBody"), values={DATA: values}, names={DATA: names})
        },
        answers={JSON_MEDIA_TYPE: {"schema": ref("PredictAnswer"), "example": answered}},
        is_of_one=True,
        schemas=instance_schemas(about.description)
        | {
            "PredictBody": closed({DATA: ref("Instance")}),
            "PredictAnswer": closed(
                _prediction(about.description, document) | _closing(about),
                ("warnings", EXPLANATION),
            ),
        }
        | explanation_schemas(about.description),
    )


def _describe_many(name: str, about: About, example: Prediction, max_rows: int) -> Described:
    document = about.document(example)
    mixed = {DATA: example_instances(about.description)}
    answered = {"predictions": [document], "model": about.named, "request_id": REQUEST_ID}
    array = {"type": "array", "items": ref("Instance")}
    predictions: Schema = {"type": "array", "items": ref("Prediction")}
    return Described(
        name=name,
        summary="Predict many instances",
        description=f"In their order; of JSON and CSV at most {max_rows}, 413 beyond that. If "
        "`Accept` takes anything, the answer has the format of the body, but to CSV it is JSON.",
        bodies={
            JSON_MEDIA_TYPE: media(ref("BatchBody"), mixed=mixed),
            **formats.bodies(about),
        },
        answers={
            JSON_MEDIA_TYPE: {"schema": ref("BatchAnswer"), "example": answered},
            **formats.answers(about, example),
        },
        schemas=instance_schemas(about.description)
        | {
            # No maxItems: what the schema refuses is 422, a batch over the limit 413.
            "BatchBody": closed({DATA: array}),
            "Prediction": closed(_prediction(about.description, document), (EXPLANATION,)),
            "BatchAnswer": closed({"predictions": predictions} | _closing(about), ("warnings",)),
        }
        | explanation_schemas(about.description),
    )


one = Conversation(read_one, partial(_describe_one, "predict"), explains=True)
many = Conversation(
    read_many,
    partial(_describe_many, "predictBatch"),
    reads=(JSON_MEDIA_TYPE, *formats.READERS),
    writes=(JSON_MEDIA_TYPE, *formats.WRITERS),
    in_parts=formats.IN_PARTS,
    swells=formats.SWELLS,
    echoes=formats.ECHOES,
    streams=formats.STREAMS,
    explains=True,
)
DIALECT = Dialect(
    {
        "/predict": one,
        "/predict/batch": many,
        "/models/{model}/predict": replace(one, describe=partial(_describe_one, "predictOfModel")),
        "/models/{model}/predict/batch": replace(
            many, describe=partial(_describe_many, "predictBatchOfModel")
        ),
    }
)


def _data(document: Any) -> tuple[Any, tuple[str], list[FieldError]]:  # noqa: ANN401 (any JSON)
    """Take the one member out of a body: its value, its place, and what else is wrong."""
    place = (DATA,)
    if type(document) is dict and len(document) == 1 and DATA in document:
        return document[DATA], place, []
    if type(document) is not dict:
        refuse([expected('an object {"data": …}', document, ())])
    others = (unknown(name, ()) for name in document if name != DATA)
    mistakes = list(islice(others, MAX_PROBLEMS))
    if DATA not in document:
        refuse([FieldError(pointer(DATA), "missing"), *mistakes])
    return document[DATA], place, mistakes


def _closed_by(
    document: dict[str, Any], warnings: Sequence[FieldError], about: About, request_id: str
) -> Answer:
    """Add what each answer ends with."""
    if warnings:
        document["warnings"] = warnings
    document["model"] = about.named
    document["request_id"] = request_id
    return Answer(orjson.dumps(document))


def _closing(about: About) -> dict[str, Schema]:
    model = closed({"name": {"const": about.name}, "version": {"const": about.version}})
    remarks: Schema = {"type": "array", "items": closed({"pointer": TEXT, "detail": TEXT})}
    return {"warnings": remarks, "model": model, "request_id": TEXT}


def _prediction(description: Description, example: dict[str, Any]) -> dict[str, Schema]:
    """Describe a prediction, which has the members that the example has."""
    classes = description.classes_by_target
    probabilities = [closed({label_key(label): NUMBER for label in c}) for c in classes]
    members: dict[str, Schema] = {
        "prediction": value_schema(description),
        "probabilities": each_target(probabilities),
        "scores": NUMBER,
        "score": {**NUMBER, "description": "Below zero for outliers."},
    }
    match example.get("scores"):
        case dict():
            members["scores"] = probabilities[0]
        case list():
            members["scores"] = {"type": "array", "items": NUMBER}
    told = {name: schema for name, schema in members.items() if name in example}
    if isinstance(description.explained, Explained):
        told[EXPLANATION] = EXPLANATIONS
    return told
