"""The agent: takes configuration from a source, gives it to Envoy, and decides requests by it.

A configuration comes into force in three steps, so that no decision ever names a cluster that
Envoy does not have: Envoy gets everything new beside everything old; once it has acknowledged,
decisions follow the new policy; what nobody names any more is taken away a little later.

Where only routes have changed, as with a weight, Envoy has every cluster already, and decisions
follow the new policy at once: Envoy takes long over the route table of a thousand routes.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from modelrouter.api.router_config import PoolConfig, RouterConfig
from modelrouter.policy.compiling import Policy
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.accounting.metrics import PoolGauge, Programmed
from modelrouter.router.decisions.service import DecisionService
from modelrouter.router.discovery import ResourceSet, Store
from modelrouter.router.envoy.resources import EnvoyResources, ResourceBuilder, headers_looked_at
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.following import ServiceFollower
from modelrouter.router.holding.room import WaitingRoom
from modelrouter.router.inputs import Inputs, Secrets
from modelrouter.router.last_good import LastGoodConfig
from modelrouter.router.measuring.measurements import Measurements
from modelrouter.router.mirroring.mirrors import Mirrors
from modelrouter.router.pacing import let_go
from modelrouter.router.pool_counts import PoolCounts
from modelrouter.router.reading import ConfigReader, InvalidConfigError
from modelrouter.router.services import Groups, Services

log = structlog.get_logger(__name__)

REMOVAL_DELAY_SECONDS = 2.0
"""Longer than a request can be between its decision and its routing."""

LEFTOVER_PLANS_SECONDS = 30.0
"""The same where nothing but plans is to be taken away. They do no harm, and a route table of a
thousand routes costs Envoy half a second: the next change may take them along."""


class InForce(NamedTuple):
    """What decisions can count on in Envoy: it has acknowledged all of this."""

    pools: Mapping[str, PoolConfig]
    secrets: Secrets
    headers: frozenset[str]
    """Request headers that it shows the agent."""


class Compiled(NamedTuple):
    """A configuration as decisions need it."""

    config: RouterConfig
    policy: Policy
    headers: frozenset[str]
    """Request headers that the policy looks at."""

    def counts_on(self, envoy: InForce | None, secrets: Secrets) -> bool:
        """Whether decisions by it need nothing that Envoy may not have."""
        return (
            envoy is not None
            and self.config.pools == envoy.pools
            and secrets == envoy.secrets
            and self.headers <= envoy.headers
        )


class Prepared(NamedTuple):
    """What Envoy needs for a configuration."""

    resources: EnvoyResources
    both: ResourceSet
    """Its resources beside those in force."""
    alone: ResourceSet
    """Its resources without any others."""

    @property
    def leaves_only_plans(self) -> bool:
        """Whether nothing else of what was in force is to be taken away."""
        kinds = ("clusters", "endpoints", "secrets")
        return all(getattr(self.both, kind) == getattr(self.alone, kind) for kind in kinds)


class Agent:
    """State of one running agent. Everything happens on one event loop."""

    def __init__(
        self,
        settings: EnvoySettings,
        ledger: Ledger,
        store: Store,
        last_good: LastGoodConfig | None = None,
    ) -> None:
        self.ledger = ledger
        self.programmed = Programmed()
        self.decide = DecisionService(ledger)
        self.endpoints = ServiceFollower(Services(), store, settings)
        self._store = store
        self._last_good = last_good
        self._reader = ConfigReader()
        self._builder = ResourceBuilder(settings)
        self._current = EnvoyResources()
        self._in_force: InForce | None = None
        self.counts = PoolCounts()
        self.room = WaitingRoom(ledger.pools)
        self.measurements = Measurements()
        self.mirrors = Mirrors(ledger, settings)
        self.decide.wake = self._wake
        self.endpoints.on_report = self._services_changed
        self.is_known: Callable[[], bool] = lambda: True
        """Whether Envoy sends its questions to this agent."""
        self.problems_of_source: Callable[[], Iterable[Mapping[str, str]]] = tuple
        """What the source of the configuration has to say for itself, for `/readyz`."""
        self._source_problems: tuple[Mapping[str, str], ...] = ()
        self._invalid: Mapping[str, str] | None = None
        self._keyless: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._removal: asyncio.TimerHandle | None = None
        self._draining = False

    # Configuration

    async def apply(self, inputs: Inputs, superseded: asyncio.Event) -> bool:
        """Bring inputs into force. False if they are invalid, or newer ones came meanwhile."""
        self._source_problems = inputs.problems
        if inputs.document is None:
            return False
        former: Policy | None = None
        try:
            # In a thread, so that decisions go on meanwhile: a thousand routes take a second.
            compiled = await asyncio.to_thread(asyncio.run, self._compile(inputs.document))
            if compiled.counts_on(self._in_force, inputs.secrets):
                former = self.decide.use(compiled.policy)
            preparing = self._prepare(compiled.config, inputs, self.endpoints.snapshot())
            ready = await asyncio.to_thread(asyncio.run, preparing)
        except (InvalidConfigError, ValueError) as error:
            if former is not None:
                self.decide.use(former)
            self.programmed.rejected += 1
            self._invalid = {"source": "configuration", "message": str(error)}
            log.error("configuration rejected; the last one stays in force", reason=str(error))
            return False
        self._invalid = None
        if self._removal is not None:
            self._removal.cancel()
        started = time.monotonic()
        config = compiled.config
        version, pools = config.version, config.pools
        own = {
            name: pool
            for name, pool in pools.items()
            if pool.service is not None and _has_key(pool, inputs.secrets)
        }
        self._store.update(self.endpoints.begin(pools, own, ready.both, ready.alone), version)
        if not await self._acknowledged(version, superseded):
            # What Envoy may have got of it by now must stay known until a later removal.
            self._current = self._current.joined_with(ready.resources)
            return False
        log.debug("acknowledged", version=version, ms=round((time.monotonic() - started) * 1e3, 1))
        self._take_over(config, inputs.secrets)
        before = self.decide.use(compiled.policy, ready.resources.plans)
        self._in_force = InForce(pools, inputs.secrets, compiled.headers)
        self._current = ready.resources
        self._removal = asyncio.get_running_loop().call_later(
            LEFTOVER_PLANS_SECONDS if ready.leaves_only_plans else REMOVAL_DELAY_SECONDS,
            lambda: self._store.update(self.endpoints.settle(own, ready.alone), version),
        )
        if self._last_good is not None:
            await asyncio.to_thread(self._last_good.save, inputs)
        if (former := former or before) is not compiled.policy:
            await let_go(former.by_model, former.routes, former.pools, former.shadows)
        # What is new lives as long as the configuration: the collector need not look at it.
        gc.freeze()
        return True

    async def _compile(self, document: Mapping[str, Any]) -> Compiled:
        """Raises `ValueError` for what cannot be brought into force."""
        config = await self._reader.read(document)
        policy = await self.decide.compile(config)
        return Compiled(config, policy, frozenset(headers_looked_at(config)))

    async def _prepare(self, config: RouterConfig, inputs: Inputs, services: Groups) -> Prepared:
        """Raises `ValueError` for what cannot be brought into force."""
        resources = await self._builder.build(config, inputs.secrets, services)
        current = self.endpoints.refreshed(self._current)
        both = current.joined_with(resources).as_set().with_versions()
        alone = resources.as_set().with_versions()
        return Prepared(resources, both, alone)

    async def _acknowledged(self, version: str, superseded: asyncio.Event) -> bool:
        """Wait until Envoy has answered. False if newer inputs came before."""
        acknowledged = asyncio.create_task(self._store.acknowledged(version))
        newer = asyncio.create_task(superseded.wait())
        done, pending = await asyncio.wait(
            (acknowledged, newer), return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if acknowledged not in done:
            return False
        if not acknowledged.result():
            self.programmed.rejected += 1
        return True

    def _take_over(self, config: RouterConfig, secrets: Secrets) -> None:
        self._keyless = frozenset(
            name for name, pool in config.pools.items() if not _has_key(pool, secrets)
        )
        self.ledger.use_pools(config.pools)
        self.measurements.use(config)
        self.mirrors.use(config)
        self.room.scalings = {
            name: pool.scaling
            for name, pool in config.pools.items()
            if pool.scaling is not None and pool.scaling.from_zero
        }
        for name, state in self.ledger.pools.items():
            state.cold = state.cold and name in self.room.scalings
        self.programmed.pools = config.pools
        self.programmed.applied += 1
        self._report_states(self.programmed.endpoints)
        if config.version != self.programmed.version:
            self.programmed.version = config.version
            self._changed.set()
            self._changed = asyncio.Event()
            log.info(
                "configuration in force",
                version=config.version,
                routes=len(config.routes),
                pools=len(config.pools),
            )

    # Health

    def report_memberships(self, memberships: Mapping[str, PoolGauge]) -> None:
        """Envoy's view of the endpoints; empty while Envoy is away."""
        if not memberships and self.programmed.endpoints:
            self.ledger.forget_in_flight()
        self.programmed.endpoints = {
            name: gauge for name, gauge in memberships.items() if name in self.programmed.pools
        }
        self._report_states(memberships, fresh=True)

    def _report_states(self, memberships: Mapping[str, PoolGauge], *, fresh: bool = False) -> None:
        for name, state in self.ledger.pools.items():
            gauge = memberships.get(name)
            if name in self._keyless:
                state.ready, state.endpoints = 0, gauge.total if gauge else None
            elif gauge is None:
                state.ready = state.endpoints = None
            else:
                state.ready, state.endpoints = gauge.ready, gauge.total
            pool = self.programmed.pools.get(name)
            state.absent = self.endpoints.absent(pool) if pool is not None else 0
        self._look_for_cold(fresh=fresh)

    def _services_changed(self) -> None:
        if self.room.scalings:
            self._look_for_cold()

    def _look_for_cold(self, *, fresh: bool = False) -> None:
        """Note which pools are at zero, let those go on who have waited, and tell.

        A pool is warm again once Envoy says so; `fresh`: it has just been asked.
        """
        for name in self.room.scalings:
            state = self.ledger.pools[name]
            if self.endpoints.has_none(self.programmed.pools[name]):
                state.cold, state.endpoints = True, 0
            elif fresh and state.ready:
                state.cold = False
            if state.cold:
                state.ready = 0
        self.room.open_doors()
        self._tell()

    def _wake(self, pool: str) -> None:
        wanted = self.room.wanted(pool)
        self.room.wake(pool)
        if not wanted:
            log.info("a request wants a pool that is at zero", pool=pool)
            self._tell()

    def _tell(self) -> None:
        pools, gauges = self.programmed.pools, self.programmed.endpoints
        counts: dict[str, dict[str, int]] = {}
        for name, state in sorted(self.ledger.pools.items()):
            if state.ready is None or state.endpoints is None:
                continue
            gauge = gauges.get(name, PoolGauge(0, 0))
            counts[name] = {"ready": state.ready, "total": state.endpoints}
            if gauge.ejected:
                counts[name]["ejected"] = gauge.ejected
            if pools[name].scaling is not None:
                in_flight = max(gauge.active, int(self.ledger.busy(name)))
                counts[name] |= {"inFlight": in_flight, "waiting": self.room.wanted(name)}
        self.counts.offer(counts)

    # What others see

    @property
    def acknowledged(self) -> str:
        """Version of the configuration in force."""
        return self.programmed.version

    async def changed(self, after: str) -> str:
        """Wait until another version than `after` is in force."""
        while self.programmed.version == after:
            await self._changed.wait()
        return self.programmed.version

    def start_draining(self) -> None:
        """No new traffic should come."""
        self._draining = True

    def stop_draining(self) -> None:
        """Traffic may come again: another Envoy has taken the place of the one that ended."""
        self._draining = False

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Ready once Envoy has acknowledged a configuration and sends its questions, until draining
        begins. Before, requests would be placed without the agent."""
        problems = [dict(problem) for problem in self._source_problems]
        problems += [dict(problem) for problem in self.problems_of_source()]
        if self._invalid is not None:
            problems.append(dict(self._invalid))
        problems += [
            {"source": "envoy", "resource": rejection.name, "message": rejection.message}
            for rejection in self._store.rejections
        ]
        ready = bool(self.programmed.version) and self.is_known() and not self._draining
        return ready, {
            "version": self.programmed.version,
            "draining": self._draining,
            "problems": problems,
        }

    def view(self) -> Mapping[str, Any]:
        """Routes with their pools' figures, and pools with their endpoints."""
        gauges = self.programmed.endpoints
        return {
            "version": self.programmed.version,
            "routes": self.ledger.view(),
            "pools": {
                name: {
                    "ready": state.ready,
                    "endpoints": state.endpoints,
                    "in_flight": gauges[name].active if name in gauges else 0,
                    **({"waiting": state.waiting} if name in self.room.scalings else {}),
                }
                for name, state in sorted(self.ledger.pools.items())
            },
        }


def _has_key(pool: PoolConfig, secrets: Secrets) -> bool:
    wanted = pool.credential
    return wanted is None or bool(secrets.get(wanted.secret, {}).get(wanted.key))
