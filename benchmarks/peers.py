"""The table of servers: this service as it is compared, variants of it, and its peers.

To add a peer, add a ``Server`` here, and its pinned ``requirements-NAME.txt``: the start command,
its port, and, when its HTTP shape differs, the path, the request body and how to read an answer.
"""

import hashlib
from dataclasses import replace
from typing import Any

from benchmarks.servers import HERE, ROOT, Answer, Server

KEY = "a-key-of-the-benchmark"
CLASSES = ("setosa", "versicolor", "virginica")
STACK = ("uvicorn", "scikit-learn", "numpy", "lightgbm")


def first(predictions: Any) -> Answer:  # noqa: ANN401 (any JSON)
    """Read the answer for the only row of a list."""
    return predictions[0]["prediction"], predictions[0]["probabilities"]


def most_probable(document: Any) -> Answer:  # noqa: ANN401 (any JSON)
    """Read an answer of MLflow's protocol that has the probabilities of the only row of a list."""
    return of_probabilities(document["predictions"][0])


def open_inference(document: Any) -> Answer:  # noqa: ANN401 (any JSON)
    """Read an answer of the Open Inference Protocol: its outputs have no names of classes.

    What asks a booster has no label in it either.
    """
    *labels, probabilities = (output["data"] for output in document["outputs"])
    label, by_name = of_probabilities(probabilities)
    return labels[0][0] if labels else label, by_name


def of_probabilities(row: list[float]) -> Answer:
    """Give the most probable class, and each one's probability."""
    by_name = dict(zip(CLASSES, row, strict=True))
    return max(CLASSES, key=lambda name: by_name[name]), by_name


OURS = Server(
    name="ours",
    title="this service",
    command="bentoml serve service:ModelApi --port {port}",
    port=8100,
    environment=ROOT / ".venv",
    packages=("bentoml", *STACK, "onnxruntime"),
    folder=ROOT,
    variables={
        "SERVING_API_KEYS": f"bench:{hashlib.sha256(KEY.encode()).hexdigest()}",
        "SERVING_RATE_LIMIT": "10000000/minute",  # counted, and never reached
        "SERVING_CACHE_ENTRIES": "0",
    },
    headers={"X-API-Key": KEY},
)
PLAIN = replace(
    OURS,
    name="plain",
    title="this service without keys, quotas and logs",
    variables={
        "SERVING_RATE_LIMIT": "off",
        "SERVING_LOG_LEVEL": "warning",
        "SERVING_CACHE_ENTRIES": "0",
    },
    headers={},
    is_variant=True,
)
CACHED = replace(
    OURS,
    name="cached",
    title="this service from its cache",
    variables={**OURS.variables, "SERVING_CACHE_ENTRIES": "10000"},
    is_variant=True,
)
UNWATCHED = replace(
    OURS,
    name="unwatched",
    title="this service without drift",
    variables={**OURS.variables, "SERVING_DRIFT": "off"},
    is_variant=True,
)
PEERS = (
    Server(
        name="fastapi",
        title="FastAPI by hand",
        command="uvicorn fastapi_server:app --host 127.0.0.1 --port {port}"
        " --loop uvloop --http httptools --no-access-log",
        port=8101,
        environment=HERE / ".venv-fastapi",
        packages=("fastapi", "pydantic", *STACK),
        requirements=HERE / "requirements-fastapi.txt",
    ),
    Server(
        name="litserve",
        title="LitServe",
        command="python litserve_server.py {port}",
        port=8102,
        environment=HERE / ".venv-litserve",
        packages=("litserve", *STACK),
        requirements=HERE / "requirements-litserve.txt",
        ready="/health",
    ),
    Server(
        name="mlserver",
        title="MLServer",
        command="python mlserver_server.py",  # its settings are in the folder mlserver
        port=8103,
        environment=HERE / ".venv-mlserver",
        packages=("mlserver", *STACK),
        requirements=HERE / "requirements-mlserver.txt",
        path="/v2/models/iris/infer",
        ready="/v2/models/iris/ready",
        body='{"inputs": [{"name": "rows", "shape": [1, 4], "datatype": "FP64", "data": [%s]}],'
        ' "outputs": [{"name": "predict"}, {"name": "predict_proba"}]}',
        read=open_inference,
    ),
    Server(
        name="mlflow",
        title="MLflow",
        command="python mlflow_server.py {port}",
        port=8104,
        environment=HERE / ".venv-mlflow",
        packages=("mlflow", *STACK),
        requirements=HERE / "requirements-mlflow.txt",
        variables={"UVICORN_ACCESS_LOG": "false"},
        path="/invocations",
        ready="/ping",
        body='{"inputs": [[%s]], "params": {"predict_method": "predict_proba"}}',
        read=most_probable,
    ),
    Server(
        name="bentoml",
        title="BentoML by its quickstart",
        command="bentoml serve bentoml_server:Classifier --host 127.0.0.1 --port {port}",
        port=8105,
        environment=HERE / ".venv-bentoml",
        packages=("bentoml", *STACK),
        requirements=HERE / "requirements-bentoml.txt",
        body='{"data": [[%s]]}',
        read=first,
    ),
)


def asked_as(peer: str, **changes: Any) -> Server:  # noqa: ANN401 (dataclasses' own)
    """Give this service as a peer is: sent the very bytes, without keys, quotas and logs."""
    asked = next(server for server in PEERS if server.name == peer)
    return replace(PLAIN, body=asked.body, read=asked.read, **changes)


V2 = asked_as(
    "mlserver",
    name="ours-v2",
    title="this service in V2",
    path="/v2/models/{model_name}/infer",
)
INVOCATIONS = asked_as(
    "mlflow",
    name="ours-invocations",
    title="this service at /invocations",
    path="/invocations",
)
SERVERS = {
    server.name: server for server in (OURS, PLAIN, CACHED, UNWATCHED, V2, INVOCATIONS, *PEERS)
}
