"""All mirrors of a router: what comes in, what is kept, and what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from modelrouter.api.router_config import MirrorConfig, PoolConfig, RouterConfig
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.decisions.protocol import DecisionServer
from modelrouter.router.envoy.mirror_headers import MIRRORED
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.mirroring.comparing import Compared, Comparer
from modelrouter.router.mirroring.evaluating import Evaluator
from modelrouter.router.mirroring.figures import KINDS, CopyFigures, Figures
from modelrouter.router.mirroring.pairs import PairStore
from modelrouter.router.mirroring.report import Comparison, document


class Mirrors:
    """State of the mirrors of one agent."""

    def __init__(self, ledger: Ledger, settings: EnvoySettings) -> None:
        self._settings = settings
        self._mirrors: Mapping[str, MirrorConfig] = {}
        self._comparing: set[str] = set()
        self._pools: Mapping[str, PoolConfig] = {}
        self.figures = CopyFigures(ledger)
        self.comparisons: dict[tuple[str, str], Comparison] = {}
        """By route and the pool that got the copies."""
        self._evaluator = Evaluator(settings.mirror_socket, self._find_evaluator)
        self.comparer = Comparer(self._keep, self._evaluator)
        self.pairs = PairStore(self.comparer.offer)

    def use(self, config: RouterConfig) -> None:
        """Take over the mirrors of a new configuration. Figures of former ones stay."""
        self._mirrors = {
            name: route.mirror for name, route in config.routes.items() if route.mirror is not None
        }
        self._comparing = {name for name, mirror in self._mirrors.items() if mirror.compare}
        self._pools = config.pools
        for route, pool in list(self.comparisons):
            mirror = self._mirrors.get(route)
            if mirror is None or mirror.pool != pool:
                del self.comparisons[route, pool]

    def record(self, record: RequestRecord) -> bool:
        """A line of the access log. Whether it is about a copy, and so about no request of a
        client."""
        if record.reason not in KINDS:
            if record.route in self._comparing:
                self.pairs.note(record)
            return False
        self.figures.record(record)
        if record.reason == MIRRORED and record.route in self._comparing:
            self.pairs.note(record, copy=True)
        return True

    def report(self, route: str) -> dict[str, Any] | None:
        """What is known of a route's mirror; None if it has none."""
        mirror = self._mirrors.get(route)
        if mirror is None:
            return None
        figures, key = self.figures, (route, mirror.pool)
        evaluator = (route, mirror.evaluator or "")
        return document(
            route,
            mirror,
            figures.copies.get(key, Figures()),
            figures.evaluations.get(evaluator, Figures()),
            self.comparisons.get(key, Comparison()),
        )

    @property
    def routes(self) -> list[str]:
        """Routes that have a mirror."""
        return sorted(self._mirrors)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Take in what Envoy's Lua hands over."""
        server = DecisionServer(self._settings.pairs_socket, self.pairs.take)
        await server.start()
        try:
            async with self._evaluator:
                yield
        finally:
            await server.stop()

    def _keep(self, pair: Compared) -> None:
        mirror = self._mirrors.get(pair.route)
        if mirror is not None and mirror.pool == pair.copy.pool:
            key = (pair.route, mirror.pool)
            self.comparisons.setdefault(key, Comparison()).add(pair)

    def _find_evaluator(self, route: str) -> tuple[str, PoolConfig] | None:
        mirror = self._mirrors.get(route)
        name = mirror.evaluator if mirror is not None else None
        if name is None or name not in self._pools:
            return None
        return name, self._pools[name]
