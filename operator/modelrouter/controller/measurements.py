"""Gathering a canary's figures from the router pods that take its requests.

Each agent answers `/measurementz?route=NAME&seconds=60&seconds=30` with what its Envoy has logged
of both arms in the last so many seconds. Only the leader asks, and only while somebody wants to
judge a canary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from modelrouter.api.manifests import Key
from modelrouter.api.quantities import join_address
from modelrouter.controller.bounded_bodies import read_bounded
from modelrouter.controller.pods import Pod
from modelrouter.plan.canary.measurement import Measurement, read_document
from modelrouter.plan.naming import ADMIN_PORT
from modelrouter.plan.verdicts import listed

ANSWER_SECONDS = 1.0
"""A pod that takes longer is left out: a hard limit cannot wait for it."""


@dataclass(frozen=True, slots=True)
class Arms:
    """What both arms of a canary did in some window."""

    stable: Measurement = field(default_factory=Measurement)
    candidate: Measurement = field(default_factory=Measurement)

    def merge(self, other: Arms) -> Arms:
        """Both together."""
        return Arms(self.stable.merge(other.stable), self.candidate.merge(other.candidate))


@dataclass(frozen=True, slots=True)
class Gathered:
    """The figures of all pods that told theirs."""

    windows: Mapping[int, Arms] = field(default_factory=dict)
    """By seconds, all that were asked for."""
    silent: tuple[str, ...] = ()
    """Names of ready pods that told nothing, or of another canary."""
    asked: int = 0
    """How many pods there were to ask."""

    @property
    def gap(self) -> str:
        """What is missing, for people; empty: nothing."""
        if not self.asked:
            return "no router pod is ready"
        if not self.silent:
            return ""
        return f"without the figures of {listed(self.silent, ', ')}, which did not tell them"


class RouterFigures:
    """Asks router pods over one HTTP session."""

    def __init__(self, session: aiohttp.ClientSession, port: int = ADMIN_PORT) -> None:
        self._session = session
        self._port = port

    async def gather(
        self, route: Key, canary: str, pods: Iterable[Pod], seconds: Sequence[int]
    ) -> Gathered:
        """Ask all ready pods for these windows of a canary, by its id; takes a second at most."""
        windows = sorted(set(seconds))
        ready = [pod for pod in pods if pod.ready and pod.address]
        answers = await asyncio.gather(
            *(self._ask(route[1], canary, pod, windows) for pod in ready)
        )
        merged = dict.fromkeys(windows, Arms())
        for answer in answers:
            for window, arms in (answer or {}).items():
                merged[window] = merged[window].merge(arms)
        silent = [pod.name for pod, told in zip(ready, answers, strict=True) if told is None]
        return Gathered(merged, tuple(silent), len(ready))

    async def _ask(
        self, route: str, canary: str, pod: Pod, seconds: Sequence[int]
    ) -> dict[int, Arms] | None:
        query = [("route", route), *(("seconds", str(each)) for each in seconds)]
        try:
            async with self._session.get(
                f"http://{join_address(pod.address, self._port)}/measurementz",
                params=query,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            ) as response:
                response.raise_for_status()
                body = await read_bounded(response)
            return _read(orjson.loads(body), canary, seconds)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, TypeError, KeyError):
            return None


def _read(answer: Any, canary: str, seconds: Sequence[int]) -> dict[int, Arms] | None:
    if not isinstance(answer, dict) or answer.get("id") != canary:
        return None  # It has not taken this canary over yet.
    windows = answer["windows"]
    return {
        each: Arms(
            read_document(windows[str(each)]["stable"]),
            read_document(windows[str(each)]["canary"]),
        )
        for each in seconds
    }
