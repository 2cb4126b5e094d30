"""What is known of the pool that a canary goes to."""

from __future__ import annotations

from collections.abc import Callable, Collection

from modelrouter.api.canary import Canary
from modelrouter.api.manifests import Key
from modelrouter.api.pool_name import adapter_of, pool_of
from modelrouter.controller.pods import PodStore
from modelrouter.controller.programmed import AgentPolls
from modelrouter.controller.snapshot import Route, Snapshot
from modelrouter.plan.facts import RouterFacts
from modelrouter.plan.pool_status import observed
from modelrouter.plan.pools import has_adapter


class Candidates:
    """Whether candidates are there, and whether requests to them would be answered."""

    def __init__(
        self,
        snapshot: Snapshot,
        pods: PodStore,
        polls: AgentPolls,
        waking: Callable[[Route], Collection[str]],
    ) -> None:
        self._snapshot = snapshot
        self._pods = pods
        self._polls = polls
        self._waking = waking

    def problem(self, key: Key, spec: Canary) -> str:
        """Why the candidate cannot be used at all, for people; empty: it can."""
        name, adapter = pool_of(spec.candidate), adapter_of(spec.candidate)
        label = f"ModelPool {key[0]}/{name}"
        pool = self._snapshot.pools.get((key[0], name))
        if pool is None:
            return f"there is no {label}; create it"
        if pool.model is None:
            return f"{label} is invalid; its own status says why"
        if adapter and not has_adapter(pool.model, adapter):
            return f"{label} has no adapter {adapter}; add it to its spec.vllm.loraAdapters"
        return ""

    def ready(self, route: Route, spec: Canary) -> bool:
        """Whether every router pod has an endpoint of the candidate, or would have one started."""
        pods = self._pods.of((route.key[0], route.router))
        facts = RouterFacts(tuple(self._polls.facts(pod) for pod in pods))
        counts = observed([facts], spec.candidate)
        if counts is not None and counts.ready > 0:
            return True
        return pool_of(spec.candidate) in self._waking(route)
