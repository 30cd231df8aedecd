"""The Deployment of deploy/kubernetes, run by `podman play kube` as far as that goes.

What Podman does of it: the container with its variables, rights, limits and mounts. It starts one
pod, since there are no replicas; knows no `preStop`, grace period, `fsGroup` or memory for
`emptyDir`; and makes commands of the probes that call curl, which the image does not have: so the
probes are taken out, and asked here. Podman 4.3 does not expand `$(NAME)` either, and gets secrets
wrong: the pod gets plain values, and its keys from a ConfigMap.
"""

import os
import shutil
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from serving.door.auth import new_key
from tests.image.container import Container, ask, inspect
from tests.kubernetes import Object, Rendered, copy, quantity, render
from tests.server import ROW, eventually, free_port

NAME = "model-api-kube-test"
KEY, ENTRY = new_key("alice")
REDIS_PASSWORD = "fedcba9876543210"  # noqa: S105 (of a Redis that is not there)

pytestmark = pytest.mark.skipif(
    shutil.which("podman") is None, reason="of the engines, only Podman runs Kubernetes' objects"
)


@pytest.fixture(scope="module")
def image_name(request: pytest.FixtureRequest) -> str:
    """Give the image that is run: the one that `IMAGE` names, else the one that the tests build."""
    return os.environ.get("IMAGE") or str(request.getfixturevalue("image").name)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Give what would be applied to a cluster."""
    return render(copy(tmp_path_factory.mktemp("manifests"), f"{ENTRY}\n", REDIS_PASSWORD))


def for_podman(rendered: Rendered, image: str, port: int) -> list[Object]:
    """Give the Deployment as Podman takes it, on a port, and the keys that it mounts."""
    deployment = deepcopy(rendered.one("Deployment"))
    deployment["metadata"]["name"] = NAME
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    container["image"] = f"localhost/{image}" if "/" not in image else image
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        del container[probe]
    del container["ports"]  # on the host's network there is nothing to publish
    variables = rendered.variables() | {"BENTOML_PORT": str(port)}
    container["env"] = [{"name": name, "value": value} for name, value in variables.items()]
    names = {volume["name"]: f"{NAME}-{volume['name']}" for volume in spec["volumes"]}
    for mount in container["volumeMounts"]:
        mount["name"] = names[mount["name"]]  # they become volumes of the whole machine
    configs = []
    for volume in spec["volumes"]:
        volume["name"] = names[volume["name"]]
        if secret := volume.pop("secret", None):
            volume["configMap"] = {"name": volume["name"]}
            configs.append(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": volume["name"]},
                    "data": rendered.secret(secret["secretName"]),
                }
            )
    return [*configs, deployment]


@pytest.fixture(scope="module")
def pod(
    rendered: Rendered, image_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """Run a pod that is ready; the last test ends it."""
    port = free_port()
    objects = for_podman(rendered, image_name, port)
    file = tmp_path_factory.mktemp("pod") / "pod.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    started_s = time.monotonic()
    try:
        ask("podman", "play", "kube", "--network", "host", str(file))
        pods = ("--filter", f"name=^{NAME}-pod", "--format", "{{.Names}}")
        started = Container("podman", ask("podman", "ps", *pods).strip(), port, started_s)
        eventually("a pod that is ready", started.is_ready)
        started.http.headers["X-API-Key"] = KEY
        yield started
        started.http.close()
    finally:
        ask("podman", "play", "kube", "--down", str(file))
        for config in objects[:-1]:
            ask("podman", "volume", "rm", "--force", config["metadata"]["name"])


def test_the_probes_of_the_manifest_are_answered(pod: Container, rendered: Rendered) -> None:
    took_s = time.monotonic() - pod.started_s
    startup = rendered.container()["startupProbe"]
    assert took_s < startup["failureThreshold"] * startup["periodSeconds"]
    del pod.http.headers["X-API-Key"]  # which probes have none of
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = rendered.container()[name]
        path, timeout_s = probe["httpGet"]["path"], probe["timeoutSeconds"]
        assert pod.http.get(path, timeout=timeout_s).status_code == 200
    pod.http.headers["X-API-Key"] = KEY


def test_a_pod_predicts_for_who_has_a_key_in_the_secret(pod: Container) -> None:
    answer = pod.http.post("/predict", json={"data": ROW}).raise_for_status()
    assert answer.json()["prediction"] == "setosa"
    stranger = {"X-API-Key": "another"}
    assert pod.http.post("/predict", json={"data": ROW}, headers=stranger).status_code == 401


def test_a_pod_without_redis_counts_alone_and_says_so(pod: Container) -> None:
    answer = pod.http.post("/predict", json={"data": ROW})
    assert answer.headers["ratelimit-policy"] == '"default";q=100;w=60'
    lost = [line for line in pod.lines() if line["event"] == "quotas.storage_lost"]
    assert len(lost) == 1
    metrics = pod.http.get("/metrics").text
    assert "serving_quota_storage_up 0.0" in metrics
    assert REDIS_PASSWORD not in metrics + "".join(pod.output())


def test_a_pod_has_the_rights_and_limits_of_the_manifest(
    pod: Container, rendered: Rendered
) -> None:
    limits = rendered.container()["resources"]["limits"]
    spec = rendered.pod()["spec"]["securityContext"]
    told: Any = inspect("podman", "container", pod.id)["HostConfig"]
    assert told["ReadonlyRootfs"]
    assert told["Memory"] == quantity(limits["memory"])
    assert told["NanoCpus"] == int(limits["cpu"]) * 10**9
    program = (
        "import os\n"
        "print(os.getuid(), os.getgid(), os.environ['SERVING_THREADS'])\n"
        "print(open('/proc/1/status').read())"
    )
    first, *status = pod.python(program).splitlines()
    assert first == f"{spec['runAsUser']} {spec['runAsGroup']} {limits['cpu']}"
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    unknown = [line for line in pod.lines() if line["event"] == "settings.unknown"]
    assert unknown == []


def test_a_pod_ends_well_within_what_prestop_leaves_of_its_grace_period(
    pod: Container, rendered: Rendered
) -> None:
    sleep_s = rendered.container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    left_s = rendered.pod()["spec"]["terminationGracePeriodSeconds"] - sleep_s
    delay_s = float(rendered.variables()["SERVING_DRAIN_DELAY_S"])
    begun_s = time.monotonic()
    ask("podman", "stop", "--time", str(left_s), pod.id)
    took_s = time.monotonic() - begun_s
    assert delay_s <= took_s < left_s
    assert pod.ended() == 0  # 137, had it been killed when its time was over
    assert "drain.started" in [line["event"] for line in pod.lines()]
