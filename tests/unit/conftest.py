"""What the unit tests share: a model store and metrics of their own, and clean settings."""

import os
import shutil
import tempfile

import hypothesis
import pytest

# BentoML reads the first, prometheus_client the second while it is imported.
os.environ["BENTOML_HOME"] = tempfile.mkdtemp(prefix="model-api-unit-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(dir=os.environ["BENTOML_HOME"])
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

from serving.metrics import Metrics
from serving.settings import PREFIX, Settings, variable_of
from serving.telemetry import LogLine, RequestRecord, open_record
from tests.unit.fakes import RecordingLog, service_labels


def pytest_configure(config: pytest.Config) -> None:
    """Let pass the warnings that BentoML's own code gives when it is imported or served from."""
    for message in ("GitWildMatchPattern", "The `__get_pydantic_core_schema__` method"):
        config.addinivalue_line("filterwarnings", f"ignore:{message}:DeprecationWarning")


# How long an example takes tells of the machine; a failure prints how to have it again.
hypothesis.settings.register_profile("unit", deadline=None, print_blob=True)
hypothesis.settings.load_profile("unit")


def pytest_unconfigure() -> None:
    """Leave nothing behind; a fixture would not run in the process that hands out the tests."""
    shutil.rmtree(os.environ["BENTOML_HOME"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """Test the defaults, whatever the person who runs the tests has set."""
    known = set(map(variable_of, Settings.model_fields))
    for name in [name for name in os.environ if name.startswith(PREFIX) or name in known]:
        del os.environ[name]


@pytest.fixture
def metrics(request: pytest.FixtureRequest) -> Metrics:
    """Give metrics that no other test counts on: the test's name is the service's."""
    return Metrics(service_labels(request.node.name), worker_index=0)


@pytest.fixture
def record() -> RequestRecord:
    """Open the record of a request that is under way."""
    opened = RequestRecord(id="id-1", method="POST", route="/predict", client="192.0.2.7")
    open_record(opened)
    return opened


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Give the lines that requests log."""
    recording = RecordingLog()
    monkeypatch.setattr(f"{LogLine.__module__}.log", recording)
    return recording.lines
