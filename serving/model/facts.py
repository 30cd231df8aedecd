"""What is public about a model: the answer to ``GET /model/info``, and its schema."""

from typing import Any, get_args

from serving.model.description import (
    Compiled,
    Description,
    Explained,
    ExplainedOutput,
    ExplainingMethod,
)
from serving.model.domains import Schema, closed
from serving.model.stored import VerifiedModel, compiled_form
from serving.settings import Runtime

# What of a description is for the service alone; and what is said of nothing else.
_PRIVATE = (
    "artifact_sha256",
    "asked",
    "code",
    "compiled",
    "explained",
    "reference",
    "is_graph",
    "reading",
)
_PRIVATE_PARTS = (
    "Asked",
    "Categories",
    "Compiled",
    "Explained",
    "Reading",
    "Reference",
    "References",
    "Style",
)


def model_info(
    verified: VerifiedModel, runtime: Runtime = Runtime.AUTO, why_unexplained: str = ""
) -> dict[str, Any]:
    """Tell all that is public about a model: the answer to ``GET /model/info``.

    ``why_unexplained`` is a reason why predictions are not explained here, whatever the model.
    """
    info = verified.description.model_dump(
        mode="json",
        exclude={**dict.fromkeys(_PRIVATE, True), "features": {"__all__": {"known"}}},
    )
    return info | {
        "predicted": _predicted(verified.description),
        "version": str(verified.tag.version),
        "runtime": _told(compiled_form(verified, runtime), verified.description),
        "explained": _explained(why_unexplained or verified.description.explained),
        "size_bytes": verified.size_bytes,
    }


def _predicted(description: Description) -> list[dict[str, Any]]:
    """Tell what is to be expected of predictions, target by target: how many fell into each bin."""
    if description.reference is None:
        return []
    return [
        {"target": target, "edges": list(told.edges), "rows": dict(told.rows)}
        for target, told in description.reference.predictions.items()
    ]


def _told(proof: Compiled | str, description: Description) -> dict[str, Any]:
    """Tell what computes a model, and what was proven about that."""
    # Alike bit for bit on one processor would say little of others: ADR 7.
    same_bits = description.asked.batching != "tolerant"
    if description.is_graph:
        return {
            "name": "onnx",
            "proven": "nothing: it is the model itself, as it was brought",
            "same_bits": same_bits,
        }
    if isinstance(proof, str):
        return {
            "name": "sklearn",
            "proven": "the fitted estimator itself answers",
            "same_bits": same_bits,
            "not_compiled": proof,
        }
    rows = "of the table" if description.training else "around an input example"
    return {
        "name": "onnx",
        "proven": f"for {proof.rows} rows, {rows} and such as are likeliest to differ, it "
        "gave the labels of the fitted estimator, and its numbers within the tolerance, alone and "
        "in batches"
        + ("" if proof.exact else "; rows for which that says nothing go to the estimator itself"),
        "tolerance": proof.tolerance,
        "largest_difference": proof.largest_difference,
        "same_bits": proof.same_bits or proof.exact,
    }


def _explained(proof: Explained | str) -> dict[str, Any]:
    """Tell how predictions are explained, and what was proven about that; or why they are not."""
    if isinstance(proof, str):
        return {"why_not": proof}
    largest = proof.largest_difference
    within = f"within {largest:.1g}" if largest else "to the last bit"
    errors = "" if proof.exact else "; contributions come with their standard errors"
    return {
        "method": proof.method,
        "output": proof.output,
        "exact": proof.exact,
        "background_rows": proof.background_rows,
        "background": proof.background,
        "proven": f"for {proof.rows} rows of the table, base and contributions added up to what "
        f"the model answers, {within}{errors}",
        **({} if proof.exact else {"why_sampled": proof.why_sampled or ""}),
    }


def model_info_schemas() -> dict[str, Schema]:
    """Describe it, as ``ModelInfo``: what `Description` publishes, and four more."""
    schema = Description.model_json_schema(
        mode="serialization", ref_template="#/components/schemas/{model}"
    )
    parts = schema.pop("$defs")
    properties = schema["properties"]
    for private in _PRIVATE:
        del properties[private]
    for private in _PRIVATE_PARTS:
        del parts[private]
    for kind in ("Category", "Number"):
        del parts[kind]["properties"]["known"]
    text: Schema = {"type": "string"}
    counted = {"type": "object", "additionalProperties": {"type": "integer"}}
    edges = {"type": "array", "items": {"type": "number"}}
    properties |= {
        "predicted": {
            "type": "array",
            "items": closed({"target": text, "edges": edges, "rows": counted}),
            "description": "how often each class, or number between edges, was predicted for "
            "rows of training",
        },
        "version": text,
        "runtime": closed(
            {
                "name": {"enum": ["onnx", "sklearn"]},
                "proven": text,
                "tolerance": {"type": "number"},
                "largest_difference": {"type": "number"},
                "same_bits": {
                    "type": "boolean",
                    "description": "whether a row gets the same bits alone, in any batch and "
                    "from any worker of one machine; if not, its last bits may differ",
                },
                "not_compiled": text,
            },
            ("tolerance", "largest_difference", "not_compiled"),
        ),
        "explained": {
            "description": "how predictions are explained, or why they are not",
            "oneOf": [
                closed(
                    {
                        "method": {"enum": list(get_args(ExplainingMethod))},
                        "output": {"enum": list(get_args(ExplainedOutput))},
                        "exact": {"type": "boolean"},
                        "background_rows": {"type": "integer"},
                        "background": {"enum": ["training", "published"]},
                        "proven": text,
                        "why_sampled": text,
                    },
                    ("why_sampled",),
                ),
                closed({"why_not": text}),
            ],
        },
        "size_bytes": {"type": "integer"},
    }
    return {**parts, "ModelInfo": closed(properties)}
