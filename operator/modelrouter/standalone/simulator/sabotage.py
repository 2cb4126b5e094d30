"""The ways in which a connection can go wrong, done to a real one."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

_DELIVERY_S = 0.02
"""Seconds that bytes get to leave before the reset would overtake them."""


def reset(request: web.Request) -> web.Response:
    """Reset the TCP connection. The answer returned is never sent."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # Lingering for zero seconds makes the kernel send RST rather than FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def reset_mid_headers(request: web.Request) -> web.Response:
    """Send half of an answer's head, then reset the connection."""
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-ty")
        await asyncio.sleep(_DELIVERY_S)
    return reset(request)


def hang_up(request: web.Request) -> None:
    """Close the connection once what was written has been sent."""
    if request.transport is not None:
        request.transport.close()
