"""TCP ports on this machine: which are free, and whether somebody answers on an address."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket

from modelrouter.standalone.lookup import resolve

# Below the range from which Linux takes ports for outgoing connections (32768 and up), so that
# none of those takes a port between its choice and its use.
_FIRST_PORT, _LAST_PORT = 20_000, 32_767

_chosen: set[int] = set()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port.

    Envoy opens its port with SO_REUSEPORT, and would silently share it with another Envoy; this
    asks without that option.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # A port whose last connections are in TIME_WAIT is free for a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A free port that this process has not handed out before."""
    for _ in range(200):
        port = random.randint(_FIRST_PORT, _LAST_PORT)
        if port not in _chosen and is_free(port, host):
            _chosen.add(port)
            return port
    raise OSError(f"no free TCP port found on {host} between {_FIRST_PORT} and {_LAST_PORT}")


async def is_reachable(host: str, port: int, within: float = 0.5) -> bool:
    """Whether a TCP connection to the address succeeds within so many seconds."""
    try:
        async with asyncio.timeout(within):
            for address in await resolve(host):
                with contextlib.suppress(ConnectionError):
                    _, writer = await asyncio.open_connection(address, port)
                    writer.close()
                    return True
    except (OSError, TimeoutError):
        pass
    return False


async def wait_until_reachable(host: str, port: int, within: float) -> bool:
    """Wait until somebody listens; False when so many seconds went by without."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while True:
                if await is_reachable(host, port):
                    return True
                await asyncio.sleep(0.02)
    return False
