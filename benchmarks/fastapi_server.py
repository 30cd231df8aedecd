"""The peer that the service is measured against: the same model by hand on FastAPI.

It is what FastAPI's own documentation leads to: pydantic models for the request and the answer,
a plain ``def`` endpoint (run in the thread pool, so that the model does not block the event loop)
and uvicorn on uvloop and httptools. It has no logs, metrics or limits, so it does less per request
than the service does; that is in its favour.
"""

import os
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field

MODEL_PATH = Path(os.environ["BENCH_MODEL_PATH"])
estimator = joblib.load(MODEL_PATH)
classes = [str(name) for name in estimator.classes_]
app = FastAPI()


class Flower(BaseModel):
    """One flower: sepal length and width, petal length and width, in centimetres."""

    data: Annotated[list[float], Field(min_length=4, max_length=4)]


class Model(BaseModel):
    """Which model answered."""

    name: str
    version: str


class Answer(BaseModel):
    """The predicted class and each class's probability."""

    prediction: str
    probabilities: dict[str, float]
    model: Model
    request_id: str


model = Model(name="iris", version=MODEL_PATH.parent.name)


@app.get("/readyz")
def ready() -> dict[str, str]:
    """Say that the model is loaded (it is, as soon as the module is)."""
    return {"status": "ready"}


@app.post("/predict")
def predict(flower: Flower) -> Answer:
    """Predict one flower's class."""
    row = np.array([flower.data])
    return Answer(
        prediction=str(estimator.predict(row)[0]),
        probabilities=dict(zip(classes, estimator.predict_proba(row)[0].tolist(), strict=True)),
        model=model,
        request_id=str(uuid4()),
    )
