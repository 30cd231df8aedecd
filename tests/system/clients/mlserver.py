"""Ask with the codecs of MLServer: what they write is posted, what comes back they read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import requests
from mlserver.codecs import Base64Codec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.types import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    RequestOutput,
)

from tests.system.clients.asking import V2, Answer, Model, Row, Told, answer_with


def post(model: Model, request: InferenceRequest) -> InferenceResponse:
    """Send a request, and read the answer."""
    url = f"{model.url}/v2/models/{model.name}/infer"
    headers = {"Content-Type": "application/json"}
    answer = requests.post(url, data=request.model_dump_json(), headers=headers, timeout=30)
    if not answer.ok:
        raise requests.HTTPError(answer.text, response=answer)
    return InferenceResponse.model_validate_json(answer.content)


def frame(model: Model, rows: list[Row]) -> pd.DataFrame:
    """Make a data frame whose strings are objects, since the codec knows no other."""
    made = pd.DataFrame(rows, columns=model.features)
    return made.astype({name: object for name in made.select_dtypes("str")})


def whole(model: Model, request: InferenceRequest, decode: Callable[..., Any]) -> Answer:
    """Ask with a request that a codec wrote as a whole: its labels, then what else there is."""
    labels = decode(post(model, request))
    answer: Answer = {"predict": np.ravel(labels).tolist()}
    for name in model.outputs[1:]:
        request.outputs = [RequestOutput(name=name)]
        answer[name] = NumpyRequestCodec.decode_response(post(model, request)).tolist()
    return answer


def by_input(model: Model, inputs: list[RequestInput]) -> Answer:
    """Ask with inputs that codecs wrote one by one."""
    request = InferenceRequest(inputs=inputs)
    outputs = {output.name: output for output in post(model, request).outputs}
    answer = {name: NumpyCodec.decode_output(output).tolist() for name, output in outputs.items()}
    answer["predict"] = [label for (label,) in answer["predict"]]
    if model.is_classifier:
        assert StringCodec.decode_output(outputs["predict"]) == answer["predict"]
    return answer


def texts(model: Model) -> list[str]:
    """Name the features that are strings."""
    (first, *_) = model.named(model.complete)
    return [name for name, one in first.items() if isinstance(one, str)]


def encoded(
    model: Model, rows: list[Row], encode_text: Callable[[str, Row], RequestInput]
) -> list[RequestInput]:
    """Write an input for each feature."""
    return [
        encode_text(name, column)
        if name in texts(model)
        else NumpyCodec.encode_input(name, np.array(column, dtype=float))
        for name, column in model.columns(rows).items()
    ]


def base64(name: str, column: Row) -> RequestInput:
    """Write strings as base64."""
    return Base64Codec.encode_input(name, [str(one).encode() for one in column])


def objects(name: str, column: Row) -> RequestInput:
    """Write strings as an array of objects, the only way of the codecs that knows missing ones."""
    return NumpyCodec.encode_input(name, np.array(column, dtype=object))


def from_frame(model: Model, table: pd.DataFrame, use_bytes: bool = True) -> Answer:
    """Ask with a data frame."""
    request = PandasCodec.encode_request(table, use_bytes=use_bytes)
    return whole(model, request, PandasCodec.decode_response)


def from_array(model: Model, rows: list[Row], dtype: type) -> Answer:
    """Ask with one array for all features."""
    request = NumpyRequestCodec.encode_request(np.array(rows, dtype=dtype))
    return whole(model, request, NumpyRequestCodec.decode_response)


def answers(model: Model) -> Told:
    """Ask for each kind of rows in each way that suits them."""
    table = frame(model, model.complete)
    told: Told = {
        "complete": {
            "PandasCodec": from_frame(model, table),
            "PandasCodec, text": from_frame(model, table, use_bytes=False),
            "PandasCodec, numbers as JSON within JSON": from_frame(model, table.astype(object)),
            "StringCodec": by_input(
                model, encoded(model, model.complete, StringCodec.encode_input)
            ),
            "Base64Codec": by_input(model, encoded(model, model.complete, base64)),
        },
    }
    if model.gaps:  # of no rows NumpyCodec can't read the labels
        told["gaps"] = {"NumpyCodec": by_input(model, encoded(model, model.gaps, objects))}
        told["blank"] = {"PandasCodec": from_frame(model, frame(model, model.blank))}
    if not texts(model):
        told["complete"]["NumpyRequestCodec"] = from_array(model, model.complete, float)
        told["single"] = {"NumpyRequestCodec": from_array(model, model.single, np.float32)}
        told["whole"] = {"NumpyRequestCodec": from_array(model, model.whole, int)}
    return told


def refusal(model: Model) -> list[Any]:
    """Ask with a row that is too wide; what is said of it has to be the error of the protocol."""
    wide = NumpyRequestCodec.encode_request(np.ones((1, len(model.features) + 1)))
    try:
        post(model, wide)
    except requests.HTTPError as exc:
        return [
            exc.response.status_code,
            InferenceErrorResponse.model_validate_json(exc.response.content).error,
        ]
    return []


def ask(model: Model) -> Told:
    """Ask about a model all that these codecs can ask."""
    return {V2: {"answers": answers(model), "refusal": refusal(model)}}


if __name__ == "__main__":
    answer_with(ask)
