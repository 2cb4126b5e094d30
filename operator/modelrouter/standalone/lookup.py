"""Names looked up without letting a slow name server hold anything up."""

from __future__ import annotations

import asyncio
import socket
import threading

from modelrouter.api.quantities import is_ip_address

_RESERVED = ("example", "invalid", "test")
"""Top-level names that never exist (RFC 2606); manifests use them for places to fill in."""


async def resolve(host: str) -> list[str]:
    """The addresses of a host name; none when it has none.

    The lookup runs in a daemon thread of its own: the default executor's threads are waited for
    when the program ends, and a name server that does not answer takes its time.
    """
    if is_ip_address(host):
        return [host]
    if host.rstrip(".").lower().rsplit(".", 1)[-1] in _RESERVED:
        return []
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def deliver(addresses: list[str]) -> None:
        if not found.done():
            found.set_result(addresses)

    def look_up() -> None:
        try:
            records = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(record[4][0]) for record in records))
        except OSError:
            addresses = []
        try:
            loop.call_soon_threadsafe(deliver, addresses)
        except RuntimeError:
            return  # the loop has been closed: nobody waits any more

    threading.Thread(target=look_up, name=f"lookup {host}", daemon=True).start()
    return await found
