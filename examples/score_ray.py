"""Score Parquet files on a Ray cluster: python examples/score_ray.py MODEL FROM TO."""

import sys

import ray

import serving
from serving.bulk import Scorer

if __name__ == "__main__":
    model, source, target = sys.argv[1:]  # all three on storage that every node sees
    ray.init(runtime_env={"py_modules": list(serving.__path__)})  # RAY_ADDRESS tells the cluster
    pool = ray.data.ActorPoolStrategy(size=int(ray.cluster_resources()["CPU"]) // 2 or 1)
    table = ray.data.read_parquet(source)
    scored = table.map_batches(
        Scorer, fn_constructor_args=[model], batch_format="pyarrow", compute=pool
    )
    scored.write_parquet(target)
