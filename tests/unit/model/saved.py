"""Models in a store, and graphs that tests can see through."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bentoml
from onnx import TensorProto, helper

from serving.model.compiled import CATEGORIES
from serving.model.description import Compiled, Description, Explained
from serving.model.store import save
from serving.model.stored import DESCRIPTION
from tests.unit.fakes import ProbaEstimator
from tests.unit.samples import PROBABILITIES, description

PAGE = "<!doctype html>\n<title>Mail — ünï</title>\n"
BY_ESTIMATOR = [0.75, 0.25]


def stored(
    estimator: object,
    described: Description | None = None,
    graph: bytes | None = None,
    explanation: bytes | None = None,
) -> bentoml.Model:
    """Save a model, and look it up in the store."""
    described = described or description()
    return bentoml.models.get(save(estimator, described, PAGE, graph, explanation=explanation))


def rewrite_description(model: bentoml.Model, **changes: object) -> None:
    """Change what a model in the store says of itself."""
    file = Path(model.path) / DESCRIPTION
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def echo(columns: int = 2, categories: tuple[str, ...] = ()) -> bytes:
    """Give a graph whose scores are the numbers that it is given."""
    given, found = (
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, columns])
        for name in ("X", "scores")
    )
    node = helper.make_node("Identity", ["X"], ["scores"])
    model = helper.make_model(
        helper.make_graph([node], "echo", [given], [found]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    if categories:
        helper.set_model_props(model, {CATEGORIES: json.dumps(categories)})
    return bytes(model.SerializeToString())


def proof_of(graph: bytes, **changes: Any) -> Compiled:  # noqa: ANN401 (any of its fields)
    """Say that a graph was proven."""
    told: dict[str, Any] = {
        "rows": 12,
        "tolerance": 1e-9,
        "largest_difference": 1e-10,
        "exact": False,
        "onnxruntime": version("onnxruntime"),
        "sha256": hashlib.sha256(graph).hexdigest(),
    }
    return Compiled(**(told | changes))


def explained_by(kept: bytes, **changes: Any) -> Explained:  # noqa: ANN401 (any of its fields)
    """Say that predictions can be explained by what is kept for that."""
    told: dict[str, Any] = {
        "method": "trees",
        "output": "probability",
        "exact": True,
        "background": "training",
        "background_rows": 100,
        "rows": 12,
        "largest_difference": 3e-16,
        "sha256": hashlib.sha256(kept).hexdigest(),
    }
    return Explained(**(told | changes))


def stored_compiled(graph: bytes | None = None, **changes: Any) -> bentoml.Model:  # noqa: ANN401
    """Save a compiled model that echoes; its estimator gives `BY_ESTIMATOR` for all rows."""
    graph = echo() if graph is None else graph
    described = description(asked=PROBABILITIES, compiled=proof_of(graph, **changes))
    return stored(ProbaEstimator(BY_ESTIMATOR), described, graph)
