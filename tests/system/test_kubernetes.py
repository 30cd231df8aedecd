"""The manifests: rendered by kustomize, validated strictly, and held against what they lean on.

Kubernetes itself checks types alone. What belongs together across files, and to the service's own
settings, is checked here; `tests/image/test_kubernetes.py` runs a pod.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import uvicorn

from serving.door.auth import new_key
from serving.host.life import HANG_DELAY_S
from serving.host.supervisor import MARGIN_S
from serving.settings import PREFIX, Settings, variable_of
from tests.kubernetes import (
    KEYS_FILE,
    MANIFESTS,
    REDIS_FILE,
    Object,
    Rendered,
    copy,
    kustomize,
    quantity,
    render,
)
from tests.server import BIN, ROW, eventually, free_port, serving

OLDEST, NEWEST = "1.30", "1.37"  # of Kubernetes: `sleep` came with the one, the other is known
KEY, ENTRY = new_key("alice")
REDIS_PASSWORD = "0123456789abcdef"  # noqa: S105 (of a server that ends with the test)
SERVER_ENDS_S = 2.0  # of which it takes some tenths


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the manifests and an operator's files."""
    return copy(tmp_path_factory.mktemp("manifests"), f"{ENTRY}\n", REDIS_PASSWORD)


@pytest.fixture(scope="module")
def rendered(folder: Path) -> Rendered:
    """Give all objects."""
    return render(folder)


@pytest.fixture
def settings(rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read the settings of a pod, as the service would."""
    for name, value in local_variables(rendered, tmp_path).items():
        monkeypatch.setenv(name, value)
    return Settings()


def local_variables(rendered: Rendered, folder: Path) -> dict[str, str]:
    """Give a pod's variables, with its mounted keys in a folder."""
    variables = rendered.variables()
    (keys,) = rendered.of("Secret")[:1]
    file = Path(variables["SERVING_API_KEYS_FILE"])
    assert file.name in keys["data"]
    local = folder / file.name
    local.write_text(rendered.secret(keys["metadata"]["name"])[file.name])
    return variables | {"SERVING_API_KEYS_FILE": str(local)}


def validated(manifests: Path, version: str) -> subprocess.CompletedProcess[str]:
    """Validate a file against a version of Kubernetes."""
    command = [str(BIN / "kubernetes-validate"), "--strict", "-k", version, str(manifests)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_strict_validation_finds_nothing(rendered: Rendered, tmp_path: Path, version: str) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(rendered.text)
    done = validated(file, version)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed ") == len(rendered.objects)


def test_strict_validation_finds_a_misspelt_field(rendered: Rendered, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(rendered.text.replace("maxUnavailable: 1", "maxUnavailabel: 1"))
    assert validated(file, NEWEST).returncode != 0


@pytest.mark.parametrize("missing", [KEYS_FILE, REDIS_FILE])
def test_nothing_is_applied_without_an_operators_secrets(tmp_path: Path, missing: str) -> None:
    folder = copy(tmp_path, f"{ENTRY}\n", REDIS_PASSWORD)
    (folder / missing).unlink()
    done = kustomize(folder)
    assert done.returncode != 0
    assert missing in done.stderr
    assert done.stdout == ""


def test_the_repository_holds_no_secret() -> None:
    ignored = (MANIFESTS / ".gitignore").read_text().split()
    assert {KEYS_FILE, REDIS_FILE} <= set(ignored)
    for file in MANIFESTS.glob("*.yaml"):
        assert "kind: Secret\n" not in file.read_text()


def test_other_keys_make_other_pods(rendered: Rendered, tmp_path: Path) -> None:
    _, bob = new_key("bob")
    changed = render(copy(tmp_path, f"{ENTRY}\n{bob}\n", REDIS_PASSWORD))
    assert changed.pod() != rendered.pod()
    assert changed.pod("model-api-redis") == rendered.pod("model-api-redis")


def test_all_variables_are_settings_of_the_service(rendered: Rendered, settings: Settings) -> None:
    known = set(map(variable_of, Settings.model_fields))
    set_here = {name for name in rendered.variables() if name.startswith(PREFIX)}
    assert set_here <= known
    assert [key.name for key in settings.clients] == ["alice"]
    assert not settings.counts_alone
    assert settings.threads == int(rendered.container()["resources"]["limits"]["cpu"])


def test_all_that_select_a_pod_select_the_same_ones(rendered: Rendered) -> None:
    for name in ("model-api", "model-api-redis"):
        labels = rendered.pod(name)["metadata"]["labels"].items()
        selector = rendered.one("Deployment", name)["spec"]["selector"]["matchLabels"]
        assert selector.items() <= labels
        assert rendered.one("Service", name)["spec"]["selector"] == selector
    ours = rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    for constraint in rendered.pod()["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == ours
    assert rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == ours
    policy = rendered.one("NetworkPolicy", "model-api-redis")["spec"]
    redis_s = rendered.one("Deployment", "model-api-redis")["spec"]["selector"]["matchLabels"]
    assert policy["podSelector"]["matchLabels"] == redis_s
    assert policy["ingress"][0]["from"] == [{"podSelector": {"matchLabels": ours}}]
    assert not ours.items() <= rendered.pod("model-api-redis")["metadata"]["labels"].items()


def test_ports_that_are_named_are_there(rendered: Rendered) -> None:
    for name in ("model-api", "model-api-redis"):
        container = rendered.container(name)
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        (port,) = rendered.one("Service", name)["spec"]["ports"]
        assert port["targetPort"] in named
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container.get(probe, {"httpGet": {"port": port["targetPort"]}})
            assert (
                next(asked[how] for how in ("httpGet", "tcpSocket") if how in asked)["port"]
                in named
            )
    annotations = rendered.pod()["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(
        rendered.container()["ports"][0]["containerPort"]
    )
    (port,) = rendered.one("Service", "model-api-redis")["spec"]["ports"]
    host = rendered.variables()["SERVING_RATE_LIMIT_STORAGE"].partition("@")[2]
    assert host == f"model-api-redis:{port['port']}/0"


def test_the_grace_period_is_enough_for_all_that_a_pod_does_at_its_end(
    rendered: Rendered, settings: Settings
) -> None:
    sleep_s = rendered.container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    periods_s = (sleep_s, settings.drain_delay_s, settings.drain_timeout_s, MARGIN_S)
    grace_s = rendered.pod()["spec"]["terminationGracePeriodSeconds"]
    assert grace_s >= sum(periods_s) + SERVER_ENDS_S
    assert settings.drain_timeout_s > settings.request_timeout_s
    assert settings.drain_delay_s > uvicorn.Config("").timeout_keep_alive  # of idle connections


def test_a_pod_that_hangs_has_ended_itself_before_it_is_killed(
    rendered: Rendered, settings: Settings
) -> None:
    probe = rendered.container()["livenessProbe"]
    killed_after_s = (probe["failureThreshold"] - 1) * probe["periodSeconds"] + probe[
        "timeoutSeconds"
    ]
    # Its watchdog ticks each second, and a thread in C waits for as long once more.
    assert killed_after_s > settings.request_timeout_s + HANG_DELAY_S + 2
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = rendered.container()[name]
        assert probe["timeoutSeconds"] <= probe["periodSeconds"]


@pytest.mark.parametrize("name", ["model-api", "model-api-redis"])
def test_pods_have_no_rights(rendered: Rendered, name: str) -> None:
    """They keep to the Pod Security Standard *restricted*, and to more."""
    pod, container = rendered.pod(name)["spec"], rendered.container(name)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {next(iter(volume.keys() - {"name"})) for volume in pod.get("volumes", [])} <= {
        "emptyDir",
        "secret",
    }


@pytest.mark.parametrize("name", ["model-api", "model-api-redis"])
def test_memory_is_bounded_and_asked_for_in_full(rendered: Rendered, name: str) -> None:
    resources = rendered.container(name)["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    in_memory = [
        quantity(volume["emptyDir"]["sizeLimit"])
        for volume in rendered.pod(name)["spec"].get("volumes", [])
        if "emptyDir" in volume
    ]
    assert sum(in_memory) < quantity(resources["limits"]["memory"]) / 2


@pytest.mark.parametrize("name", ["model-api", "model-api-redis"])
def test_images_are_named_in_one_place_with_a_tag_that_stays(rendered: Rendered, name: str) -> None:
    container = rendered.container(name)
    _, colon, tag = container["image"].rpartition(":")
    assert colon
    assert tag not in ("", "latest")
    assert container["imagePullPolicy"] == "IfNotPresent"
    for file in MANIFESTS.glob("*.yaml"):
        if file.name != "kustomization.yaml":
            assert container["image"] not in file.read_text()


def test_the_autoscaler_alone_sets_the_replicas_and_one_may_always_go(rendered: Rendered) -> None:
    autoscaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert "replicas" not in rendered.one("Deployment")["spec"]
    target = rendered.one("Deployment")
    assert autoscaler["scaleTargetRef"] == {
        "apiVersion": target["apiVersion"],
        "kind": "Deployment",
        "name": "model-api",
    }
    assert "cpu" in rendered.container()["resources"]["requests"]  # its percentages are of that
    unavailable = rendered.one("PodDisruptionBudget")["spec"]["maxUnavailable"]
    assert autoscaler["minReplicas"] - unavailable >= 1
    assert target["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@contextmanager
def redis_of(rendered: Rendered, folder: Path) -> Iterator[redis.Redis]:
    """Run a real Redis with the arguments of the manifest."""
    port = free_port()
    local = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen(
        [*rendered.arguments("model-api-redis"), *local],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis(port=port, password=REDIS_PASSWORD)

    def answers() -> bool:
        with suppress(redis.ConnectionError):
            return bool(client.ping())
        return False

    try:
        eventually("a Redis that answers", answers)
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


def test_redis_takes_its_arguments_and_asks_for_the_password(
    rendered: Rendered, tmp_path: Path
) -> None:
    with redis_of(rendered, tmp_path) as client:
        info: Any = client.info()
        assert info["maxmemory_policy"] == "noeviction"
        limit = quantity(rendered.container("model-api-redis")["resources"]["limits"]["memory"])
        assert 0 < info["maxmemory"] <= limit / 2
        assert client.config_get("save") == {"save": ""}
        port = client.connection_pool.connection_kwargs["port"]
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_a_server_with_a_pods_settings_counts_in_that_redis_and_ends_in_time(
    home: Path, rendered: Rendered, tmp_path: Path
) -> None:
    with redis_of(rendered, tmp_path) as client:
        variables = local_variables(rendered, tmp_path)
        port = client.connection_pool.connection_kwargs["port"]
        url = variables["SERVING_RATE_LIMIT_STORAGE"]
        here = url.replace("model-api-redis:6379", f"127.0.0.1:{port}")
        assert here != url
        own = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
        settings = {**own, "SERVING_RATE_LIMIT_STORAGE": here, "SERVING_RATE_LIMIT": "100/minute"}
        with serving(home, tmp_path / "output", **settings) as server:
            assert server.http.post("/predict", json={"data": ROW}).status_code == 401
            server.http.headers["X-API-Key"] = KEY
            assert server.http.post("/predict", json={"data": ROW}).status_code == 200
            assert client.keys("model-api:key/alice/*")
            assert server.metric("serving_quota_storage_up") == 1
            assert server.events("settings.unknown") == []
            begun_s = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.ended() == 0
            took_s = time.monotonic() - begun_s
        pod: Object = rendered.pod()["spec"]
        sleep_s = rendered.container()["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert float(own["SERVING_DRAIN_DELAY_S"]) <= took_s
        assert sleep_s + took_s < pod["terminationGracePeriodSeconds"]
