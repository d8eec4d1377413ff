"""A TCP port for a server that is about to be started on the loopback; never one that a client could be given meanwhile."""

import random
import socket

# Below what Linux gives to clients (net.ipv4.ip_local_port_range begins at 32768): whoever asks one of those whether its server
# listens already can be given that very port for its own end, and so be connected to itself.
PORTS = range(20_000, 32_000)


def find_free_port() -> int:
    """A port that nobody has right now."""
    while True:
        port = random.choice(PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
