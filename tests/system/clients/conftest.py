"""The models that clients ask about, a server for each, and what each client has to tell."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from palmerpenguins import load_penguins
from sklearn.datasets import load_diabetes, load_iris

from tests.examples import example
from tests.server import BIN, ROOT, Server, serving
from tests.system.clients.asking import Model, Row, Told, handed

ENVIRONMENTS = BIN.parent / "clients"
ROWS = 6
BESIDE = ("penguins", "diabetes")  # models that have strings and gaps, and a number to predict


@dataclass(frozen=True, slots=True)
class Served:
    """A model as clients are told of it, and its server."""

    model: Model
    server: Server

    def expected(self, kind: str) -> dict[str, list[Any]]:
        """Give what `/predict` answers about rows of a kind, each asked alone."""
        answers = [self.server.ask(row).json() for row in getattr(self.model, kind)]
        told = {"predict": [answer["prediction"] for answer in answers]}
        if self.model.is_classifier:
            told["predict_proba"] = [list(answer["probabilities"].values()) for answer in answers]
        return told


def tables() -> dict[str, pd.DataFrame]:
    """Give the tables that the models were learnt from."""
    return {
        "iris": load_iris(as_frame=True).data,
        "penguins": load_penguins(),
        "diabetes": load_diabetes(as_frame=True, scaled=False).data,
    }


def rows(table: pd.DataFrame) -> list[Row]:
    """Give rows as JSON has them, at most so many that a run stays quick."""
    some = table.sample(min(ROWS, len(table)), random_state=0).astype(object)
    return [
        [None if pd.isna(one) else one for one in row]
        for row in some.itertuples(index=False, name=None)
    ]


def known(name: str, server: Server) -> Model:
    """Tell what clients need to know of a model."""
    info = server.http.get("/model/info").json()
    features = [feature["name"] for feature in info["features"]]
    table = tables()[name][features]
    complete = table.dropna()
    numbers = complete.select_dtypes("number")
    return Model(
        url=server.url,
        name=name,
        version=info["version"],
        features=features,
        is_classifier=info["task"] == "classification",
        complete=rows(complete),
        gaps=rows(table[table.isna().any(axis="columns")]),
        blank=blanked(
            rows(complete),
            [
                place
                for place, feature in enumerate(info["features"])
                if feature["nullable"] and feature["type"] == "number"
            ],
        ),
        single=rows(complete.assign(**numbers.astype(np.float32).astype(float))),
        whole=rows(complete.assign(**numbers.round().astype(int))),
    )


def blanked(complete: list[Row], places: list[int]) -> list[Row]:
    """Leave out a value of each row, at one of some places after the other."""
    return [
        [None if place == left_out else value for place, value in enumerate(row)]
        for row, left_out in zip(complete, cycle(places), strict=False)
    ]


@pytest.fixture(scope="session")
def served(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Serve each model as a server's default: the first alone, the others beside each other."""
    home = tmp_path_factory.mktemp("clients")
    for name in BESIDE:
        made = example(name, home)
        shutil.copytree(made / "models", home / "models", dirs_exist_ok=True, symlinks=True)
    with ExitStack() as stack:
        servers = {"iris": server}
        for name in BESIDE:
            models = ",".join(sorted(BESIDE, key=name.__ne__))
            started = serving(home, home / f"{name}.log", SERVING_MODELS=models)
            servers[name] = stack.enter_context(started)
        yield {name: Served(known(name, each), each) for name, each in servers.items()}


def tell(client: str, models: list[Model]) -> dict[str, Told]:
    """Run a client's script about some models; give what it tells of each."""
    done = subprocess.run(
        [ENVIRONMENTS / client / "bin" / "python", "-m", f"tests.system.clients.{client}"],
        cwd=ROOT,
        input=handed(models),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Told] = json.loads(done.stdout)
    return told
