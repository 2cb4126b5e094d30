"""The load of pools, gathered from the router pods that are asked and from the model servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelrouter.api.autoscaling import Autoscaling
from modelrouter.api.manifests import Key
from modelrouter.api.pool_name import pool_of
from modelrouter.controller.pods import PodStore
from modelrouter.controller.programmed import AgentPolls
from modelrouter.controller.snapshot import Snapshot
from modelrouter.plan.scaling.load import Load, RouterLoads, ServerLoad, measure

ServerLoads = Callable[[Key], Sequence[ServerLoad]]
"""What the ready model servers of a pool last told."""


def no_servers(pool: Key) -> Sequence[ServerLoad]:
    """For pools whose target the routers alone know."""
    return ()


def autoscaling_of(snapshot: Snapshot, pool: Key) -> Autoscaling | None:
    """How a pool is autoscaled; None: it is not, or cannot be read."""
    found = snapshot.pools.get(pool)
    if found is None or found.model is None or found.model.spec.vllm is None:
        return None
    return found.model.spec.vllm.autoscaling


class Loads:
    """The load of any pool now."""

    def __init__(
        self,
        snapshot: Snapshot,
        pods: PodStore,
        polls: AgentPolls,
        servers: ServerLoads = no_servers,
    ) -> None:
        self._snapshot = snapshot
        self._pods = pods
        self._polls = polls
        self._servers = servers

    def of(self, pool: Key, spec: Autoscaling) -> Load:
        """The load of a pool, as far as it is told."""
        told: list[RouterLoads] = []
        silent: list[str] = []
        for router in sorted(self._snapshot.routers_of_pool(pool)):
            pods = self._pods.of(router)
            if not any(pod.ready for pod in pods):
                silent.append(f"router {router[1]}, which has no ready pod")
            for pod in pods:
                loads = self._polls.loads(pod)
                # One that is not ready gets no new requests, but may still have some.
                if pod.ready or loads:
                    views = self._polls.facts(pod).pools
                    ready = any(
                        counts.ready > 0
                        for name, counts in views.items()
                        if pool_of(name) == pool[1]
                    )
                    told.append(RouterLoads(pod.name, loads, ready))
        if spec.target.metric == "running_requests":
            return measure(pool[1], spec.target.metric, told, unreachable=silent)
        return measure(pool[1], spec.target.metric, told, self._servers(pool), silent)
