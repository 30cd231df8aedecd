"""Tells schemathesis what tables of the default model look like in all formats but JSON.

A JSON Schema can't.
"""

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import schemathesis
from hypothesis import strategies as st
from pyarrow import parquet

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


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Draw instances that the model takes: with explanations, others are refused."""
    row = st.tuples(*[st.floats(-DOMAIN, DOMAIN)] * len(NAMES))
    named = row.map(lambda values: dict(zip(NAMES, values, strict=True)))
    drawn = draw(st.lists(row | named, max_size=9))
    return "\n".join(map(json.dumps, drawn)).encode()


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Draw rows that the model takes, as an Arrow stream."""
    written = io.BytesIO()
    table = drawn_table(draw)
    with pa.ipc.new_stream(written, table.schema) as writer:
        writer.write_table(table)
    return written.getvalue()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw rows that the model takes, as Parquet."""
    written = io.BytesIO()
    parquet.write_table(drawn_table(draw), written)
    return written.getvalue()


def drawn_table(draw: st.DrawFn) -> pa.Table:
    """Draw rows that the model takes, in columns."""
    row = st.tuples(*[st.floats(-DOMAIN, DOMAIN)] * len(NAMES))
    columns = zip(*draw(st.lists(row, min_size=1, max_size=9)), strict=True)
    return pa.table(dict(zip(NAMES, columns, strict=True)))


schemathesis.openapi.media_type("text/csv", tables())
schemathesis.openapi.media_type("application/x-ndjson", lines())
schemathesis.openapi.media_type("application/vnd.apache.arrow.stream", streams())
schemathesis.openapi.media_type("application/vnd.apache.parquet", files())
schemathesis.openapi.media_type("application/x-npy", arrays())


@schemathesis.hook
def before_load_schema(_: Any, document: dict[str, Any]) -> None:  # noqa: ANN401
    """Take out the examples, which schemathesis can't send beside them; a test does that."""
    for path in ("/predict/batch", "/models/iris/predict/batch", "/invocations"):
        for content in document["paths"][path]["post"]["requestBody"]["content"].values():
            content.pop("example", None)
