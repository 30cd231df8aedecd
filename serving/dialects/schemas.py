"""What dialects say alike in the OpenAPI document: an instance, and what is predicted for it."""

from collections.abc import Sequence
from typing import Any

from serving.dialects.manners import PREDICT, PREDICT_METHOD
from serving.model.about import About
from serving.model.description import INLIER, OUTLIER, Description, Label
from serving.model.domains import Schema, closed
from serving.model.outputs import Prediction

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
BINARY: Schema = {"type": "string", "format": "binary"}
REQUEST_ID = "8c0f2f6e5b1d4f0f9a3a2b1c0d9e8f7a"  # of examples
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
_IGNORED: Schema = {
    "title": "ignored",
    "description": "A column of the training table that the model does not use: any value is "
    "accepted, and ignored.",
}


def ref(schema: str) -> Schema:
    """Refer to a schema by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def media(schema: Schema, **examples: Any) -> Schema:  # noqa: ANN401 (any JSON)
    """Describe a body, with examples by name."""
    return {
        "schema": schema,
        "examples": {name: {"value": value} for name, value in examples.items()},
    }


def array_of(items: Schema) -> Schema:
    """Describe an array of any length."""
    return {"type": "array", "items": items}


def example_instances(description: Description) -> list[Any]:
    """Give the features' examples by place, and by name."""
    row = list(description.example)
    return [row, {f.name: value for f, value in zip(description.features, row, strict=True)}]


def instance_schemas(description: Description) -> dict[str, Schema]:
    """Describe an instance, in both of its forms, as ``Instance``."""
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
        "Instance": {"oneOf": [ref("Values"), ref("Named")]},
    }


def value_schema(description: Description) -> Schema:
    """Describe what ``predict`` gives for an instance."""
    match description.task:
        case "classification":
            return each_target([_label(labels) for labels in description.classes_by_target])
        case "regression":
            return each_target([NUMBER] * len(description.targets))
        case "clustering":
            return {"type": "integer", "description": "The number of the cluster."}
        case "outlier-detection":
            return {"enum": [INLIER, OUTLIER]}


EXPLANATIONS: Schema = {
    "description": "If it is asked for: of each class or target in an array, if these are several; "
    "null, with a warning, where it does not add up.",
    "oneOf": [ref("Explanation"), array_of(ref("Explanation")), {"type": "null"}],
}


def explanation_schemas(description: Description) -> dict[str, Schema]:
    """Describe what explains a number of an answer, as ``Explanation``, if something does."""
    explained = description.explained
    if isinstance(explained, str):
        return {}
    by_name = closed({feature.name: NUMBER for feature in description.features})
    labels = [label for classes in description.classes_by_target for label in classes]
    of: list[Any] = labels or list(description.targets) or ["score"]
    several: dict[str, Schema] = {"target": {"enum": list(description.targets)}}
    members: dict[str, Schema] = several if len(description.targets) > 1 else {}
    members |= {
        "of": {"enum": list({(type(each), each): each for each in of}.values())},
        "output": {"const": explained.output},
        "base": {**NUMBER, "description": "What rows of the background have, on average."},
        "contributions": {**by_name, "description": "What each feature adds to that."},
        "exact": {"const": explained.exact},
    }
    if not explained.exact:
        members["standard_error"] = by_name
    return {"Explanation": closed(members)}


def predictions_schema(about: About, example: Prediction) -> Schema:
    """Describe what a method gives for each instance, given an example of a prediction."""
    lists: list[Schema] = [
        {"title": method, **array_of(schema)}
        for method, schema in _method_schemas(about, example).items()
    ]
    return {"anyOf": lists}


def _method_schemas(about: About, example: Prediction) -> dict[str, Schema]:
    """Describe what each method gives for an instance."""
    described = {"predict": value_schema(about.description)}
    if "predict_proba" in about.methods:
        classes = about.description.classes_by_target
        described["predict_proba"] = each_target([_numbers(len(labels)) for labels in classes])
    if "decision_function" in about.methods:
        scores = about.methods["decision_function"](example)
        described["decision_function"] = (
            _numbers(len(scores)) if isinstance(scores, list) else NUMBER
        )
    return described


def methods_schema(about: About, otherwise: str = PREDICT) -> Schema:
    """Describe the parameters of a request, one of which names a method."""
    return {
        "type": ["object", "null"],
        "properties": {
            PREDICT_METHOD: {
                "enum": [*about.methods, None],
                "description": f"What to ask the estimator for: {otherwise}, if nothing is said.",
            }
        },
    }


def each_target(schemas: Sequence[Schema]) -> Schema:
    """Describe what there is one of, or a list with one for each target."""
    if len(schemas) == 1:
        return schemas[0]
    return {
        "type": "array",
        "prefixItems": schemas,
        "minItems": len(schemas),
        "maxItems": len(schemas),
    }


def _numbers(count: int) -> Schema:
    return {"type": "array", "items": NUMBER, "minItems": count, "maxItems": count}


def _label(classes: tuple[Label, ...]) -> Schema:
    return {"type": sorted({_TYPES[type(label)] for label in classes}), "enum": list(classes)}
