"""Run a program on a Ray cluster of two nodes on this machine, and print on how many actors ran.

    python -m tests.system.engines.two_nodes PROGRAM [ARGUMENT …]

Only with Ray's own cluster for tests are the nodes' processes known, and no others ended.
"""

import os
import runpy
import sys

import ray
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False}


def main() -> None:
    """Start the nodes, run the program as if by hand, and end the nodes."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        cluster.add_node(**NODE)
        os.environ["RAY_ADDRESS"] = cluster.address
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")
        actors = ray._private.state.actors().values()
        print("nodes with actors:", len({actor["Address"]["NodeID"] for actor in actors}))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
