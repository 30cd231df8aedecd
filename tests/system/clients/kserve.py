"""Ask as users of KServe's own client do, in both versions of its protocol."""

import asyncio
from typing import Any, TypeAlias

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from tests.system.clients.asking import V1, V2, Answer, Model, Row, Told, answer_with

Array: TypeAlias = np.ndarray[Any, Any]
DTYPES = {"FP64": np.float64, "FP32": np.float32, "INT64": np.int64, "BYTES": np.object_}


def tensor(name: str, values: Array, datatype: str, binary: bool = True) -> InferInput:
    """Make an input from an array; a string that is missing is an empty one."""
    if datatype == "BYTES":
        values = np.where(values == None, "", values)  # noqa: E711 (of each element)
    made = InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values.astype(DTYPES[datatype]), binary_data=binary)
    return made


def datatypes(model: Model) -> dict[str, str]:
    """Tell the datatype of each feature, as a user who knows the data would."""
    (first, *_) = model.named(model.complete)
    return {name: "BYTES" if isinstance(one, str) else "FP64" for name, one in first.items()}


def matrix(model: Model, rows: list[Row], datatype: str) -> list[InferInput]:
    """Put all numbers into one input."""
    return [tensor("input-0", np.array(rows).reshape(-1, len(model.features)), datatype)]


def arrays(model: Model, rows: list[Row], binary: bool) -> list[InferInput]:
    """Make an input for each feature."""
    kinds = datatypes(model)
    return [
        tensor(name, np.array(column, dtype=object).reshape(-1, 1), kinds[name], binary)
        for name, column in model.columns(rows).items()
    ]


def lists(model: Model, rows: list[Row]) -> list[InferInput]:
    """Make an input for each feature of plain lists, in which what is missing is null."""
    kinds = datatypes(model)
    return [
        InferInput(name, [len(column)], kinds[name], data=column)
        for name, column in model.columns(rows).items()
    ]


def read(response: InferResponse) -> Answer:
    """Give all outputs: this client has flattened them."""
    return {
        output.name: [one for (one,) in values] if output.name == "predict" else values
        for output in response.outputs
        for values in [np.array(output.data, dtype=object).reshape(output.shape).tolist()]
    }


async def infer(
    client: InferenceRESTClient,
    model: Model,
    inputs: list[InferInput],
    **options: Any,  # noqa: ANN401 (the client's own)
) -> Answer:
    """Ask in the second version."""
    request = InferRequest(model.name, inputs, **options)
    return read(await client.infer(model.url, request, model_name=model.name))


async def second(client: InferenceRESTClient, model: Model) -> Told:
    """Ask for each kind of rows in each way of the second version that suits them."""
    binary = [RequestedOutput(name, {"binary_data": True}) for name in model.outputs]
    told: Told = {
        "complete": {
            "binary in": await infer(client, model, arrays(model, model.complete, binary=True)),
            "binary in and out": await infer(
                client, model, arrays(model, model.complete, binary=True), request_outputs=binary
            ),
            "all outputs binary": await infer(
                client,
                model,
                arrays(model, model.complete, binary=False),
                parameters={"binary_data_output": True},
            ),
            "JSON": await infer(client, model, arrays(model, model.complete, binary=False)),
        },
        "gaps": {
            "binary in": await infer(client, model, arrays(model, model.gaps, binary=True)),
            "lists": await infer(client, model, lists(model, model.gaps)),
        },
    }
    if "BYTES" not in datatypes(model).values():
        for rows, datatype in {"single": "FP32", "whole": "INT64"}.items():
            inputs = matrix(model, getattr(model, rows), datatype)
            told[rows] = {datatype: await infer(client, model, inputs)}
    return told


async def first(client: InferenceRESTClient, model: Model, instances: list[Any]) -> Answer:
    """Ask in the first version, once for each output."""
    answer: Answer = {}
    for method in model.outputs:
        data = {"instances": instances, "parameters": {"predict_method": method}}
        told = await client.infer(model.url, data, model_name=model.name)
        answer[method] = told["predictions"]
    return answer


async def refusal(
    client: InferenceRESTClient, model: Model, data: InferRequest | dict[str, Any]
) -> list[Any]:
    """Ask with a row that is too wide, and tell what the client says of it."""
    try:
        await client.infer(model.url, data, model_name=model.name)
    except httpx.HTTPStatusError as exc:
        return [exc.response.status_code, str(exc)]
    return []


async def about(client: InferenceRESTClient, model: Model) -> Told:
    """Ask for what is no prediction."""
    return {
        "live": await client.is_server_live(model.url),
        "model is ready": await client.is_model_ready(model.url, model.name),
    }


async def ask_second(model: Model) -> Told:
    """Ask all that there is in the second version."""
    wide = np.ones((1, len(model.features) + 1))
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        is_ready = await client.is_server_ready(model.url)
        return {
            "answers": await second(client, model),
            "about": {**await about(client, model), "ready": is_ready},
            "refusal": await refusal(
                client, model, InferRequest(model.name, [tensor("rows", wide, "FP64")])
            ),
        }


async def ask_first(model: Model) -> Told:
    """Ask all that there is in the first version."""
    wide = {"instances": [[1.0] * (len(model.features) + 1)]}
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        return {
            "answers": {
                kind: {
                    "lists": await first(client, model, rows),
                    "objects": await first(client, model, model.named(rows)),
                }
                for kind, rows in {"complete": model.complete, "gaps": model.gaps}.items()
            },
            "about": await about(client, model),
            "refusal": await refusal(client, model, wide),
        }


def ask(model: Model) -> Told:
    """Ask about a model all that this client can ask."""
    return {V2: asyncio.run(ask_second(model)), V1: asyncio.run(ask_first(model))}


if __name__ == "__main__":
    answer_with(ask)
