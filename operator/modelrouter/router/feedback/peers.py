"""The other routers that clients reach by the same address.

Asked over their admin ports. One that is asked asks nobody else, so questions cannot go round.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

import aiohttp

from modelrouter.api.quantities import join_address, split_address
from modelrouter.api.router_config import ServiceEndpoints
from modelrouter.router.feedback.joining import Joined
from modelrouter.router.feedback.reading import Feedback
from modelrouter.router.services import Services

PATH = "/feedbackz"
ASKER_HEADER = "x-mr-asker"
"""Names who asks, so that it knows itself."""
PATIENCE_SECONDS = 3.0
"""Longer than a peer waits for a record that may be on its way."""
AT_ONCE = 64
ANSWERS = {202: Joined.NEW, 200: Joined.REPLAY, 404: Joined.UNKNOWN}
"""Status → what it says."""

Addresses = Callable[[], Collection[str]]
"""`host:port` of the admin ports of all routers, this one may be among them."""


class PeerSilentError(Exception):
    """Nobody knows the request, but not everybody has answered."""


def router_pods(services: Services, service: str, admin_port: int) -> list[str]:
    """The admin ports of the ready pods of a router, by the Service that clients use."""
    pods = services.addresses(ServiceEndpoints(name=service, port="http"))
    return [join_address(split_address(pod)[0], admin_port) for pod in pods]


class Peers:
    """Asks them all at once. As a context manager it ends its connections."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self.name = secrets.token_hex(8)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        # Pods are reached directly, whatever the environment says of proxies.
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, feedback: Feedback) -> Joined:
        """Give feedback to whoever knows the request.

        Raises `PeerSilentError` if one that does not answer may be the one.
        """
        asking = [
            asyncio.create_task(self._ask(address, feedback)) for address in self._addresses()
        ]
        silent = False
        try:
            for answer in asyncio.as_completed(asking):
                joined = await answer
                if joined is None:
                    silent = True
                elif joined is not Joined.UNKNOWN:
                    return joined
        finally:
            for task in asking:
                task.cancel()
        if silent:
            raise PeerSilentError
        return Joined.UNKNOWN

    async def _ask(self, address: str, feedback: Feedback) -> Joined | None:
        """None: no answer."""
        assert self._session is not None
        try:
            url, document = f"http://{address}{PATH}", feedback.document()
            asker = {ASKER_HEADER: self.name}
            async with self._session.post(url, json=document, headers=asker) as answer:
                return ANSWERS.get(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
