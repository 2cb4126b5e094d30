"""Asking and telling the HTTP hooks of a canary.

A hook is anybody's server. So nothing of its answer is read but the status, no redirect is
followed, and every exchange ends in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import structlog

log = structlog.get_logger(__name__)

TELL_ATTEMPTS = 3
"""How often a hook is told of a transition, if it does not answer 2xx."""
TELL_PAUSES = (1.0, 5.0)
"""Seconds before the second and the third attempt."""
ASK_AGAIN_SECONDS = 5.0
"""How long a hook that said no, or did not answer, is left alone."""


class HookCalls:
    """Calls hooks over one HTTP session."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._sleep = sleep

    async def ask(self, url: str, seconds: float, body: Mapping[str, Any]) -> str:
        """Ask whether something may begin; empty: yes. Otherwise why not, for people."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.post(
                url, json=dict(body), timeout=timeout, allow_redirects=False
            ) as response:
                status = response.status
        except TimeoutError:
            return f"did not answer within {seconds:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not the error's text: it may quote the URL, and that may hold a token.
            return f"cannot be asked ({type(error).__name__})"
        if 200 <= status < 300:
            return ""
        if 300 <= status < 400:
            return f"answered {status}: redirects are not followed, so name the final URL"
        return f"answered {status}"

    async def tell(self, name: str, url: str, seconds: float, body: Mapping[str, Any]) -> bool:
        """Tell of a transition; whether the hook took it. It is tried a few times."""
        for attempt in range(TELL_ATTEMPTS):
            refusal = await self.ask(url, seconds, body)
            if not refusal:
                return True
            log.warning(
                "a hook was not told of a canary's transition",
                hook=name,
                route=f"{body.get('namespace')}/{body.get('route')}",
                attempt=attempt + 1,
                reason=refusal,
            )
            if attempt < len(TELL_PAUSES):
                await self._sleep(TELL_PAUSES[attempt])
        return False
