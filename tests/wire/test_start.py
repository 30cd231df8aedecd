"""What a server refuses to start with, and how it says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server import ROOT, ROW, Refusal, environment, refused, run_python, serving

Damage = Callable[[Path], None]


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
    assert_one_clear_line(refused(home, SERVING_MODEL="nothing:latest"), "nothing:latest", "train")
    assert_one_clear_line(refused(tmp_path), "iris:latest", "python train.py")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SERVING_REQUEST_TIMEOUT_S", "abc"),
        ("SERVING_MAX_BODY_BYTES", "1e6"),
        ("SERVING_MAX_BATCH_ROWS", "-1"),
        ("SERVING_THREADS", "0"),
        ("SERVING_LOG_LEVEL", "loud"),
        ("SERVING_TRUSTED_PROXIES", "10.0.0.0/8,nonsense"),
        ("SERVING_MODEL", "../iris"),
        ("SERVING_RATE_LIMIT_STORAGE", "redis://:hunter2@127.0.0.1?socket_timeout=abc"),
        ("SERVING_RATE_LIMIT_STORAGE", "redis://:hunter2@127.0.0.1?nonsense=1"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(
    home: Path, variable: str, value: str
) -> None:
    refusal = refused(home, **{variable: value})
    assert_one_clear_line(refusal, variable)
    assert "hunter2" not in refusal.complaints[0]


def test_each_wrong_value_has_its_line(home: Path) -> None:
    refusal = refused(home, SERVING_THREADS="x", SERVING_LOG_LEVEL="x")
    assert refusal.exit_code != 0
    assert sorted(line.partition(":")[0] for line in refusal.complaints) == [
        "SERVING_LOG_LEVEL",
        "SERVING_THREADS",
    ]


def test_a_model_of_another_minor_version_of_scikit_learn_is_refused(own_home: Path) -> None:
    other = rewrite_scikit_learn_version(
        own_home, lambda parts: [parts[0], str(int(parts[1]) - 1), *parts[2:]]
    )
    assert_one_clear_line(refused(own_home), other, "iris:", "train")


def test_a_model_of_another_patch_release_is_served_with_a_warning(
    own_home: Path, tmp_path: Path
) -> None:
    other = rewrite_scikit_learn_version(
        own_home, lambda parts: [*parts[:2], str(int(parts[2]) + 1)]
    )
    with serving(own_home, tmp_path / "output") as server:
        assert server.http.post("/predict", json={"data": ROW}).status_code == 200
        assert any(line["level"] == "warning" and other in line["event"] for line in server.lines())


def change_pickle(home: Path) -> None:
    file = model_file(home, "saved_model.pkl")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_pickle(home: Path) -> None:
    file = model_file(home, "saved_model.pkl")
    file.write_bytes(file.read_bytes()[:100])


def drop_pickle(home: Path) -> None:
    model_file(home, "saved_model.pkl").unlink()


def drop_description(home: Path) -> None:
    model_file(home, "description.json").unlink()


def cut_description(home: Path) -> None:
    file = model_file(home, "description.json")
    file.write_text(file.read_text()[:100])


def forget_versions(home: Path) -> None:
    file = model_file(home, "description.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"versions": {}}))


def no_version(home: Path) -> None:
    rewrite_scikit_learn_version(home, lambda _: ["nonsense"])


@pytest.mark.parametrize(
    "damage",
    [
        change_pickle,
        cut_pickle,
        drop_pickle,
        drop_description,
        cut_description,
        forget_versions,
        no_version,
    ],
)
def test_a_damaged_model_is_refused(own_home: Path, damage: Damage) -> None:
    damage(own_home)
    assert_one_clear_line(refused(own_home), "model iris:")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"BENTOML_CONTAINERIZED": "true"},
        {"BENTOML_CONFIG_OPTIONS": "services.ModelApi.workers=2", "SERVING_RATE_LIMIT": "off"},
    ],
    ids=["one worker", "in a container", "two workers"],
)
def test_a_model_that_can_not_be_unpickled_is_refused(home: Path, settings: dict[str, str]) -> None:
    refusal = refused(home, SERVING_MODEL="unloadable", **settings)
    assert_one_clear_line(refusal, "unloadable", "unpickled")


def test_a_misspelt_variable_is_warned_about(home: Path, tmp_path: Path) -> None:
    with serving(home, tmp_path / "output", SERVING_REQUEST_TIMEOUT="5") as server:
        (warning,) = server.events("settings.unknown")
        assert (warning["level"], warning["variable"]) == ("warning", "SERVING_REQUEST_TIMEOUT")


def test_settings_come_from_a_file_too_and_the_environment_goes_first(
    home: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "serving", project / "serving")
    for name in ("service.py", "bentofile.yaml", "configuration.yaml"):
        shutil.copy(ROOT / name, project)
    (project / ".env").write_text("SERVING_MAX_BATCH_ROWS=2\nSERVING_MAX_BODY_BYTES=10\n")
    output = tmp_path / "output"
    with serving(home, output, project, SERVING_MAX_BODY_BYTES="1000") as server:
        for rows, status in ((2, 200), (3, 413)):
            answer = server.http.post("/predict/batch", json={"data": [ROW] * rows})
            assert answer.status_code == status


def test_a_version_of_a_model_can_be_named(home: Path, tmp_path: Path) -> None:
    version = model_file(home, "description.json").parent.name
    with serving(home, tmp_path / "output", SERVING_MODEL=f"iris:{version}") as server:
        assert server.http.get("/model/info").json()["version"] == version


def test_the_environment_of_these_tests_sets_nothing(home: Path) -> None:
    own = environment(home)
    assert not [name for name in own if name.startswith("SERVING_")]
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


def test_the_estimator_answers_as_the_compiled_model_does(home: Path, tmp_path: Path) -> None:
    answers = {}
    for runtime in ("sklearn", "onnx"):
        with serving(home, tmp_path / runtime, SERVING_RUNTIME=runtime) as server:
            assert server.http.get("/model/info").json()["runtime"]["name"] == runtime
            answers[runtime] = server.http.post("/predict", json={"data": ROW}).json()
            (loaded,) = server.events("model.loaded")
            assert loaded["runtime"] == runtime
    one, other = answers.values()
    assert one["prediction"] == other["prediction"]
    assert one["probabilities"] == pytest.approx(other["probabilities"], rel=1e-12, abs=1e-12)


def test_an_exact_model_is_served_without_scikit_learn(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run_python(home, "train.py", "--name", "trees", "--estimator", "DecisionTreeClassifier")
    with serving(home, tmp_path / "output", SERVING_MODEL="trees") as server:
        assert server.http.post("/predict", json={"data": ROW}).status_code == 200
        libraries = Path(f"/proc/{server.worker()}/maps").read_text()
    assert "onnxruntime" in libraries
    assert "sklearn" not in libraries
