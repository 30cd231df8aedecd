"""The InferenceServices: they are of KServe's own types, and their pods those of deploy/kubernetes.

A cluster it has not seen. KServe makes a Deployment of it whose pods are as the predictor says
(checked here as the other manifests are), and its agreement with the service is checked by asking.
"""

import json
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from serving.settings import PREFIX, Settings, variable_of
from tests.kubernetes import Object, Rendered, copy, render
from tests.server import BIN, ROOT, Server

FILE = ROOT / "deploy" / "kserve" / "inferenceservice.yaml"
CANARY = FILE.with_name("canary.yaml")
PYTHON = ROOT / ".venv" / "clients" / "kserve" / "bin" / "python"  # of the package `kserve`
TYPES = Path(__file__).with_name("kserve_types.py")
NEWEST = "1.37"  # of Kubernetes that is known
# What of a predictor is KServe's own; the rest is a pod's.
ABOUT_PODS = {"annotations", "deploymentStrategy"}
ABOUT_NUMBERS = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}


@pytest.fixture
def document() -> Object:
    """Read the InferenceService, to be changed."""
    read: Object = yaml.safe_load(FILE.read_text())
    return read


@pytest.fixture
def container(document: Object) -> Object:
    """Give its only container."""
    (found,) = document["spec"]["predictor"]["containers"]
    return dict(found)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Give the objects of deploy/kubernetes."""
    return render(copy(tmp_path_factory.mktemp("manifests"), "", ""))


def faults(documents: list[Object]) -> list[list[str]]:
    """Hold them against KServe's types; give what of each does not suit them."""
    done = subprocess.run(
        [PYTHON, TYPES], input=json.dumps(documents), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def set_in(document: Object, place: str, value: object) -> Object:
    """Set what is at a place of a document's copy."""
    changed = deepcopy(document)
    *way, last = place.split("/")
    at: Any = changed
    for step in way:
        at = at[int(step) if isinstance(at, list) else step]
    at[last] = value
    return changed


PREDICTOR = "spec/predictor"
CONTAINER = f"{PREDICTOR}/containers/0"
WRONG = [
    (f"{PREDICTOR}/maxReplica", 3, "unknown in V1beta1PredictorSpec"),
    (f"{PREDICTOR}/scaleTarget", "60", "int expected"),
    (f"{PREDICTOR}/minReplicas", True, "int expected"),
    (f"{PREDICTOR}/containers", {}, "list expected"),
    (f"{PREDICTOR}/annotations/number", 8000, "str expected"),
    (f"{PREDICTOR}/securityContext/runAsNonRoot", "true", "bool expected"),
    (f"{PREDICTOR}/deploymentStrategy/rollingUpdate/max", 1, "unknown in V1RollingUpdate"),
    (f"{CONTAINER}/protocolVersion", "v2", "unknown in V1Container"),
    (f"{CONTAINER}/ports/0/containerPort", None, "int expected"),
    (f"{CONTAINER}/livenessProbe/httpGet", {"path": "/livez"}, "port Field required"),
]


def test_it_is_of_kserves_own_types_and_whatever_is_not_is_found(document: Object) -> None:
    wrong = [set_in(document, place, value) for place, value, _ in WRONG]
    sound, *found = faults([document, *wrong])
    assert sound == []
    for (place, _, fault), each in zip(WRONG, found, strict=True):
        (line,) = each
        assert line.startswith(f"/{place}: ")
        assert fault in line


def test_two_versions_are_of_kserves_own_types() -> None:
    runtime, service = yaml.safe_load_all(CANARY.read_text())
    canary = "spec/canary/0"
    wrong = [
        set_in(service, f"{canary}/trafficPercent", "10"),
        set_in(service, f"{canary}/predictor/models", {}),
        set_in(runtime, "spec/protocolVersions", "v2"),
    ]
    *sound, percent, models, versions = faults([runtime, service, *wrong])
    assert sound == [[], []]
    assert percent == [f"/{canary}/trafficPercent: int expected"]
    assert models == [f"/{canary}/predictor/models: unknown in V1beta1PredictorSpec"]
    assert versions == ["/spec/protocolVersions: list expected"]


def test_pods_of_two_versions_are_those_of_one(document: Object, container: Object) -> None:
    runtime, service = yaml.safe_load_all(CANARY.read_text())
    (own,) = runtime["spec"]["containers"]
    predictor, one = service["spec"]["predictor"], document["spec"]["predictor"]
    image = predictor["model"].pop("image")
    variables = [each for each in container["env"] if each["name"] != "PROTOCOL"]
    assert {**own, "image": image} == {**container, "env": variables}
    assert runtime["spec"]["volumes"] == one["volumes"]
    del one["containers"], one["volumes"]
    assert predictor.pop("model")["runtime"] == runtime["metadata"]["name"]
    assert predictor == one
    for name in ("apiVersion", "kind", "metadata"):
        assert service[name] == document[name], name


def test_kserve_takes_the_canary() -> None:
    """What its webhook asks for (validateCanarySpecs in inference_service_validation.go, 0.21)."""
    runtime, service = yaml.safe_load_all(CANARY.read_text())
    stable, (canary,) = service["spec"]["predictor"], service["spec"]["canary"]
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert "model" in stable  # and no container
    assert canary["predictor"].keys() == {"name", "model"}  # nothing that scales
    assert canary["predictor"]["name"] != stable.get("name")
    formats = [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
    for model in (stable["model"], canary["predictor"]["model"]):
        assert model["modelFormat"]["name"] in formats
    assert canary["predictor"]["model"]["image"] != stable["model"]["image"]
    assert stable["model"]["protocolVersion"] in runtime["spec"]["protocolVersions"]


def test_the_deployment_that_becomes_of_it_is_valid(document: Object, tmp_path: Path) -> None:
    predictor = document["spec"]["predictor"]
    pod = {name: part for name, part in predictor.items() if name not in ABOUT_PODS | ABOUT_NUMBERS}
    labels = {"app": "isvc.iris-predictor"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "iris-predictor"},
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": predictor["deploymentStrategy"],
            "template": {
                "metadata": {"labels": labels, "annotations": predictor["annotations"]},
                "spec": pod,
            },
        },
    }
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump(deployment))
    command = [str(BIN / "kubernetes-validate"), "--strict", "-k", NEWEST, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_pods_are_those_of_the_other_manifests_but_for_what_kserve_wants(
    document: Object, container: Object, rendered: Rendered
) -> None:
    predictor, deployment = document["spec"]["predictor"], rendered.one("Deployment")["spec"]
    pod = deployment["template"]
    for name in (
        "terminationGracePeriodSeconds",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "securityContext",
    ):
        assert predictor[name] == pod["spec"][name], name
    for name in ("ports", "resources", "securityContext", "livenessProbe", "lifecycle"):
        assert container[name] == rendered.container()[name], name
    for name in ("startupProbe", "readinessProbe"):
        assert without_path(container[name]) == without_path(rendered.container()[name]), name
    (tmp,) = predictor["volumes"]
    assert tmp in pod["spec"]["volumes"]
    assert predictor["annotations"] == pod["metadata"]["annotations"]
    assert predictor["deploymentStrategy"] == deployment["strategy"]
    autoscaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert [predictor["minReplicas"], predictor["maxReplicas"]] == [
        autoscaler["minReplicas"],
        autoscaler["maxReplicas"],
    ]
    (metric,) = autoscaler["metrics"]
    assert predictor["scaleMetric"] == metric["resource"]["name"]
    assert predictor["scaleTarget"] == metric["resource"]["target"]["averageUtilization"]


def without_path(probe: Object) -> Object:
    return probe | {"httpGet": {**probe["httpGet"], "path": ""}}


def test_its_variables_are_settings_and_end_a_pod_in_time(
    container: Object, rendered: Rendered
) -> None:
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables.pop("PROTOCOL") == "v2"
    assert variables.keys() <= set(map(variable_of, Settings.model_fields))
    for name in ("DRAIN_DELAY_S", "DRAIN_TIMEOUT_S"):
        assert variables[PREFIX + name] == rendered.variables()[PREFIX + name]


def test_what_it_asks_is_answered_by_the_service(
    document: Object, container: Object, server: Server
) -> None:
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server.http.get(container[name]["httpGet"]["path"]).status_code == 200, name
    assert server.http.get("/model/info").json()["name"] == document["metadata"]["name"]
