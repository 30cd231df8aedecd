"""Tells schemathesis what CSV of the default model looks like: a JSON Schema can't."""

from typing import Any

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


schemathesis.openapi.media_type("text/csv", tables())


@schemathesis.hook
def before_load_schema(_: Any, document: dict[str, Any]) -> None:  # noqa: ANN401
    """Take out the example, which schemathesis can't send beside them; a test does that."""
    del document["paths"]["/predict/batch"]["post"]["requestBody"]["content"]["text/csv"]["example"]
