"""This service's own dialect: ``{"data": …}``, an instance or many.

An instance is an array of values or an object by feature name. Floats are printed so that they read
back the same.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, ClassVar

import orjson

from serving.dialects.dialect import Described
from serving.json_text import read_json
from serving.model.about import About
from serving.model.description import INLIER, OUTLIER, Description, Label, label_key
from serving.model.domains import Schema, closed
from serving.model.outputs import Prediction
from serving.model.rows import MAX_PROBLEMS, Question, Rows, expected, refuse, unknown
from serving.problems import JSON_MEDIA_TYPE, MEDIA_TYPE, FieldError, Problem, pointer

DATA = "data"

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_REQUEST_ID = "8c0f2f6e5b1d4f0f9a3a2b1c0d9e8f7a"  # of examples
_IGNORED: Schema = {
    "title": "ignored",
    "description": "A column of the training table that the model does not use: any value is "
    "accepted, and ignored.",
}


class _Ours:
    """What both of this service's own bodies have in common."""

    media_type: ClassVar[str] = JSON_MEDIA_TYPE
    problem_media_type: ClassVar[str] = MEDIA_TYPE

    def refuse(self, problem: Problem, request_id: str, path: str) -> bytes:
        """Write problem+json."""
        return problem.body(request_id, path)


class One(_Ours):
    """``POST /predict``: one instance."""

    def read(self, body: bytes, rows: Rows) -> Question:
        """Read ``{"data": X}``."""
        return read_json(body, lambda document: rows.one(*_data(document)))

    def write(
        self, predictions: Sequence[Prediction], question: Question, about: About, request_id: str
    ) -> bytes:
        """Write the one prediction."""
        (prediction,) = predictions
        return _closed_by(about.document(prediction), question, about, request_id)

    def described(self, about: About, example: Prediction, max_rows: int) -> Described:
        """Describe bodies and answers."""
        document = about.document(example)
        features = about.description.features
        return Described(
            name="predict",
            summary="Predict one instance",
            description="Concurrent calls are batched inside; "
            "each is answered as if it were alone.",
            body=_ref("PredictBody"),
            examples={
                "values": {DATA: [feature.example for feature in features]},
                "names": {DATA: {feature.name: feature.example for feature in features}},
            },
            answer=_ref("PredictAnswer"),
            answered=document | {"model": about.named, "request_id": _REQUEST_ID},
            is_of_one=True,
            schemas=_instances(about.description)
            | {
                "PredictBody": closed({DATA: _ref("Instance")}),
                "PredictAnswer": closed(
                    _prediction(about.description, document) | _closing(about), ("warnings",)
                ),
            },
        )


class Many(_Ours):
    """``POST /predict/batch``: many instances, answered in their order."""

    def read(self, body: bytes, rows: Rows) -> Question:
        """Read ``{"data": [X, X, …]}``."""
        return read_json(body, lambda document: rows.many(*_data(document)))

    def write(
        self, predictions: Sequence[Prediction], question: Question, about: About, request_id: str
    ) -> bytes:
        """Write the predictions, in order."""
        documents = list(map(about.document, predictions))
        return _closed_by({"predictions": documents}, question, about, request_id)

    def described(self, about: About, example: Prediction, max_rows: int) -> Described:
        """Describe bodies and answers."""
        document = about.document(example)
        features = about.description.features
        instances: Schema = {"type": "array", "items": _ref("Instance")}
        predictions: Schema = {"type": "array", "items": _ref("Prediction")}
        row = [feature.example for feature in features]
        return Described(
            name="predictBatch",
            summary="Predict many instances",
            description=f"In their order; at most {max_rows}, 413 beyond that.",
            body=_ref("BatchBody"),
            examples={"mixed": {DATA: [row, {f.name: f.example for f in features}]}},
            answer=_ref("BatchAnswer"),
            answered={
                "predictions": [document],
                "model": about.named,
                "request_id": _REQUEST_ID,
            },
            schemas=_instances(about.description)
            | {
                # No maxItems: what the schema refuses is 422, a batch over the limit 413.
                "BatchBody": closed({DATA: instances}),
                "Prediction": closed(_prediction(about.description, document)),
                "BatchAnswer": closed(
                    {"predictions": predictions} | _closing(about), ("warnings",)
                ),
            },
        )


one, many = One(), Many()


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
    document: dict[str, Any], question: Question, about: About, request_id: str
) -> bytes:
    """Add what each answer ends with."""
    if question.warnings:
        document["warnings"] = question.warnings
    document["model"] = about.named
    document["request_id"] = request_id
    return orjson.dumps(document)


def _ref(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}


def _instances(description: Description) -> dict[str, Schema]:
    """Describe an instance, in both of its forms."""
    features = description.features
    by_name = {feature.name: feature.json_schema() for feature in features}
    return {
        "Values": {
            "type": "array",
            "description": "One value for each feature, in the order of /model/info.",
            "prefixItems": [{"title": name, **schema} for name, schema in by_name.items()],
            "minItems": len(features),
            "maxItems": len(features),
        },
        "Named": {
            **closed(by_name | dict.fromkeys(description.ignored, _IGNORED), description.ignored),
            "description": "One value for each feature, by its name.",
        },
        "Instance": {"oneOf": [_ref("Values"), _ref("Named")]},
    }


def _closing(about: About) -> dict[str, Schema]:
    model = closed({"name": {"const": about.name}, "version": {"const": about.version}})
    remarks: Schema = {"type": "array", "items": closed({"pointer": _TEXT, "detail": _TEXT})}
    return {"warnings": remarks, "model": model, "request_id": _TEXT}


def _prediction(description: Description, example: dict[str, Any]) -> dict[str, Schema]:
    """Describe a prediction, which has the members that the example has."""
    classes = description.classes_by_target
    probabilities = [closed({label_key(label): _NUMBER for label in c}) for c in classes]
    match description.task:
        case "classification":
            value = _each([_label(labels) for labels in classes])
        case "regression":
            value = _each([_NUMBER] * len(description.targets))
        case "clustering":
            value = {"type": "integer", "description": "The number of the cluster."}
        case "outlier-detection":
            value = {"enum": [INLIER, OUTLIER]}
    members: dict[str, Schema] = {
        "prediction": value,
        "probabilities": _each(probabilities),
        "scores": _NUMBER,
        "score": {**_NUMBER, "description": "Below zero for outliers."},
    }
    match example.get("scores"):
        case dict():
            members["scores"] = probabilities[0]
        case list():
            members["scores"] = {"type": "array", "items": _NUMBER}
    return {name: schema for name, schema in members.items() if name in example}


def _each(schemas: list[Schema]) -> Schema:
    """Describe what there is one of, or a list with one for each target."""
    if len(schemas) == 1:
        return schemas[0]
    return {
        "type": "array",
        "prefixItems": schemas,
        "minItems": len(schemas),
        "maxItems": len(schemas),
    }


def _label(classes: tuple[Label, ...]) -> Schema:
    return {"type": sorted({_TYPES[type(label)] for label in classes}), "enum": list(classes)}
