"""One route with a canary, and the cluster around it.

The cluster here is a snapshot that takes in what is written; a write can also fail, or be made
without anybody learning of it, as when the operator is killed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from modelrouter.api.canary import CANARY_ANNOTATION, Canary
from modelrouter.api.canary_status import CanaryStatus
from modelrouter.api.manifests import Key
from modelrouter.controller.canaries import Canaries
from modelrouter.controller.snapshot import Route, Snapshot
from modelrouter.plan.canary.judging import Judgement
from modelrouter.plan.transitions import Event

CHAT = ("ns", "chat")
STEPS = [{"weight": 5, "pause": "60s"}, {"weight": 50, "pause": "60s"}]


class Hooks:
    """Hooks that answer what the test says."""

    def __init__(self) -> None:
        self.refusal = ""
        self.asked: list[Mapping[str, Any]] = []
        self.told: list[Mapping[str, Any]] = []

    async def ask(self, url: str, seconds: float, body: Mapping[str, Any]) -> str:
        self.asked.append(body)
        return self.refusal

    async def tell(self, name: str, url: str, seconds: float, body: Mapping[str, Any]) -> bool:
        self.told.append(body)
        return True


class Stage:
    """One route, the cluster that keeps its status, and everything that surrounds a canary."""

    def __init__(self) -> None:
        self.snapshot, self.hooks = Snapshot(), Hooks()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.ready, self.problem = True, ""
        self.judgement: Judgement | None = None
        self.breached: str | None = None
        self.looked: Counter[str] = Counter()
        self.events: list[str] = []
        self.writes: list[CanaryStatus] = []
        self.lost: list[str] = []
        """What becomes of the next writes: `refused`, `unseen` or `pruned`."""
        self.woken = asyncio.Event()
        self._version = 0
        self._object: dict[str, Any] = {}
        self.canaries = self.new_leader()

    def new_leader(self) -> Canaries:
        """Another operator, which knows nothing but what is in the cluster."""
        hooks: Any = self.hooks
        self.canaries = Canaries(
            self.snapshot,
            self,
            Scouts(self),
            self,
            hooks,
            lambda key: self.woken.set(),
            lambda: self.now,
        )
        return self.canaries

    def apply(self, *, annotation: str = "", **canary: Any) -> None:
        """Apply the route; another spec is another generation."""
        given = {"from": "a", "to": "b", "steps": STEPS, **canary}
        spec: dict[str, Any] = {"models": ["chat"], "pools": ["a", "b"], "canary": given}
        if canary.get("steps") is None and "steps" in canary:
            del spec["canary"]
        before = self._object
        generation = before["metadata"]["generation"] if before else 0
        if not before or before["spec"] != spec:
            generation += 1
        self._store(spec, generation, annotation, before.get("status", {}))

    def _store(
        self, spec: Any, generation: int, annotation: str, status: Any, *, own: bool = False
    ) -> None:
        self._version += 1
        self._object = {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": "ModelRoute",
            "metadata": {
                "name": "chat",
                "namespace": "ns",
                "uid": "u",
                "generation": generation,
                "resourceVersion": str(self._version),
                "annotations": {CANARY_ANNOTATION: annotation} if annotation else {},
            },
            "spec": spec,
            "status": status,
        }
        self.snapshot.put_route(self._object, own=own)

    # In place of those who judge, know the candidate, and write

    async def judge(
        self, route: Route, spec: Canary, status: CanaryStatus, now: datetime
    ) -> Judgement:
        self.looked["judge"] += 1
        assert self.judgement is not None
        return self.judgement

    async def breach(
        self, route: Route, spec: Canary, status: CanaryStatus, now: datetime
    ) -> str | None:
        self.looked["breach"] += 1
        return self.breached

    async def report_canary(self, key: Key, spec: Canary, canary: CanaryStatus) -> None:
        fate = self.lost.pop(0) if self.lost else ""
        if fate == "refused":
            raise OSError("the API server is away")
        self.writes.append(canary)
        metadata = self._object["metadata"]
        status = {"canary": canary.document()} if fate != "pruned" else {}
        annotation = metadata["annotations"].get(CANARY_ANNOTATION, "")
        self._store(self._object["spec"], metadata["generation"], annotation, status, own=True)
        if fate == "unseen":
            raise TimeoutError

    def tell_of_route(self, key: Key, event: Event) -> None:
        self.events.append(event.reason)

    # What the test does and sees

    @property
    def status(self) -> CanaryStatus:
        found = self.snapshot.routes[CHAT].canary
        assert found is not None
        return found

    @property
    def place(self) -> tuple[str, int, int]:
        return self.status.phase.value, self.status.step, self.status.weight

    async def settle(self) -> float | None:
        """Look at the route until there is nothing to do just now; when to look again."""
        for _ in range(20):
            self.woken.clear()
            pause = await self.canaries.work_on(CHAT)
            for _ in range(5):
                await asyncio.sleep(0)
            if not self.woken.is_set() and pause != 0.0:
                return pause
        raise AssertionError("it never rests")

    async def passes(self, seconds: float) -> None:
        """Time passes, and the route is looked at as often as was asked for."""
        end = self.now + timedelta(seconds=seconds)
        while True:
            pause = await self.settle()
            if pause is None or self.now + timedelta(seconds=pause) > end:
                break
            self.now += timedelta(seconds=pause)
        self.now = end
        await self.settle()

    def metric(self, name: str, **labels: str) -> float | None:
        for family in self.canaries.metrics.collect():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None


class Scouts:
    """Those who know the candidate."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def problem(self, key: Key, spec: Canary) -> str:
        return self._stage.problem

    def ready(self, route: Route, spec: Canary) -> bool:
        return self._stage.ready
