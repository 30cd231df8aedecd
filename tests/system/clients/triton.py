"""Ask as users of tritonclient do: over gevent and over asyncio, in binary and in JSON."""

import asyncio
from collections.abc import Callable
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from tritonclient.http import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
    aio,
)
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from tests.system.clients.asking import V2, Answer, Model, Row, Told, answer_with, joined

CONNECTIONS = 4
ENCODINGS = {"binary": True, "JSON": False}
NUMBERS = {"complete": "", "blank": "", "single": "FP32", "whole": "INT64"}  # by kind of rows
Metadata = dict[str, Any]
Array: TypeAlias = np.ndarray[Any, Any]


def tensor(name: str, values: Array, datatype: str, binary: bool = True) -> InferInput:
    """Make an input; a string that is missing is an empty one, since this client has no null."""
    if datatype == "BYTES":
        values = np.where(values == None, "", values)  # noqa: E711 (of each element)
    made = InferInput(name, list(values.shape), datatype)
    typed = values.astype(triton_to_np_dtype(datatype))
    return made.set_data_from_numpy(typed, binary_data=binary)


def tensors(
    metadata: Metadata, rows: list[Row], binary: bool = True, numbers: str = ""
) -> list[InferInput]:
    """Make the inputs that the metadata ask for, with numbers of a datatype if one is given."""
    table = np.array(rows, dtype=object)
    made = []
    for place, described in enumerate(metadata["inputs"]):
        _, width = described["shape"]
        datatype = described["datatype"]
        if numbers and datatype != "BYTES":
            datatype = numbers
        values = table.reshape(len(rows), -1 if rows else width)[:, place : place + width]
        made.append(tensor(described["name"], values, datatype, binary))
    return made


def wanted(model: Model, binary: bool) -> list[InferRequestedOutput]:
    """Request each output by its name."""
    return [InferRequestedOutput(name, binary_data=binary) for name in model.outputs]


def read(result: InferResult) -> Answer:
    """Give all outputs: binary strings come as bytes, others as they are."""
    names = [output["name"] for output in result.get_response()["outputs"]]
    answer: Answer = {name: result.as_numpy(name).tolist() for name in names}
    labels = [label for (label,) in answer["predict"]]
    answer["predict"] = [one.decode() if isinstance(one, bytes) else one for one in labels]
    return answer


def answers(client: InferenceServerClient, model: Model, metadata: Metadata) -> Told:
    """Ask for each kind of rows in each way that suits them."""
    told: Told = {"complete": {}, "gaps": {}, "blank": {}, "single": {}, "whole": {}}
    for (into, sent), (out_of, got) in product(ENCODINGS.items(), ENCODINGS.items()):
        inputs = tensors(metadata, model.complete, sent)
        result = client.infer(model.name, inputs, outputs=wanted(model, got))
        told["complete"][f"{into} in, {out_of} out"] = read(result)
    for into, sent in ENCODINGS.items():
        for rows, numbers in NUMBERS.items():
            inputs = tensors(metadata, getattr(model, rows), sent, numbers)
            told[rows][f"{into} {numbers} in"] = read(client.infer(model.name, inputs))
    for out_of, got in ENCODINGS.items():
        inputs = tensors(metadata, model.gaps)
        result = client.infer(model.name, inputs, outputs=wanted(model, got))
        told["gaps"][f"{out_of} out"] = read(result)
    told["complete"] |= answers_to_options(client, model, metadata)
    return told


def answers_to_options(client: InferenceServerClient, model: Model, metadata: Metadata) -> Told:
    """Ask with what a request may have beside its tensors, and for several rows at once."""
    inputs = tensors(metadata, model.complete)
    options: dict[str, dict[str, Any]] = {
        "version": {"model_version": model.version},
        "parameters": {"priority": 1, "timeout": 5_000_000, "parameters": {"customer": "alice"}},
        "gzip": {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"},
    }
    told = {
        name: read(client.infer(model.name, inputs, **given)) for name, given in options.items()
    }
    under_way = [client.async_infer(model.name, tensors(metadata, [row])) for row in model.complete]
    told["async_infer"] = joined([read(each.get_result()) for each in under_way])
    return told


async def ask_aio(model: Model) -> tuple[Answer, Told]:
    """Ask over asyncio, for all rows at once, and what else there is to ask."""
    async with aio.InferenceServerClient(model.address) as client:
        await client.load_model(model.name)
        metadata = await client.get_model_metadata(model.name)
        requests = [
            client.infer(model.name, tensors(metadata, [row], binary=place % 2 == 0))
            for place, row in enumerate(model.complete)
        ]
        answer = joined([read(result) for result in await asyncio.gather(*requests)])
        return answer, {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model is ready": await client.is_model_ready(model.name, model.version),
            "index": await client.get_model_repository_index(),
        }


def about(client: InferenceServerClient, model: Model) -> Told:
    """Ask for all that is no prediction."""
    client.load_model(model.name)
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model is ready": client.is_model_ready(model.name),
        "version is ready": client.is_model_ready(model.name, model.version),
        "stranger is ready": client.is_model_ready("stranger"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata(model.name),
        "version": client.get_model_metadata(model.name, model.version),
        "index": client.get_model_repository_index(),
    }


def refusal(attempt: Callable[[], object]) -> list[Any]:
    """Tell what the client says of what the server refuses."""
    try:
        attempt()
    except InferenceServerException as exc:
        return [int(exc.status()), exc.message()]
    return []


def refusals(client: InferenceServerClient, model: Model, metadata: Metadata) -> Told:
    """Ask what has to be refused."""
    inputs = tensors(metadata, model.complete)
    strange = [InferRequestedOutput("transform")]
    deflated = {"request_compression_algorithm": "deflate"}
    return {
        "stranger": refusal(lambda: client.infer("stranger", inputs)),
        "output": refusal(lambda: client.infer(model.name, inputs, outputs=strange)),
        "deflate": refusal(lambda: client.infer(model.name, inputs, **deflated)),
        "unload": refusal(lambda: client.unload_model(model.name)),
        "config": refusal(lambda: client.get_model_config(model.name)),
    }


def ask(model: Model) -> Told:
    """Ask about a model all that this client can ask."""
    wide = [tensor("rows", np.ones((1, len(model.features) + 1)), "FP64")]
    with InferenceServerClient(model.address, concurrency=CONNECTIONS) as client:
        metadata = client.get_model_metadata(model.name)
        told = answers(client, model, metadata)
        told["complete"]["aio"], about_aio = asyncio.run(ask_aio(model))
        found = {
            "answers": told,
            "about": about(client, model),
            "about, over asyncio": about_aio,
            "refusal": refusal(lambda: client.infer(model.name, wide)),
            "refusals": refusals(client, model, metadata),
        }
    return {V2: found}


if __name__ == "__main__":
    answer_with(ask)
