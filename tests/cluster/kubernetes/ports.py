"""Free TCP ports, so that several clusters run side by side."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 10240


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on.

    They lie below those the kernel gives to outgoing connections: a server that is stopped for a
    while must get its port back.
    """
    end = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32768
    candidates = range(_FIRST, end) if end > _FIRST + 1000 else range(_FIRST, 65536)
    found: list[int] = []
    while len(found) < count:
        port = random.choice(candidates)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
