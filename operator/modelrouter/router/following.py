"""Endpoints of pools that follow a Service: from the cluster straight to Envoy.

They belong to no version of the configuration. A pod that goes must not wait for anything, least
of all for a configuration that is being prepared; and a configuration that was prepared before
the pod went must not bring it back. Only where no probed endpoint would be left, those that went
stay for a moment: see `handover`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping

from modelrouter.api.router_config import PoolConfig, ServiceEndpoints
from modelrouter.router.discovery import ResourceSet, Store
from modelrouter.router.envoy.clusters import uses_endpoint_discovery
from modelrouter.router.envoy.endpoints import beside, serialized_assignment
from modelrouter.router.envoy.resources import EnvoyResources
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.handover import Handover
from modelrouter.router.services import Groups, Services

Pools = Mapping[str, PoolConfig]

LAST_ONES_STAY_SECONDS = 0.25
"""How long Envoy keeps the endpoints of a pool that is scaled to zero. From the first moment on no
request is sent to them any more, but those that have just been decided are on their way; the pod
that goes still serves them."""


class ServiceFollower:
    """Keeps Envoy's endpoints of such pools as `services` has them."""

    def __init__(self, services: Services, store: Store, settings: EnvoySettings) -> None:
        self.services = services
        self._store = store
        self._settings = settings
        self._pools: dict[str, PoolConfig] = {}
        self._live: dict[str, bytes] = {}
        self._handovers: dict[str, Handover] = {}
        self._changed_meanwhile: set[str] = set()
        self._weights: dict[str, Mapping[str, int]] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called after each change, for what can wait."""
        self.on_report: Callable[[], None] = lambda: None
        """Called after each change, for what cannot."""

    def report(self, changed: Collection[str]) -> None:
        """These Services have other endpoints; Envoy gets them at once."""
        self._changed_meanwhile.update(changed)
        for name, pool in self._pools.items():
            if _service(pool).name in changed:
                if pool.scaling is not None and pool.scaling.from_zero and self.has_none(pool):
                    loop = asyncio.get_running_loop()
                    loop.call_later(LAST_ONES_STAY_SECONDS, self._push_later, name, pool)
                else:
                    self._push(name, pool)
        if changed:
            self.on_report()
            self.on_change()

    def has_none(self, pool: PoolConfig) -> bool:
        """Whether a pool surely has no endpoint: nothing is known before the cluster has told."""
        if pool.service is None:
            return pool.addresses is not None and not pool.addresses
        return self.services.heard and not self.services.addresses(pool.service)

    def _push(self, name: str, pool: PoolConfig) -> None:
        handover = self._handovers[name]
        addresses: Collection[str] = self.services.addresses(_service(pool))
        if pool.probe is not None:
            addresses = handover.take(addresses, time.monotonic())
        self._live[name] = self._assignment(name, addresses)
        self._store.update_endpoints(name, self._live[name])
        if pool.probe is not None and handover.again_at is not None:
            delay = handover.again_at - time.monotonic()
            asyncio.get_running_loop().call_later(delay, self._push_again, name, handover)

    def _push_later(self, name: str, pool: PoolConfig) -> None:
        """What the cluster says by now, unless the pool has gone or changed."""
        if self._pools.get(name) == pool:
            self._push(name, pool)

    def _push_again(self, name: str, handover: Handover) -> None:
        """What left goes, unless that has happened, or the pool has gone or changed its source."""
        if self._handovers.get(name) is handover and handover.again_at is not None:
            self._push(name, self._pools[name])

    def addresses(self, pool: PoolConfig) -> tuple[str, ...]:
        """`ip:port` of a pool's endpoints; none if they are found by name."""
        if pool.service is not None:
            return self.services.addresses(pool.service)
        return tuple(pool.addresses or ()) if uses_endpoint_discovery(pool) else ()

    def weigh(self, name: str, pool: PoolConfig, weights: Mapping[str, int]) -> None:
        """Give the endpoints of a pool these weights; empty: the same to all."""
        former = self._weights.get(name, {})
        self._weights[name] = weights
        if pool.service is not None:
            if former != weights and name in self._pools:
                self._push(name, self._pools[name])
            return
        addresses = self.addresses(pool)
        if not addresses:
            return
        # While a new configuration comes into force, Envoy may have others beside them.
        own = {
            serialized_assignment(name, addresses, self._settings, known)
            for known in (None, former)
        }
        if self._store.endpoints_of(name) in own:
            self._store.update_endpoints(name, self._assignment(name, addresses))

    def absent(self, pool: PoolConfig) -> int:
        """Endpoints of a pool that the cluster lists and that are not ready."""
        return self.services.absent(pool.service) if pool.service is not None else 0

    def snapshot(self) -> Groups:
        """What a configuration is prepared with. What changes from here on is mended later."""
        self._changed_meanwhile = set()
        return self.services.groups

    def refreshed(self, resources: EnvoyResources) -> EnvoyResources:
        """Resources in force, with the endpoints that Envoy has by now."""
        return dataclasses.replace(resources, endpoints={**resources.endpoints, **self._live})

    def begin(self, pools: Pools, own: Pools, both: ResourceSet, alone: ResourceSet) -> ResourceSet:
        """`both`, the resources of new pools beside the old ones, with endpoints as of now.

        `alone` are those of the new pools, and `own` those of them that follow a Service and may
        have endpoints. From here on they are followed too.
        """
        endpoints = dict(both.endpoints)
        live = {name: body for name, body in self._live.items() if name not in pools}
        handovers = {name: self._handovers[name] for name in live}
        now = time.monotonic()
        endpoints.update(live)
        for name, pool in own.items():
            known = self._pools.get(name)
            if known is not None and known.service == pool.service:
                live[name] = endpoints[name] = self._live[name]
                handovers[name] = self._handovers[name]
                continue
            handovers[name] = Handover(self.services.addresses(_service(pool)), now)
            if _service(pool).name not in self._changed_meanwhile:
                live[name] = alone.endpoints[name]
            else:
                live[name] = self._endpoints(name, pool)
                # What the pool had before stays until the new endpoints have been probed.
                endpoints[name] = beside(endpoints[name], live[name])
        self._pools = {n: p for n, p in self._pools.items() if n not in pools} | dict(own)
        self._live, self._handovers = live, handovers
        return dataclasses.replace(both, endpoints=endpoints)

    def settle(self, own: Pools, alone: ResourceSet) -> ResourceSet:
        """`alone`, with endpoints as of now. The old pools are no longer followed."""
        self._pools = dict(own)
        self._live = {name: self._live[name] for name in own}
        self._handovers = {name: self._handovers[name] for name in own}
        return dataclasses.replace(alone, endpoints={**alone.endpoints, **self._live})

    def _endpoints(self, name: str, pool: PoolConfig) -> bytes:
        addresses = self.services.addresses(_service(pool))
        return self._assignment(name, addresses)

    def _assignment(self, name: str, addresses: Collection[str]) -> bytes:
        weights = self._weights.get(name)
        return serialized_assignment(name, addresses, self._settings, weights)


def _service(pool: PoolConfig) -> ServiceEndpoints:
    assert pool.service is not None
    return pool.service
