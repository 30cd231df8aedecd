"""Ask as users of MLflow's scoring client do: data frames, arrays, lists, and JSON of their own."""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from tests.system.clients.asking import INVOCATIONS, Answer, Model, Row, Told, answer_with


def forms(model: Model, rows: list[Row]) -> Iterator[tuple[str, Any]]:
    """Give rows in each form that the client takes."""
    frame = pd.DataFrame(rows, columns=model.features)
    yield "data frame", frame
    yield "data frame, other order", frame[frame.columns[::-1]]
    yield "data frame, labelled", frame.set_index(np.linspace(0.1, np.nan, len(frame)))
    yield "array", np.array(rows, dtype=object)
    yield "lists", rows
    yield "objects", model.named(rows)


def written(model: Model, rows: list[Row]) -> Iterator[tuple[str, Any]]:
    """Give rows in each form that users write themselves: the client sends text as it is."""
    yield "dataframe_split without columns", {"dataframe_split": {"data": rows}}
    yield "dataframe_records", {"dataframe_records": model.named(rows)}
    yield "instances", {"instances": rows}
    yield "inputs by column", {"inputs": model.columns(rows)}


def answers(client: ScoringServerClient, model: Model, rows: list[Row]) -> Told:
    """Ask for rows in each form, once for each output."""
    told: dict[str, Answer] = {}
    for method in model.outputs:
        params = {"predict_method": method}
        for form, data in forms(model, rows):
            got = client.invoke(data, params=params)
            told.setdefault(form, {})[method] = got.get_predictions("ndarray").tolist()
        for form, body in written(model, rows):
            got = client.invoke(json.dumps({**body, "params": params}))
            told.setdefault(form, {})[method] = got["predictions"]
    plain = client.invoke(pd.DataFrame(rows, columns=model.features))
    told["without params"] = {**told["data frame"], "predict": plain["predictions"]}
    return told


def refusal(client: ScoringServerClient, model: Model) -> list[Any]:
    """Ask with a row that is too wide, and tell what the client says of it."""
    try:
        client.invoke([[1.0] * (len(model.features) + 1)])
    except Exception as exc:  # of no class of its own
        return [int(re.findall(r"error code (\d+)", str(exc))[0]), str(exc)]
    return []


def ask(model: Model) -> Told:
    """Ask about a model all that this client can ask."""
    host, port = model.address.split(":")
    client = ScoringServerClient(host, port)
    client.wait_server_ready()
    told = {
        "answers": {
            "complete": answers(client, model, model.complete),
            "gaps": answers(client, model, model.gaps),
        },
        "version": client.get_version(),
        "refusal": refusal(client, model),
    }
    return {INVOCATIONS: told}


if __name__ == "__main__":
    answer_with(ask)
