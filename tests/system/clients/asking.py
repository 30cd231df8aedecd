"""What the test hands to a client's script, and how it gets back what the client read.

Scripts and test run in different environments: what is here needs the standard library alone.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

V2, V1, INVOCATIONS = "/v2/models/{}/infer", "/v1/models/{}:predict", "/invocations"
Value = float | str | None
Row = list[Value]
Answer = dict[str, list[Any]]  # by output: a label or a number a row, or a row's probabilities
Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is served, and rows to ask it about.

    Values stand in the order of the features; `single` and `whole` are complete too, with numbers
    that FP32 and INT64 hold exactly; `gaps` has missing values, `blank` missing numbers alone.
    """

    url: str
    name: str
    version: str
    features: list[str]
    is_classifier: bool
    complete: list[Row]
    gaps: list[Row]
    blank: list[Row]
    single: list[Row]
    whole: list[Row]

    @property
    def address(self) -> str:
        """Give host and port."""
        return self.url.removeprefix("http://")

    @property
    def outputs(self) -> list[str]:
        """Name all outputs, in the service's order."""
        return ["predict", "predict_proba"] if self.is_classifier else ["predict"]

    def named(self, rows: list[Row]) -> list[dict[str, Value]]:
        """Give rows as objects."""
        return [dict(zip(self.features, row, strict=True)) for row in rows]

    def columns(self, rows: list[Row]) -> dict[str, Row]:
        """Give rows by feature."""
        return {name: [row[place] for row in rows] for place, name in enumerate(self.features)}


def joined(answers: list[Answer]) -> Answer:
    """Put answers about a row each together."""
    return {name: [row for each in answers for row in each[name]] for name in answers[0]}


def handed(models: list[Model]) -> str:
    """Write what a script reads."""
    return json.dumps([asdict(model) for model in models])


def answer_with(ask: Callable[[Model], Told]) -> None:
    """Ask about each model that was handed over, and print what came back, doubles exactly.

    What came back stands below the path that was asked for predictions.
    """
    models = [Model(**each) for each in json.load(sys.stdin)]
    json.dump({model.name: ask(model) for model in models}, sys.stdout)
