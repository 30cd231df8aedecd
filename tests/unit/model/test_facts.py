"""What is public about a model: all that a client may use, and nothing of how it is asked."""

import json
from pathlib import Path
from typing import Any

import bentoml
import pytest
import sklearn

from serving.model.description import Explained
from serving.model.facts import model_info, model_info_schemas
from serving.model.stored import ARTIFACT, VerifiedModel
from serving.settings import Runtime
from tests.unit.model.saved import explained_by, proof_of
from tests.unit.samples import EACH_TASK, asked, description

TAG = bentoml.Tag("mail", "abc")
PROOF = proof_of(b"")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a model, in which its estimator's file has 7 bytes."""
    (tmp_path / ARTIFACT).write_bytes(b"7 bytes")
    return tmp_path


def test_model_info_tells_all_that_is_public(folder: Path) -> None:
    assert model_info(VerifiedModel(TAG, folder, description())) == {
        "name": "mail",
        "version": "abc",
        "task": "classification",
        "created": "2024-05-06T07:08:09Z",
        "features": [
            {
                "name": name,
                "type": "number",
                "nullable": False,
                "missing": 0,
                "trained": {"minimum": 0.0, "maximum": 9.0},
                "domain": {"minimum": -1e12, "maximum": 1e12},
                "quantiles": {"0.5": 0.0},
                "example": 4.5,
            }
            for name in ("length", "a/b ~c")
        ],
        "ignored": [],
        "targets": ["kind"],
        "classes": ["ham", "spam"],
        "metrics": {
            "split": "held out: 3 of 12 rows",
            "values": {"accuracy": 0.75},
            "dummy": {"accuracy": 0.5},
        },
        "training": {"rows": 12, "fingerprint": "sha256:0123"},
        "predicted": [],
        "runtime": {
            "name": "sklearn",
            "proven": "the fitted estimator itself answers",
            "same_bits": False,
            "not_compiled": "it was saved by a version that compiled none",
        },
        "explained": {"why_not": "it was saved by a version that kept nothing for explanations"},
        "versions": {"scikit-learn": sklearn.__version__},
        "requirements": [],
        "size_bytes": 7,
    }


@pytest.mark.parametrize("task", EACH_TASK)
def test_it_is_told_as_its_schema_says_and_keeps_to_itself_how_the_estimator_is_asked(
    task: str, folder: Path
) -> None:
    schema = model_info_schemas()["ModelInfo"]
    explained = {"compiled": PROOF, "explained": explained_by(b"")}
    for described in (EACH_TASK[task], EACH_TASK[task].model_copy(update=explained)):
        info = model_info(VerifiedModel(TAG, folder, described))
        assert json.loads(json.dumps(info)) == info
        assert info.keys() == schema["properties"].keys() == set(schema["required"])
        assert not {"asked", "artifact_sha256", "compiled"} & info.keys()
        assert "sha256" not in str(info["explained"])
        assert not any("known" in feature for feature in info["features"])


def test_it_is_told_what_computes_a_compiled_model(folder: Path) -> None:
    verified = VerifiedModel(TAG, folder, description(compiled=PROOF))
    for runtime in (Runtime.AUTO, Runtime.ONNX):
        told = model_info(verified, runtime)["runtime"]
        assert told.pop("proven").startswith("for 12 rows, ")
        assert told == {
            "name": "onnx",
            "tolerance": 1e-9,
            "largest_difference": 1e-10,
            "same_bits": False,
        }
    assert model_info(verified, Runtime.SKLEARN)["runtime"] == {
        "name": "sklearn",
        "proven": "the fitted estimator itself answers",
        "same_bits": False,
        "not_compiled": "SERVING_RUNTIME=sklearn",
    }


def test_only_a_graph_that_is_not_exact_leaves_rows_to_the_estimator(folder: Path) -> None:
    for exact in (False, True):
        proof = proof_of(b"", exact=exact)
        info = model_info(VerifiedModel(TAG, folder, description(compiled=proof)))
        assert ("go to the estimator" in info["runtime"]["proven"]) is not exact


@pytest.mark.parametrize(
    ("proven", "holds"),
    [
        ({"same_bits": True}, True),
        ({"exact": True}, True),  # of the estimator's own bits, in all batches
        ({}, False),  # saved by a version that did not look
    ],
    ids=str,
)
def test_it_is_told_whether_a_compiled_model_keeps_a_row_s_bits_in_company(
    proven: dict[str, bool], holds: bool, folder: Path
) -> None:
    verified = VerifiedModel(TAG, folder, description(compiled=proof_of(b"", **proven)))
    assert model_info(verified)["runtime"]["same_bits"] is holds
    assert model_info(verified, Runtime.SKLEARN)["runtime"]["same_bits"] is False


@pytest.mark.parametrize(
    ("batching", "holds"), [("alone", True), ("invariant", True), ("tolerant", False)]
)
def test_it_is_told_whether_an_estimator_keeps_a_row_s_bits_in_company(
    batching: str, holds: bool, folder: Path
) -> None:
    described = description(asked=asked(batching=batching))
    info = model_info(VerifiedModel(TAG, folder, described))
    assert info["runtime"]["same_bits"] is holds


def test_a_graph_that_was_brought_is_the_model_itself(folder: Path) -> None:
    brought = description().model_copy(update={"is_graph": True})

    for runtime in Runtime:
        assert model_info(VerifiedModel(TAG, folder, brought), runtime)["runtime"] == {
            "name": "onnx",
            "proven": "nothing: it is the model itself, as it was brought",
            "same_bits": False,
        }


def test_it_is_told_how_predictions_are_explained_or_why_they_are_not(folder: Path) -> None:
    def told(explained: Explained | str, why_unexplained: str = "") -> Any:  # noqa: ANN401 (JSON)
        verified = VerifiedModel(TAG, folder, description(explained=explained))
        return model_info(verified, why_unexplained=why_unexplained)["explained"]

    proven = (
        "for 12 rows of the table, base and contributions added up to what the model answers, "
        "within 3e-16"
    )
    assert told(explained_by(b"")) == {
        "method": "trees",
        "output": "probability",
        "exact": True,
        "background_rows": 100,
        "background": "training",
        "proven": proven,
    }
    sampled = told(explained_by(b"", method="sampled", exact=False, background="published"))
    assert (sampled["exact"], sampled["background"]) == (False, "published")
    assert sampled["proven"] == f"{proven}; contributions come with their standard errors"
    assert "answers, to the last bit" in told(explained_by(b"", largest_difference=0.0))["proven"]
    assert told("a cluster is no number") == {"why_not": "a cluster is no number"}
    assert told(explained_by(b""), "it is off") == {"why_not": "it is off"}
