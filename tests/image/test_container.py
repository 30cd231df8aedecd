"""A running container: over the wire, and as an operator sees it."""

import subprocess
import time
from pathlib import Path

import pytest

from serving.door.auth import new_key
from tests.image.conftest import Image, reported
from tests.image.container import Container, ask, container, inspect, ready
from tests.server import PATIENCE_S, ROW, eventually, free_port


def test_it_becomes_ready(running: Container) -> None:
    took_s = time.monotonic() - running.started_s
    reported.append(f"a container was ready after {took_s:.1f} s")
    assert running.http.get("/readyz").status_code == 200


def test_it_predicts(running: Container) -> None:
    one = running.http.post("/predict", json={"data": ROW}).raise_for_status().json()
    many = running.http.post("/predict/batch", json={"data": [ROW, ROW]}).raise_for_status().json()
    assert one["prediction"] == "setosa"
    assert [answer["prediction"] for answer in many["predictions"]] == ["setosa", "setosa"]


@pytest.mark.parametrize(
    "path", ["/health", "/livez", "/readyz", "/model/info", "/model/card", "/docs.json", "/"]
)
def test_it_answers_what_is_asked_with_get(running: Container, path: str) -> None:
    assert running.http.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/predict", {"data": [1]}, 422), ("/predict", {}, 422), ("/nowhere", {}, 404)],
)
def test_its_errors_are_problems(running: Container, path: str, body: object, status: int) -> None:
    answer = running.http.post(path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_its_metrics_count_and_name_the_bento(running: Container, image: Image) -> None:
    running.http.post("/predict", json={"data": ROW}).raise_for_status()
    metrics = running.http.get("/metrics").text
    assert 'serving_predictions_total{class="setosa",model_name="iris"' in metrics
    assert f'service_version="{image.bento.name}"' in metrics


def test_its_log_is_json_on_stdout(running: Container) -> None:
    answer = running.http.post("/predict", json={"data": ROW})

    def logged() -> bool:
        requests = [line for line in running.lines() if line["event"] == "request.finished"]
        return answer.headers["x-request-id"] in [line["request_id"] for line in requests]

    eventually("the line of a request", logged)
    assert running.output()[1] == ""


def test_it_runs_without_rights(running: Container) -> None:
    told = running.python(
        "import os; print(os.getuid(), os.getgid(), open('/proc/1/status').read())"
    )
    assert told.startswith("10001 10001")
    fields = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


def test_its_files_cannot_be_changed(running: Container) -> None:
    program = "open('/bento/src/service.py', 'a')"
    done = subprocess.run(
        [running.engine, "exec", "--user", "0", running.id, "python", "-c", program],
        capture_output=True,
        text=True,
    )
    assert "Read-only file system" in done.stderr


def health_check(engine: str, image: Image) -> list[str]:
    """Give the command of the image's health check."""
    check = inspect(engine, "image", image.name)
    test: list[str] = (check.get("Healthcheck") or check["Config"]["Healthcheck"])["Test"]
    return test[1:]


def test_its_health_check_says_so_while_it_is_well(running: Container, image: Image) -> None:
    command = health_check(running.engine, image)
    ask(running.engine, "exec", running.id, *command)
    for variable in ("BENTOML_PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"):
        elsewhere = ("exec", "--env", f"{variable}=9", running.id, *command)
        done = subprocess.run([running.engine, *elsewhere], capture_output=True)
        assert done.returncode != 0, variable


def test_it_is_started_and_asked_as_platforms_do(engine: str, image: Image) -> None:
    platforms = {
        "SAGEMAKER_BIND_TO_PORT": str(free_port()),
        "AIP_HTTP_PORT": str(free_port()),  # which the former goes before
        "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
        "AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2",
    }
    with ready(engine, image.name, command=("serve",), **platforms) as started:
        ask(engine, "exec", started.id, *health_check(engine, image))
        for path in ("/ping", "/v2/health/ready", platforms["AIP_HEALTH_ROUTE"]):
            assert started.http.get(path).status_code == 200
        csv = {"Content-Type": "text/csv", "Accept": "text/csv"}
        rows = ",".join(map(str, ROW)) + "\n"
        assert started.http.post("/invocations", content=rows, headers=csv).text == "setosa\n"
        instances = {"instances": [ROW]}
        answer = started.http.post(platforms["AIP_PREDICT_ROUTE"], json=instances)
        assert answer.json() == {"predictions": ["setosa"]}
        tensor = {"name": "rows", "shape": [1, 4], "datatype": "FP64", "data": ROW}
        answer = started.http.post("/v2/models/iris/infer", json={"inputs": [tensor]})
        assert answer.json()["outputs"][0]["data"] == ["setosa"]


def test_it_fits_into_its_memory(running: Container) -> None:
    kilobytes = running.python(
        "import glob\n"
        "print(sum(int(line.split()[1]) for file in glob.glob('/proc/[0-9]*/smaps_rollup')"
        " for line in open(file) if line.startswith('Pss:')))"
    )
    reported.append(f"a container has {int(kilobytes) / 1000:.0f} MB of memory (PSS)")
    assert int(kilobytes) < 512_000


def test_as_any_user_settings_come_from_the_environment_and_keys_from_a_file(
    engine: str, image: Image, tmp_path: Path
) -> None:
    key, entry = new_key("alice")
    keys = tmp_path / "keys"
    keys.write_text(entry + "\n")
    keys.chmod(0o644)
    tmp_path.chmod(0o755)
    mounted = ("--volume", f"{keys}:/run/secrets/keys:ro")
    file = "/run/secrets/keys"
    with ready(
        engine,
        image.name,
        *("--user", "1000650000:0"),  # as OpenShift chooses one
        *mounted,
        SERVING_API_KEYS_FILE=file,
        SERVING_MAX_BATCH_ROWS="2",
        SERVING_RATE_LIMIT="3/hour",
    ) as started:
        assert started.http.post("/predict", json={"data": ROW}).status_code == 401
        started.http.headers["X-API-Key"] = key
        assert started.http.post("/predict", json={"data": ROW}).status_code == 200
        answer = started.http.post("/predict/batch", json={"data": [ROW] * 3})
        assert answer.status_code == 413
        statuses = [started.http.post("/predict", json={"data": ROW}).status_code for _ in range(2)]
        assert statuses == [200, 429]


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"SERVING_MAX_BATCH_ROWS": "many"}, "SERVING_MAX_BATCH_ROWS: "),
        ({"SERVING_MODEL": "another"}, "no model another"),
    ],
)
def test_a_wrong_setting_ends_it_with_a_line(
    engine: str, image: Image, settings: dict[str, str], part: str
) -> None:
    with container(engine, image.name, **settings) as started:
        assert started.ended() != 0
        (complaint,) = started.output()[1].splitlines()
        assert part in complaint


def test_as_root_sigterm_ends_it_well_and_in_time(engine: str, image: Image) -> None:
    with ready(engine, image.name, "--user", "0:0") as started:
        answer = started.http.post("/predict", json={"data": ROW}).raise_for_status()
        assert answer.json()["prediction"] == "setosa"
        begun_s = time.monotonic()
        ask(engine, "stop", "--time", str(int(PATIENCE_S)), started.id)
        reported.append(f"a container ended {time.monotonic() - begun_s:.1f} s after SIGTERM")
        assert started.ended() == 0  # 137, had it been killed when its time was over
        assert "drain.started" in [line["event"] for line in started.lines()]


@pytest.mark.parametrize("after_s", [0.2, 1.0])
def test_sigterm_ends_it_while_it_starts(engine: str, image: Image, after_s: float) -> None:
    """The system hands process 1 no signal that it has not asked for."""
    with container(engine, image.name) as started:
        time.sleep(after_s)
        ask(engine, "stop", "--time", str(int(PATIENCE_S)), started.id)
        assert started.ended() == 0  # 137, had it been killed when its time was over


def test_the_death_of_its_worker_ends_it(engine: str, image: Image) -> None:
    with ready(engine, image.name) as started:
        started.python(
            "import os, signal\n"
            "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
            "    command = open(f'/proc/{pid}/cmdline', 'rb').read().split(b'\\0')\n"
            "    if b'_bentoml_impl.worker.service' in command:\n"
            "        os.kill(int(pid), signal.SIGKILL)"
        )
        assert started.ended() != 0


def test_a_model_has_what_it_needs_and_the_code_that_came_with_it(
    engine: str, larger_image: Image
) -> None:
    with ready(engine, larger_image.name) as started:
        info = started.http.get("/model/info").json()
        example = [feature["example"] for feature in info["features"]]
        answer = started.http.post("/predict", json={"data": example}).raise_for_status()
        assert answer.json()["prediction"] in info["classes"]
        needed = [need.partition("==")[0] for need in info["requirements"]]
        assert needed == ["lightgbm", "pandas"]
        there = started.python(
            "import glob, importlib.util\n"
            "print(*glob.glob('/bento/**/my_steps/*', recursive=True), sep='\\n')\n"
            "print(importlib.util.find_spec('my_steps'))"
        )
        *files, elsewhere = there.splitlines()
        assert {file.split("/")[2] for file in files} == {"models"}
        assert {file.rpartition("/")[2] for file in files} >= {"shapes.py", "codes.json"}
        assert elsewhere == "None"
