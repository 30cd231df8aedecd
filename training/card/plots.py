"""The plots of a model card: which fit a task, and what is to be seen in them.

No plot shows where a single row lies: rows are counted in bins, though a bin may hold only one, and
the few that lie furthest out are drawn with their neighbours.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    confusion_matrix,
)

from serving.model.description import Description, Label, label_key
from serving.model.outputs import Array, Outputs
from training.card.drawing import ACCENT, COUNTS, INK, SHARES, Plot, drawn
from training.card.numbers import MINUS, codes, columns, number, short
from training.fitting.evaluation import Evaluation

FEW_ROWS = 5  # fewer may be somebody, so they are not drawn by themselves
MIN_BINNED_ROWS = 4 * FEW_ROWS
TOO_FEW = "{} rows are too few to be drawn without showing single ones."
MAX_TARGETS = 4
MAX_CURVES = 10
MAX_MATRIX, MAX_NUMBERED_MATRIX = 30, 12


def plots_of(description: Description, evaluation: Evaluation, outputs: Outputs) -> Iterator[Plot]:
    """Draw what fits the task."""
    if description.training is None:
        return  # its rows only show what it takes
    if description.task == "outlier-detection":
        yield _decisions(outputs)
    if evaluation.truth is None or not description.targets:
        return
    truths, predictions = (columns(array) for array in (evaluation.truth, outputs.values))
    for at, target in enumerate(description.targets[:MAX_TARGETS]):
        of = f"{target}: " if len(description.targets) > 1 else ""
        if description.task == "regression":
            yield from _errors(of, truths[:, at].astype(float), predictions[:, at].astype(float))
        else:
            labels = description.classes_by_target[at]
            truth, prediction = (codes(labels, array[:, at]) for array in (truths, predictions))
            yield _confusion(of, labels, truth, prediction)
            yield from _curves(of, labels, truth, _class_scores(description, outputs, at))


def _class_scores(description: Description, outputs: Outputs, target: int) -> Array | None:
    """Give a column of scores for each class, if the estimator has any."""
    if outputs.probabilities:
        return outputs.probabilities[target]
    scores = outputs.scores
    if scores is None or not description.asked.scores_by_class:
        return None
    return np.column_stack([-scores, scores]) if scores.ndim == 1 else scores


def _confusion(of: str, labels: Sequence[Label], truth: Array, prediction: Array) -> Plot:
    title, count, names = f"{of}Confusion matrix", len(labels), list(map(short, labels))
    if count > MAX_MATRIX:
        return Plot(title, f"{count} classes are too many to be drawn.")

    def draw(axes: Axes) -> str:
        rows = confusion_matrix(truth, prediction, labels=range(count))
        shares = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1)
        display = ConfusionMatrixDisplay(shares, display_labels=names).plot(
            ax=axes,
            cmap=SHARES,
            colorbar=False,
            im_kw={"vmin": 0, "vmax": 1},
            include_values=count <= MAX_NUMBERED_MATRIX,
            text_kw={"color": INK, "fontsize": min(9.5, 75 / count)},
            xticks_rotation="horizontal" if max(map(len, names)) * count <= 30 else "vertical",
        )
        if display.text_ is not None:
            for text, value in zip(display.text_.flat, rows.flat, strict=True):
                text.set_text(str(value))
        axes.set(xlabel="Predicted", ylabel="True")
        axes.tick_params(labelsize=min(9.5, 150 / count))
        return (
            f"{np.trace(rows)} of {len(truth)} rows have the right label. "
            "The color is the share of the rows of the true class."
        )

    return drawn(title, draw, height=3.2)


def _curves(of: str, labels: Sequence[Label], truth: Array, scores: Array | None) -> Iterator[Plot]:
    titles = f"{of}ROC curve", f"{of}Precision and recall"
    shown, told = _shown_classes(labels, truth)
    if scores is None:
        told = "There is no curve. The model gives no probability or score for each class."
    if scores is None or not shown:
        yield from (Plot(title, told) for title in titles)
        return

    def draw(axes: Axes, kind: Any, area: str) -> None:  # noqa: ANN401 (scikit-learn has no type)
        for at in shown:
            display = kind.from_predictions(
                truth == at, scores[:, at], ax=axes, drop_intermediate=True
            )
            display.line_.set_label(f"{short(labels[at])} {getattr(display, area):.3f}")

    def roc(axes: Axes) -> str:
        draw(axes, RocCurveDisplay, "roc_auc")
        axes.axline((0, 0), (1, 1), color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="False positive rate", ylabel="True positive rate")
        return f"{told}, with the area below. Guesses follow the dotted line."

    def precision_recall(axes: Axes) -> str:
        draw(axes, PrecisionRecallDisplay, "average_precision")
        axes.set(xlabel="Recall", ylabel="Precision")
        return f"{told}, with the average precision."

    yield drawn(titles[0], roc)
    yield drawn(titles[1], precision_recall)


def _shown_classes(labels: Sequence[Label], truth: Array) -> tuple[Sequence[int], str]:
    """Choose the classes that have curves, and say which they are."""
    positives = np.bincount(truth[truth >= 0], minlength=len(labels))
    mixed = np.flatnonzero((positives > 0) & (positives < len(truth)))
    if not len(mixed):
        return [], "There is no curve. All rows that it was scored on have the same class."
    if len(labels) == 2:
        return [1], f"{label_key(labels[1])} against {label_key(labels[0])}"
    if len(mixed) > MAX_CURVES:
        commonest = mixed[np.argsort(-positives[mixed], kind="stable")[:MAX_CURVES]]
        told = f"Each class against the others, for the {MAX_CURVES} of most rows"
        return sorted(commonest.tolist()), told
    all_are = len(mixed) == len(labels)
    told = "Each class against the others" + ("" if all_are else ", where the rows have both")
    return mixed.tolist(), told


def _errors(of: str, truth: Array, prediction: Array) -> Iterator[Plot]:
    titles = f"{of}Predicted and true", f"{of}Residuals"
    few = len(truth) < MIN_BINNED_ROWS
    if few or np.ptp(_drawn_in(truth)) == 0:
        reason = TOO_FEW.format(len(truth)) if few else "Nearly all true values are the same."
        yield from (Plot(title, reason) for title in titles)
        return
    residuals = truth - prediction

    def bins(axes: Axes, x: Array, y: Array) -> str:
        drawn = axes.hexbin(
            _drawn_in(x),
            _drawn_in(y),
            gridsize=_bins(x),
            mincnt=1,
            cmap=COUNTS,
            norm=PowerNorm(0.5, vmin=0),
            linewidths=0.2,
        )
        most = np.asarray(drawn.get_array()).max()
        return f"The stronger the color, the more rows, up to {most:.0f}."

    def against_truth(axes: Axes) -> str:
        told = bins(axes, prediction, truth)
        axes.axline((np.median(truth),) * 2, slope=1, color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="Predicted", ylabel="True")
        return f"{told} On the dotted line the prediction is right."

    def left(axes: Axes) -> str:
        told = bins(axes, prediction, residuals)
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="Predicted", ylabel=f"True {MINUS} predicted")
        return f"{told} Half of the predictions are within {number(np.median(abs(residuals)))}."

    yield drawn(titles[0], against_truth)
    yield drawn(titles[1], left)


def _drawn_in(values: Array) -> Array:
    """Move the few values that lie furthest out to their neighbours."""
    inner = np.sort(values)[FEW_ROWS - 1 : 1 - FEW_ROWS]
    return np.clip(values, inner[0], inner[-1])


def _bins(values: Array) -> int:
    return int(np.clip(np.sqrt(len(values)), 8, 18))


def _decisions(outputs: Outputs) -> Plot:
    title = "Distribution of the score"
    if outputs.scores is None:
        return Plot(title, "The model gives no scores.")
    if len(outputs.scores) < MIN_BINNED_ROWS:
        return Plot(title, TOO_FEW.format(len(outputs.scores)))
    scores = _drawn_in(outputs.scores.ravel())

    def draw(axes: Axes) -> str:
        axes.hist(scores, bins=_bins(scores), color=ACCENT)
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="decision_function", ylabel="Rows")
        outliers = int((outputs.values == -1).sum())
        return f"{outliers} of {len(scores)} rows are outliers. The dotted line is the threshold."

    return drawn(title, draw)
