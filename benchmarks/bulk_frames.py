"""A rival: what one would write first, pandas and the estimator's own answers, in chunks.

python benchmarks/bulk_frames.py TABLE OUT
"""

import os
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

CHUNK_ROWS = 100_000


def main() -> None:
    """Score Parquet or CSV."""
    source, target = map(Path, sys.argv[1:])
    estimator = joblib.load(os.environ["BENCH_MODEL_PATH"])
    frame = pd.read_parquet(source) if source.suffix == ".parquet" else pd.read_csv(source)
    features = frame.drop(columns="id").to_numpy()
    starts = range(0, len(features), CHUNK_ROWS)
    parts = [estimator.predict_proba(features[at : at + CHUNK_ROWS]) for at in starts]
    probabilities = np.concatenate(parts)
    frame["prediction"] = estimator.classes_[probabilities.argmax(axis=1)]
    for at, name in enumerate(estimator.classes_):
        frame[f"probability_{name}"] = probabilities[:, at]
    if target.suffix == ".parquet":
        frame.to_parquet(target, index=False)
    else:
        frame.to_csv(target, index=False)


if __name__ == "__main__":
    main()
