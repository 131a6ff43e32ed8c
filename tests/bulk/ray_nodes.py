"""A Ray cluster of two nodes with a processor each, in a process of its own, which ends with its standard input.

It prints its address. A line of input kills the second node.
"""

import sys

from ray.cluster_utils import Cluster


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    say(cluster.address)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        say("killed")
    cluster.shutdown()
