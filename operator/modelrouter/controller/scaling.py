"""The built-in autoscaler at work: keeps the state of each pool, and says when it has turned.

It writes nothing itself: who reconciles a pool asks `desired`. All that it remembers is in memory;
a new leader takes over the replicas of the Deployment and takes none away before it has seen a
whole `scaleDownDelay`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from prometheus_client.registry import Collector

from modelrouter.api.autoscaling import Autoscaling, ScalingEngine
from modelrouter.api.manifests import Key
from modelrouter.api.pool_name import pool_of
from modelrouter.controller.loads import Loads, autoscaling_of
from modelrouter.controller.metrics import OperatorMetrics
from modelrouter.controller.snapshot import Snapshot
from modelrouter.plan.scaling.deciding import ScalerState, begin, decide
from modelrouter.plan.scaling.load import Load
from modelrouter.plan.scaling.telling import scaling_event, scaling_status
from modelrouter.plan.transitions import Event
from modelrouter.plan.vllm.times import startup_seconds

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
"""How often every pool is looked at, beside every time that a router tells another load."""
PULL_SECONDS = 600
"""What a first replica may need beyond its `startupTimeout`, for a node and for its image."""


Replicas = Callable[[Key], tuple[int, bool] | None]
"""Gives the `spec.replicas` of a pool's Deployment, and whether the operator owns that field; None:
there is no Deployment."""
Turned = Callable[[Key, Event | None], None]
"""Takes a pool whose number of replicas or reason is another, and what to tell people."""


class Scaler:
    """The built-in autoscaler of one term. Belongs to one event loop."""

    def __init__(
        self,
        snapshot: Snapshot,
        loads: Loads,
        replicas: Replicas,
        turned: Turned,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshot = snapshot
        self._loads = loads
        self._replicas = replicas
        self._turned = turned
        self._clock = clock
        self._states: dict[Key, ScalerState] = {}
        self._latest: dict[Key, Load] = {}

    async def run(self) -> None:
        """Look at all pools again and again, until cancelled."""
        while True:
            self.look_at_all()
            await asyncio.sleep(TICK_SECONDS)

    def desired(self, pool: Key) -> int | None:
        """How many replicas to apply to a pool's Deployment; None: leave them as they are.

        Only of pools with `autoscaling`. With KEDA the operator names a number until KEDA has set
        another, because a field that nobody names any more falls back to its default, which is 1.
        """
        spec = autoscaling_of(self._snapshot, pool)
        if spec is None:
            return None
        if spec.engine is not ScalingEngine.BUILT_IN:
            live = self._replicas(pool)
            if live is None:
                return spec.min_replicas
            return live[0] if live[1] else None
        return self._state(pool, spec).replicas

    def status(self, pool: Key) -> dict[str, Any] | None:
        """`status.autoscaling` of a pool; None: it is not scaled by the operator."""
        spec = autoscaling_of(self._snapshot, pool)
        if spec is None or spec.engine is not ScalingEngine.BUILT_IN:
            return None
        state = self._state(pool, spec)
        return scaling_status(state) if state.message else None

    def load_changed(self, router: Key, pools: Iterable[str]) -> None:
        """A router pod tells another load of these pools or adapters."""
        for name in {pool_of(name) for name in pools}:
            self._look_at((router[0], name))

    def look_at_all(self) -> None:
        """Decide on every pool."""
        for pool in list(self._snapshot.pools):
            self._look_at(pool)
        for pool in [pool for pool in self._states if pool not in self._snapshot.pools]:
            self._forget(pool)

    def observed_by(self, metrics: OperatorMetrics) -> list[Collector]:
        """Have what is decided reported; for `forget_gauge` at the end of the term."""
        labels = ["namespace", "pool"]
        return [
            metrics.observe_gauge(
                "modelrouter_pool_desired_replicas",
                "Replicas that the built-in autoscaler wants.",
                labels,
                lambda: {pool: float(state.replicas) for pool, state in self._states.items()},
            ),
            metrics.observe_gauge(
                "modelrouter_pool_requests",
                "Requests under way or held by routers, as the built-in autoscaler sees them.",
                labels,
                lambda: {pool: float(load.requests) for pool, load in self._latest.items()},
            ),
            metrics.observe_gauge(
                "modelrouter_pool_load_unknown",
                "1 while somebody who ought to tell the load of the pool does not.",
                labels,
                lambda: {pool: float(not load.complete) for pool, load in self._latest.items()},
            ),
        ]

    def _state(self, pool: Key, spec: Autoscaling) -> ScalerState:
        state = self._states.get(pool)
        if state is None:
            live = self._replicas(pool)
            state = begin(live[0] if live is not None else spec.min_replicas, self._clock())
            self._states[pool] = state
        return state

    def _look_at(self, pool: Key) -> None:
        spec = autoscaling_of(self._snapshot, pool)
        if spec is None or spec.engine is not ScalingEngine.BUILT_IN:
            self._forget(pool)
            return
        vllm = self._snapshot.pools[pool].model.spec.vllm  # type: ignore[union-attr]
        before, load = self._state(pool, spec), self._loads.of(pool, spec)
        startup = startup_seconds(vllm) + PULL_SECONDS if vllm is not None else 0
        after = decide(spec, before, load, self._clock(), startup)
        self._states[pool], self._latest[pool] = after, load
        if before.replicas != after.replicas:
            log.info(
                "scaling",
                pool="/".join(pool),
                before=before.replicas,
                after=after.replicas,
                because=after.message,
            )
        if (before.replicas, before.reason, before.message) != (
            after.replicas,
            after.reason,
            after.message,
        ):
            self._turned(pool, scaling_event(before, after))

    def _forget(self, pool: Key) -> None:
        self._states.pop(pool, None)
        self._latest.pop(pool, None)
