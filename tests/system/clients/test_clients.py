"""Other servers' clients get from this service what `/predict` answers, bit for bit.

Needs the clients' environments, which ``make test-system`` makes. What each client asks stands in
its script, which is run once, about all models.
"""

import json
from typing import Any

import pytest

from tests.system.clients.asking import INVOCATIONS, V1, V2, Told
from tests.system.clients.conftest import Served, tell

VETIVER = "vetiver"  # asks for labels alone, and shows no words of a refusal
CLIENTS = ("triton", "kserve", "mlflow", "mlserver", VETIVER)
ALL = pytest.mark.parametrize("client", CLIENTS, scope="module")
WITH_WORDS = pytest.mark.parametrize("client", CLIENTS[:-1], scope="module")
MODELS = pytest.mark.parametrize("name", ["iris", "penguins", "diabetes"])


@pytest.fixture(scope="module")
def told(client: str, served: dict[str, Served]) -> dict[str, Told]:
    """Give what a client tells of each model."""
    return tell(client, [each.model for each in served.values()])


def wide(served: Served, path: str) -> dict[str, Any]:
    """Give a body with a row that has one value too many, as a path's clients send it."""
    row = [1.0] * (len(served.model.features) + 1)
    tensor = {"name": "rows", "shape": [1, len(row)], "datatype": "FP64", "data": row}
    bodies: dict[str, dict[str, Any]] = {
        V2: {"inputs": [tensor]},
        V1: {"instances": [row]},
        INVOCATIONS: {"inputs": [row]},
    }
    return bodies[path]


@ALL
@MODELS
def test_each_way_to_ask_gives_what_predict_gives(
    told: dict[str, Told], served: dict[str, Served], client: str, name: str
) -> None:
    model = served[name].model
    outputs = ["predict"] if client == VETIVER else model.outputs
    for found in told[name].values():
        kinds = found["answers"]
        assert set(kinds) >= ({"complete", "gaps"} if model.gaps else {"complete"})
        for kind, answers in kinds.items():
            expected = {output: served[name].expected(kind)[output] for output in outputs}
            for way, answer in answers.items():
                assert list(answer) == outputs, f"{kind} rows, {way}"
                assert answer == expected, f"{kind} rows, {way}"


@WITH_WORDS
@MODELS
def test_a_refusal_reaches_the_user_in_the_servers_words(
    told: dict[str, Told], served: dict[str, Served], name: str
) -> None:
    for path, found in told[name].items():
        refused = served[name].server.http.post(path.format(name), json=wide(served[name], path))
        status, words = found["refusal"]
        assert (status, refused.status_code) == (400, 400)
        assert json.dumps(refused.json()["error"]).strip('"') in words


@pytest.mark.parametrize("client", ["triton"], scope="module")
@MODELS
def test_tritonclient_understands_each_kind_of_refusal(told: dict[str, Told], name: str) -> None:
    refusals = told[name][V2]["refusals"]
    statuses = {"stranger": 404, "output": 400, "deflate": 415, "unload": 400, "config": 404}
    assert {what: status for what, (status, _) in refusals.items()} == statuses
    for _, words in refusals.values():
        assert words
        assert "exception occurred in the client" not in words


@pytest.mark.parametrize("client", ["triton"], scope="module")
@MODELS
def test_tritonclient_finds_out_what_the_model_is(
    told: dict[str, Told], served: dict[str, Served], name: str
) -> None:
    about, model = told[name][V2]["about"], served[name].model
    yes = ("live", "ready", "model is ready", "version is ready")
    assert [about[question] for question in yes] == [True] * len(yes)
    assert about["stranger is ready"] is False
    assert about["server"]["name"] == "model-api"
    assert "binary_tensor_data" in about["server"]["extensions"]
    assert about["model"] == about["version"]
    assert about["model"]["versions"] == [model.version]
    assert [output["name"] for output in about["model"]["outputs"]] == model.outputs
    if model.is_classifier:
        classes = served[name].server.http.get("/model/info").json()["classes"]
        assert json.loads(about["model"]["properties"]["classes"]) == classes
    models = served[name].server.http.get("/models").json()["models"]
    index = {(each["name"], each["version"]): each["state"] for each in about["index"]}
    assert index == {(each["name"], each["version"]): "READY" for each in models}
    assert (name, model.version) in index
    over_asyncio = told[name][V2]["about, over asyncio"]
    assert over_asyncio == {question: about[question] for question in over_asyncio}


@pytest.mark.parametrize("client", ["kserve"], scope="module")
@MODELS
def test_the_client_of_kserve_finds_server_and_model_ready(
    told: dict[str, Told], name: str
) -> None:
    assert set(told[name][V2]["about"].values()) == {True}
    assert set(told[name][V1]["about"].values()) == {True}


@pytest.mark.parametrize("client", ["mlflow"], scope="module")
@MODELS
def test_the_client_of_mlflow_is_told_the_version_of_the_server(
    told: dict[str, Told], served: dict[str, Served], name: str
) -> None:
    version = served[name].server.http.get("/v2").json()["version"]
    assert told[name][INVOCATIONS]["version"] == version
