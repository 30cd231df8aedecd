"""What dialects say alike in the OpenAPI document: an instance, in both of its forms."""

from typing import Any

from serving.model.description import Description
from serving.model.domains import Schema, closed

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
