"""Times shap's explanations of single rows, in this process: run with its own environment.

    .venv/judges/shap/bin/python explaining_shap.py MODEL.pkl TABLE.csv SECONDS

Prints the median in milliseconds. Its background is as many rows as the service compares with.
"""

import sys
import time
import warnings
from itertools import cycle
from statistics import median

import joblib
import numpy as np
import shap

BACKGROUND_ROWS = 100


def main() -> None:
    """Explain rows one by one for so long."""
    warnings.simplefilter("ignore")
    pickle, table, seconds = sys.argv[1:]
    last = joblib.load(pickle)[-1]
    with open(table, encoding="utf-8") as file:
        columns = len(file.readline().split(",")) - 1  # the target is the last
    rows = np.loadtxt(table, delimiter=",", skiprows=1, usecols=range(columns))
    background = rows[:: max(1, len(rows) // BACKGROUND_ROWS)][:BACKGROUND_ROWS]
    explainer = shap.TreeExplainer(last, background, feature_perturbation="interventional")
    times: list[float] = []
    end = time.perf_counter() + float(seconds)
    for row in cycle(rows):
        start = time.perf_counter()
        explainer.shap_values(row[np.newaxis], check_additivity=False)
        times.append((time.perf_counter() - start) * 1000)
        if time.perf_counter() > end:
            break
    print(median(times[1:] or times))


if __name__ == "__main__":
    main()
