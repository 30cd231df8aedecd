"""Reads a file of another library's, and asks what it holds: for `survival`, which sees it end.

A program of its own. It fails where the library ends the process, and not for what that raises.
"""

import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from serving.console import take_any_text
from training.loading.native import LOADERS
from training.loading.onnx import load_onnx

ROWS = (np.nan, 0.0, -1e30, 1e30)  # to the ends of trees on all sides


def main() -> None:
    """Load, ask, and tell nothing."""
    take_any_text()
    warnings.simplefilter("ignore")
    family, path = sys.argv[1:]
    load = {**LOADERS, "onnx": load_onnx}[family]
    with suppress(Exception):  # which whoever reads it then meets again
        estimator = load(Path(path))
        width = int(estimator.n_features_in_)
        estimator.predict(np.repeat(np.array(ROWS)[:, np.newaxis], width, axis=1))


if __name__ == "__main__":
    main()
