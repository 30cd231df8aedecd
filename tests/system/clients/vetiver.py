"""Ask as users of vetiver do: with a data frame, a row of one, or a row as a dict."""

import pandas as pd
import vetiver

from tests.system.clients.asking import INVOCATIONS, Answer, Model, Row, Told, answer_with


def answers(model: Model, rows: list[Row]) -> dict[str, Answer]:
    """Ask for rows in each form; what comes back is a data frame of labels."""
    endpoint = vetiver.vetiver_endpoint(f"{model.url}/invocations")
    frame = pd.DataFrame(rows, columns=model.features)
    asked = {"data frame": frame, "objects": model.named(rows), "lists": rows}
    told = {
        form: vetiver.predict(endpoint=endpoint, data=data)[0].tolist()
        for form, data in asked.items()
    }
    told["dicts one by one"] = [
        vetiver.predict(endpoint=endpoint, data=row)[0][0] for row in model.named(rows)
    ]
    return {form: {"predict": labels} for form, labels in told.items()}


def ask(model: Model) -> Told:
    """Ask about a model all that this client can ask."""
    asked = {"complete": model.complete, "gaps": model.gaps}
    told = {kind: answers(model, rows) for kind, rows in asked.items() if rows}
    return {INVOCATIONS: {"answers": told}}


if __name__ == "__main__":
    answer_with(ask)
