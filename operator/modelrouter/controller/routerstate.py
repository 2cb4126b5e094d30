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
            or history.pending(name)
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

    def grace(self, route: str, seconds: float) -> float:
        """How much longer a route's pods have time before its status says that they lag."""
        history = self.objects.shards.history
        if history.pending(route):
            return seconds
        return history.written(route) + seconds - time.monotonic()

    def facts(self, pods: Sequence[Pod], polls: AgentPolls) -> RouterFacts:
        """The router as statuses need it."""
        return RouterFacts(tuple(polls.facts(pod) for pod in pods), self.problem)

    def programming(self, route: str, pods: Sequence[Pod], polls: AgentPolls) -> Programming:
        """Whether all ready pods work by the present generation of a route."""
        history = self.objects.shards.history
        if history.pending(route):
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
            if history.behind(route, version):
                return Programming(
                    False, f"router pod {pod.name} has not taken this generation over yet"
                )
        return Programming(True)
