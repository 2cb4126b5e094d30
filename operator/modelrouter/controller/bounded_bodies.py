"""Reading answers of servers that may send anything."""

from __future__ import annotations

import aiohttp

_LONGEST_BODY = 4 * 1024 * 1024


async def read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body; empty, which is no JSON, if it is longer than anybody would need."""
    body = b""
    while chunk := await response.content.read(65536):
        body += chunk
        if len(body) > _LONGEST_BODY:
            return b""
    return body
