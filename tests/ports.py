"""TCP ports for the servers that tests start."""

import random
import socket

LOCALHOST = "127.0.0.1"
# Below the kernel's ephemeral ports: no outgoing connection takes the port of a stopped server,
# nor connects to itself there.
PORTS = range(20000, 32000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that is unused and that no outgoing connection will use."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((LOCALHOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port among {PORTS}")
