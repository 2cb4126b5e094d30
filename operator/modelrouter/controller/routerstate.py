"""What the leader remembers of one router between two looks at it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from modelrouter.api.manifests import Key
from modelrouter.controller.metrics import OperatorMetrics
from modelrouter.controller.planning import RouterPlan
from modelrouter.controller.pods import Pod
from modelrouter.controller.programmed import AgentPolls
from modelrouter.controller.reconciling import RouterObjects
from modelrouter.plan.facts import Programming, RouterFacts
from modelrouter.plan.naming import ADMIN_PORT
from modelrouter.plan.shards import pool_key, route_key

GRACE_SECONDS = 1.0
GRACE_SECONDS_EACH = 0.005


class RouterState:
    """The last plan of a router, and how far its pods have got with it."""

    def __init__(self, router: Key, objects: RouterObjects) -> None:
        self.router = router
        self.objects = objects
        self.plan: RouterPlan | None = None
        self.problem = ""
        """Why its objects cannot be written, for people; empty: they can."""
        self.awaiting: set[str] = set()
        """Routes whose status is not final before all pods have acknowledged them."""
        self._reach: dict[Key, int] = {}
        self._complete = 0

    def take(self, plan: RouterPlan) -> set[str]:
        """There is a new plan, not written yet; the routes for which something is different."""
        before, self.plan = self.plan, plan
        history = self.objects.shards.history
        outcomes = plan.planned.outcomes
        if before is None:
            return set(outcomes)
        return {
            name
            for name, outcome in outcomes.items()
            if before.planned.outcomes.get(name) is not outcome
            or before.models.get(name) is not plan.models[name]
            or history.pending(route_key(name))
        }

    def note_answers(
        self, pods: Iterable[Pod], polls: AgentPolls, metrics: OperatorMetrics
    ) -> bool:
        """Pods have acknowledged something. Whether all of them are at least where they were."""
        history = self.objects.shards.history
        reach = {pod.key: history.reach(polls.facts(pod).version) for pod in pods if pod.ready}
        forward = all(reach[key] >= self._reach.get(key, -1) for key in reach)
        self._reach = reach
        slowest = min(reach.values(), default=-1)
        if slowest == history.serial > self._complete:
            self._complete = slowest
            written = history.written_at(slowest)
            if written is not None:
                metrics.programmed_seconds.observe(time.monotonic() - written)
        return forward and slowest >= 0

    def lag(self, pods: Iterable[Pod], polls: AgentPolls, now: float) -> float:
        """Age in seconds of the oldest write that some ready pod does not work by."""
        history = self.objects.shards.history
        reach = [history.reach(polls.facts(pod).version) for pod in pods if pod.ready]
        if not reach or min(reach) >= history.serial:
            return 0.0
        missed = max(min(reach), 0) + 1
        written = history.written_at(missed)
        return now - written if written is not None else 0.0

    def grace(self, key: str) -> float:
        """How many seconds longer an entry has time to arrive before a status says that it has not.

        Mostly that saves a write. A thousand new routes take seconds, so each adds a little.
        """
        history = self.objects.shards.history
        grace = GRACE_SECONDS + GRACE_SECONDS_EACH * len(self.awaiting)
        if history.pending(key):
            return grace
        return history.written(key) + grace - time.monotonic()

    def unseen_for(self, pools: Iterable[str], pods: Iterable[Pod], polls: AgentPolls) -> float:
        """Seconds that it is worth waiting until ready pods see endpoints of new or changed pools.

        Probes take a moment: that a pool has no endpoint yet is nothing to tell anybody.
        """
        views = [polls.facts(pod).pools for pod in pods if pod.ready]
        waits = [0.0]
        for name in pools:
            if any(name not in view or view[name].ready == 0 for view in views):
                waits.append(self.grace(pool_key(name)))
        return max(waits)

    def facts(self, pods: Sequence[Pod], polls: AgentPolls) -> RouterFacts:
        """The router as statuses need it."""
        return RouterFacts(tuple(polls.facts(pod) for pod in pods), self.problem)

    def programming(self, route: str, pods: Sequence[Pod], polls: AgentPolls) -> Programming:
        """Whether all ready pods work by the present generation of a route."""
        history = self.objects.shards.history
        if history.pending(route_key(route)):
            return Programming(False, "its configuration has not been written yet")
        ready = [pod for pod in pods if pod.ready]
        if not ready:
            names = ", ".join(pod.name for pod in pods)
            return Programming(
                False,
                f"no pod of router {self.router[1]} is ready"
                + (f": look at {names}" if names else "; its Deployment has no pods yet"),
            )
        for pod in ready:
            version = polls.facts(pod).version
            if version is None:
                return Programming(
                    False,
                    f"router pod {pod.name} does not answer the operator on port {ADMIN_PORT}; "
                    "see whether a NetworkPolicy forbids it",
                )
            if history.behind(route_key(route), version):
                return Programming(
                    False, f"router pod {pod.name} has not taken this generation over yet"
                )
        return Programming(True)
