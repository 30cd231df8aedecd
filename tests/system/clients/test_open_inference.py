"""The Open Inference Protocol as others test it: a load test, and a fuzzer with its promises.

Needs the environment of k6, which ``make test-system`` makes.
"""

import json
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.server import BIN, Server
from tests.system.clients.conftest import ENVIRONMENTS

HERE = Path(__file__).parent
MODEL = "iris"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


def test_the_load_test_of_mlserver_fails_at_unload_alone(server: Server, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    done = subprocess.run(
        [
            *(ENVIRONMENTS / "k6" / "bin" / "k6", "run", HERE / "load.js"),
            *("--quiet", "--no-usage-report", "--summary-export", summary),
            *("-e", f"URL={server.url}", "-e", f"MODEL={MODEL}"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads(summary.read_text())["metrics"]
    assert metrics["checks"]["fails"] == 0, done.stdout
    assert metrics["http_req_failed"]["passes"] == 1  # so many failed: unload
    assert metrics["checks"]["passes"] == metrics["http_reqs"]["count"]
    assert metrics["http_reqs"]["count"] == metrics["iterations"]["count"] + 2


@pytest.fixture
def description(server: Server, tmp_path: Path) -> Path:
    """Describe the protocol's operations on the model that is served."""
    document = yaml.safe_load((HERE / "open_inference.yaml").read_text())
    (version,) = server.http.get(f"/v2/models/{MODEL}").json()["versions"]
    parameters = document["components"]["parameters"]
    parameters["model"]["schema"]["enum"] = [MODEL]
    parameters["version"]["schema"]["enum"] = [version]
    file = tmp_path / "open_inference.json"
    file.write_text(json.dumps(document))
    return file


def test_a_fuzzer_finds_no_promise_of_the_protocol_broken(
    server: Server, description: Path
) -> None:
    done = subprocess.run(
        [
            *(BIN / "schemathesis", "--no-color", "run", description, "--url", server.url),
            *(f"--checks={','.join(CHECKS)}", "--phases=examples,coverage,fuzzing"),
            *("--max-examples=50", "--seed=1", "--generation-deterministic"),
        ],
        cwd=description.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
