"""What the dialects of other servers' clients have in common.

They know no 422, show little more of a refusal than its ``error``, name scikit-learn's method that
they ask for ``predict_method``, and send their arrays' elements as numbers.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from serving.model.about import About
from serving.model.features import Feature
from serving.model.outputs import Prediction
from serving.model.rows import refuse
from serving.problems import (
    JSON_MEDIA_TYPE,
    MEDIA_TYPE,
    FieldError,
    Problem,
    Wording,
    pointer,
)

PREDICT_METHOD = "predict_method"
PREDICT = "predict"
PREDICTIONS = "predictions"  # in answers
Method: TypeAlias = Callable[[Prediction], Any]


def sentence(problem: Problem) -> str:
    """Give what is wrong as the one line that clients show."""
    return problem.sentence


def wording(
    schema: str, media_type: str = MEDIA_TYPE, **members: Callable[[Problem], str]
) -> Wording:
    """Give how a dialect of others refuses."""
    return Wording(schema, media_type, {422: 400}, {"error": sentence, **members})


# Below /v1 and /v2: their clients look for the error in what is declared as JSON alone.
JSON_WORDING = wording("JsonProblem", JSON_MEDIA_TYPE)


def method_of(
    about: About, parameters: object, place: Sequence[str | int], otherwise: str = PREDICT
) -> Method:
    """Give what is asked for of each prediction, by the parameters of a request or otherwise.

    Raises:
        Problem: 422, these are no object, or name what the model does not have.
    """
    if parameters is None:
        parameters = {}
    if type(parameters) is not dict:
        refuse([FieldError(pointer(*place), "expected an object")])
    name = parameters.get(PREDICT_METHOD)
    if name is None:
        name = otherwise
    method = about.methods.get(name) if isinstance(name, str) else None
    if method is None:
        told = f"expected one of {', '.join(about.methods)}"
        refuse([FieldError(pointer(*place, PREDICT_METHOD), told)])
    return method


def as_taken(feature: Feature, values: Sequence[Any]) -> list[Any]:
    """Give elements of an array of numbers as a feature takes them: NaN is missing, 1 is true."""
    taken = [None if value != value else value for value in values]
    if feature.type == "boolean":
        taken = [bool(value) if value in (0, 1) else value for value in taken]
    return taken


def instances_of(columns: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Make instances of columns, one for each feature in their order."""
    return [list(row) for row in zip(*columns, strict=True)]


def names(models: Sequence[About]) -> dict[str, Any]:
    """Tell which models there are."""
    return {"models": [about.name for about in models]}


def ready(models: Sequence[About]) -> dict[str, Any]:
    """Tell that a model is ready, where it is."""
    return {"name": models[0].name, "ready": True}


def cells_of(value: Any) -> list[Any]:  # noqa: ANN401 (a label or a number, or lists of them)
    """Give what a method gave for a row as a line of cells."""
    if type(value) is not list:
        return [value]
    return [cell for each in value for cell in cells_of(each)]
