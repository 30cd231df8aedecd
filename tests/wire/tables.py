"""Tells schemathesis what tables of the default model look like as CSV and as arrays.

A JSON Schema can't.
"""

import io
from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies as st

NAMES = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
DOMAIN = 1e307


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Draw rows that the model takes, perhaps below its features' names."""
    number = st.floats(-DOMAIN, DOMAIN) | st.integers(-10, 10)
    rows = draw(st.lists(st.tuples(*[number] * len(NAMES)), min_size=1, max_size=9))
    lines = [",".join(map(str, row)) for row in rows]
    if draw(st.booleans()):
        lines.insert(0, ",".join(draw(st.permutations(NAMES))))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines).encode()


@st.composite
def arrays(draw: st.DrawFn) -> bytes:
    """Draw rows that the model takes, or one, as NumPy writes them."""
    row = st.tuples(*[st.floats(-DOMAIN, DOMAIN)] * len(NAMES))
    file = io.BytesIO()
    np.save(
        file,
        np.array(
            draw(row | st.lists(row, min_size=1, max_size=9)), draw(st.sampled_from(["<f8", ">f8"]))
        ),
    )
    return file.getvalue()


schemathesis.openapi.media_type("text/csv", tables())
schemathesis.openapi.media_type("application/x-npy", arrays())


@schemathesis.hook
def before_load_schema(_: Any, document: dict[str, Any]) -> None:  # noqa: ANN401
    """Take out the examples, which schemathesis can't send beside them; a test does that."""
    for path in ("/predict/batch", "/models/iris/predict/batch", "/invocations"):
        del document["paths"][path]["post"]["requestBody"]["content"]["text/csv"]["example"]
