"""The model card: a report for people, one self-contained HTML page without scripts.

Its sentences stand in ``card.html``; here is what they are made of.
"""

import json
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import style

from serving.model.description import Description, label_key
from serving.model.outputs import Outputs
from serving.model.scores import BETTER
from training.card.drawing import STYLE
from training.card.findings import Findings
from training.card.importance import Bar
from training.card.numbers import codes, columns, number, signed
from training.card.plots import MAX_TARGETS, plots_of
from training.fitting.evaluation import Evaluation

UNCERTAIN_ROWS = 30  # of a class; with fewer its scores say little


def card(
    description: Description,
    evaluation: Evaluation,
    found: Findings,
    steps: str,
    example_answer: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> str:
    """Write the card of a model.

    ``steps`` names what the estimator is made of, ``example_answer`` is its answer to the features'
    examples, and ``notes`` tells what training decided or left out. The same arguments give the
    same page.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "score": score, "key": label_key}
    with warnings.catch_warnings(), style.context(("default", STYLE)):
        warnings.simplefilter("ignore")  # fonts warn of the letters that they lack
        plots = list(plots_of(description, evaluation, found.outputs))
    return environment.get_template("card.html").render(
        description=description,
        better=BETTER,
        steps=steps,
        notes=notes,
        plots=plots,
        max_targets=MAX_TARGETS,
        clusters=_clusters(description, found.outputs),
        importances=found.importances,
        contributions=found.contributions,
        uncertain=_uncertain(description, evaluation),
        command=command(description),
        answer=json.dumps(example_answer, indent=2, ensure_ascii=False),
    )


def command(description: Description) -> str:
    """Give the shell command that asks for the prediction of the features' examples."""
    values = {feature.name: feature.example for feature in description.features}
    body = json.dumps({"data": values}, indent=2, ensure_ascii=False)
    return (
        f"curl -X POST http://localhost:8000/models/{description.name}/predict \\\n"
        f'  -H "Content-Type: application/json" \\\n  -d {shlex.quote(body)}'
    )


def score(value: float) -> str:
    """Write a score, so that others can be compared with it."""
    if abs(value) >= 1000 or value == 0:
        return number(value)
    return signed(f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.2g}")


def _clusters(description: Description, outputs: Outputs) -> Sequence[Bar]:
    """Give the sizes of the clusters, the largest first, if there are any that are known."""
    if description.task != "clustering" or description.training is None:
        return ()
    clusters, sizes = np.unique(outputs.values, return_counts=True)
    return [
        Bar(str(clusters[at]), str(sizes[at]), sizes[at] / sizes.max())
        for at in np.argsort(-sizes, kind="stable")
    ]


def _uncertain(description: Description, evaluation: Evaluation) -> Sequence[str]:
    """Name the classes of which the rows are so few that their scores say little."""
    if evaluation.truth is None or description.task != "classification":
        return []
    told = []
    for labels, values in zip(
        description.classes_by_target, columns(evaluation.truth).T, strict=True
    ):
        counts = np.bincount(codes(labels, values) + 1, minlength=len(labels) + 1)[1:]
        few = [(label, n) for label, n in zip(labels, counts, strict=True) if n < UNCERTAIN_ROWS]
        told += [f"{label_key(label)} ({n})" for label, n in few]
    return told
