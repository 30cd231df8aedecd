"""What a batch costs at least: its JSON in and out and the estimator's own call, in this process.

Prints a sample as JSON, as a load does:

    python -m benchmarks.in_process --rows 1000 --seconds 2 --seed 1
"""

import argparse
import json
import os
import time
from itertools import islice

import joblib
import numpy as np
import orjson

from benchmarks.load import Sample, percentile, rows

estimator = joblib.load(os.environ["BENCH_MODEL_PATH"])
classes = [str(name) for name in estimator.classes_]


def answer(body: bytes) -> bytes:
    """Answer a batch as the service does, and do nothing else."""
    table = np.array(orjson.loads(body)["data"])
    labels = estimator.predict(table).tolist()
    probabilities = estimator.predict_proba(table).tolist()
    predictions = [
        {"prediction": label, "probabilities": dict(zip(classes, row, strict=True))}
        for label, row in zip(labels, probabilities, strict=True)
    ]
    return orjson.dumps({"predictions": predictions})


def main() -> None:
    """Answer new batches for so long."""
    parser = argparse.ArgumentParser(description="What a batch costs in process")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    source, times, end = rows(args.seed), [], time.perf_counter() + args.seconds
    while time.perf_counter() < end:
        body = orjson.dumps({"data": list(islice(source, args.rows))})
        start = time.perf_counter()
        answer(body)
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    p50, p95, p99 = (percentile(times, share) for share in (0.50, 0.95, 0.99))
    print(json.dumps(vars(Sample(1000 / p50, p50, p95, p99, len(times), 0))))


if __name__ == "__main__":
    main()
