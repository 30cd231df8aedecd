"""What a server refuses to start with, and how it says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server import (
    BATCH,
    ROOT,
    ROW,
    TWO_WORKERS,
    Refusal,
    Server,
    environment,
    eventually,
    free_port,
    refused,
    run_python,
    serving,
)
from tests.trained import copy_of


def assert_one_clear_line(refusal: Refusal, *parts: str) -> None:
    assert refusal.exit_code != 0
    (complaint,) = refusal.complaints
    for part in parts:
        assert part in complaint


@pytest.fixture
def own_home(home: Path, tmp_path: Path) -> Path:
    """Give a copy of the model store, to be damaged."""
    return Path(shutil.copytree(home, tmp_path / "home"))


def model_file(home: Path, name: str) -> Path:
    (file,) = (home / "models" / "iris").glob(f"*/{name}")
    return file


def rewrite_scikit_learn_version(home: Path, change: Callable[[list[str]], list[str]]) -> str:
    """Change the version of scikit-learn in the model's description; give the new one."""
    file = model_file(home, "description.json")
    description = json.loads(file.read_text())
    parts = description["versions"]["scikit-learn"].split(".")
    version = ".".join(change(parts))
    description["versions"]["scikit-learn"] = version
    file.write_text(json.dumps(description))
    return version


def test_a_model_that_is_not_there_is_named_with_what_to_do(home: Path, tmp_path: Path) -> None:
    for name in ("nothing:latest", "nothing:v1"):
        assert_one_clear_line(refused(home, SERVING_MODEL=name), "no model nothing", "train")
    assert_one_clear_line(refused(tmp_path), "no model iris", "python train.py")


def test_a_desired_state_that_can_not_be_read_is_told_in_a_line(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "serving.json"
    file.write_text("{")
    refusal = refused(home, SERVING_STATE_FILE=str(file))
    assert_one_clear_line(refusal, str(file), "mend it, or remove it")


def test_each_wrong_value_is_refused_by_the_name_of_its_variable(home: Path) -> None:
    refusal = refused(home, SERVING_THREADS="x", SERVING_LOG_LEVEL="x")
    assert refusal.exit_code != 0
    assert sorted(line.partition(":")[0] for line in refusal.complaints) == [
        "SERVING_LOG_LEVEL",
        "SERVING_THREADS",
    ]
    storage = "redis://:hunter2@127.0.0.1?nonsense=1"
    refusal = refused(home, SERVING_RATE_LIMIT_STORAGE=storage)
    assert_one_clear_line(refusal, "SERVING_RATE_LIMIT_STORAGE")
    assert "hunter2" not in refusal.complaints[0]


def test_a_server_listens_where_a_platform_looks_for_it(home: Path, tmp_path: Path) -> None:
    port = str(free_port())
    with serving(home, tmp_path / "output", AIP_HTTP_PORT=port) as server:  # beside --port
        assert server.ask(ROW).status_code == 200
        assert f"listening on http://localhost:{port} " in server.text()
    assert_one_clear_line(refused(home, AIP_HTTP_PORT="http"), "AIP_HTTP_PORT: ", "integer")


def test_a_model_of_another_minor_version_of_scikit_learn_is_refused(own_home: Path) -> None:
    other = rewrite_scikit_learn_version(
        own_home, lambda parts: [parts[0], str(int(parts[1]) - 1), *parts[2:]]
    )
    assert_one_clear_line(refused(own_home), other, "iris:", "train")


def test_a_damaged_model_is_refused(own_home: Path) -> None:
    file = model_file(own_home, "saved_model.pkl")
    file.write_bytes(file.read_bytes()[:100])
    assert_one_clear_line(refused(own_home), "model iris:")


@pytest.mark.parametrize(
    "settings",
    [
        {"BENTOML_CONTAINERIZED": "true"},
        TWO_WORKERS | {"SERVING_RATE_LIMIT": "off"},
    ],
    ids=["one in a container", "two workers"],
)
def test_a_model_that_can_not_be_unpickled_is_refused(home: Path, settings: dict[str, str]) -> None:
    refusal = refused(home, SERVING_MODEL="unloadable", **settings)
    assert_one_clear_line(refusal, "unloadable", "unpickled")


def test_variables_that_are_misspelt_or_gone_are_warned_about(configured: Server) -> None:
    warnings = configured.events("settings.unknown")
    assert {warning["level"] for warning in warnings} == {"warning"}
    named = sorted(warning["variable"] for warning in warnings)
    assert named == ["SERVING_HANG_DELAY_S", "SERVING_REQUEST_TIMEOUT"]


def test_settings_come_from_a_file_too_and_again_and_a_model_of_another_patch_release_is_served(
    own_home: Path, tmp_path: Path
) -> None:
    other = rewrite_scikit_learn_version(
        own_home, lambda parts: [*parts[:2], str(int(parts[2]) + 1)]
    )
    project = tmp_path / "project"
    without = shutil.ignore_patterns("__pycache__")  # in which other processes write
    shutil.copytree(ROOT / "serving", project / "serving", ignore=without)
    for name in ("service.py", "bentofile.yaml", "configuration.yaml"):
        shutil.copy(ROOT / name, project)
    (project / ".env").write_text("SERVING_MAX_BATCH_ROWS=2\nSERVING_MAX_BODY_BYTES=10\n")
    # The environment goes first.
    settings = {"SERVING_MAX_BODY_BYTES": "1000"}
    with serving(own_home, tmp_path / "output", project, **settings) as server:
        for rows, status in ((2, 200), (3, 413)):
            assert server.ask([ROW] * rows, BATCH).status_code == status
        assert any(line["level"] == "warning" and other in line["event"] for line in server.lines())
        (project / ".env").write_text("SERVING_DIALECTS=v3\n")
        server.reload()
        (told,) = eventually("a refusal", lambda: server.events("reload.refused"))
        assert "no dialect 'v3'" in told["reason"]
        assert (server.ask(ROW).status_code, server.started()) == (200, 1)


def test_a_version_of_a_model_can_be_named(home: Path, configured: Server) -> None:
    version = model_file(home, "description.json").parent.name
    assert configured.http.get("/model/info").json()["version"] == version


def test_the_environment_of_these_tests_sets_nothing(home: Path) -> None:
    own = environment(home)
    assert not [name for name in own if name.startswith(("SERVING_", "AIP_", "SAGEMAKER_"))]
    assert [name for name in own if name.startswith("BENTOML_")] == ["BENTOML_HOME"]


def test_servers_compute_with_the_kernels_of_these_tests(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "", "MKL_CBWR": "AVX2"}
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for name, value in (kernels | threads).items():
        monkeypatch.setenv(name, value)
    own = environment(home)
    assert own.items() >= kernels.items()
    assert own.keys().isdisjoint(threads)


# What computes the model


def test_a_model_that_is_not_compiled_is_refused_where_only_that_is_wanted(home: Path) -> None:
    said = refused(home, SERVING_MODEL="fragile", SERVING_RUNTIME="onnx")
    assert_one_clear_line(said, "fragile", "SERVING_RUNTIME=onnx")


def test_the_estimator_answers_as_the_compiled_model_does(
    server: Server, configured: Server
) -> None:
    answers = {}
    for runtime, asked in (("sklearn", configured), ("onnx", server)):
        assert asked.http.get("/model/info").json()["runtime"]["name"] == runtime
        answers[runtime] = asked.ask(ROW).json()
        (loaded,) = asked.events("model.loaded")
        assert loaded["runtime"] == runtime
    one, other = answers.values()
    assert one["prediction"] == other["prediction"]
    assert one["probabilities"] == pytest.approx(other["probabilities"], rel=1e-12, abs=1e-12)


def train_trees(home: Path) -> None:
    run_python(home, "train.py", "--name", "trees", "--estimator", "DecisionTreeClassifier")


def test_an_exact_model_is_served_without_scikit_learn(tmp_path: Path) -> None:
    home = copy_of(train_trees, "trees", tmp_path)
    with serving(home, tmp_path / "output", SERVING_MODEL="trees") as server:
        assert server.ask(ROW).status_code == 200
        libraries = Path(f"/proc/{server.worker()}/maps").read_text()
    assert "onnxruntime" in libraries
    assert "sklearn" not in libraries
