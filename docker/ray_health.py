"""Say by the exit code whether the Ray node of this container is alive in its cluster.

``ray health-check`` asks the cluster's head only, and also of a head whose own node never began.
"""

from __future__ import annotations

import socket
import sys

from ray._private.services import canonicalize_bootstrap_address_or_die
from ray._raylet import GcsClient
from ray.core.generated.gcs_pb2 import GcsNodeInfo


def is_alive(head: str) -> bool:
    """Whether the cluster counts a node on this host as alive."""
    client = GcsClient(address=canonicalize_bootstrap_address_or_die(head))
    nodes = client.get_all_node_info(timeout=10, state_filter=GcsNodeInfo.ALIVE)
    return socket.gethostname() in {node.node_manager_hostname for node in nodes.values()}


if __name__ == "__main__":
    sys.exit(not is_alive(sys.argv[1]))
