"""Ports of this machine that belong to one test, so that tests may run beside each other."""

from __future__ import annotations

import socket

_HELD: list[socket.socket] = []


def free_port() -> int:
    """A port on 127.0.0.1 that nobody else is given for as long as this process lives.

    Who knows it may listen there, as all servers do that can be started again (SO_REUSEADDR); until then connections
    to it are refused.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    port: int = held.getsockname()[1]
    return port
