"""Canaries at work: what comes next is decided by `advance`, written, and only then true.

`status.canary` in the cluster is all that counts. Each look at a route takes it from there, with
what the figures, hooks and people say, and writes the next one; plans are made of what was written.
So an operator that is killed anywhere leaves a status from which its successor goes on. What is
remembered here saves work or waits for an answer; nothing is lost with it but the telling of a
transition, which happens at most once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from modelrouter.api.canary import CANARY_ANNOTATION, Canary, HookMoment
from modelrouter.api.canary_status import AnalysisOutcome, CanaryPhase, CanaryStatus
from modelrouter.api.manifests import Key
from modelrouter.controller.canary_hooks import ASK_AGAIN_SECONDS, HookCalls
from modelrouter.controller.canary_metrics import CanaryMetrics
from modelrouter.controller.snapshot import Route, Snapshot
from modelrouter.plan.canary.advancing import advance, analysis_due
from modelrouter.plan.canary.evidence import Advance, Evidence, StepAnswer
from modelrouter.plan.canary.judging import Judgement
from modelrouter.plan.transitions import Event

log = structlog.get_logger(__name__)

AWAITING_SECONDS = 1.0
"""How often a canary is looked at, at most, while an answer is awaited: that wakes it anyway."""
UNREADABLE_SECONDS = 10.0
"""When a status is written again that was not kept as it was written."""


class Judges(Protocol):
    """Who judges canaries."""

    async def judge(
        self, route: Route, spec: Canary, status: CanaryStatus, now: datetime
    ) -> Judgement:
        """How the candidate does in the present step."""

    async def breach(
        self, route: Route, spec: Canary, status: CanaryStatus, now: datetime
    ) -> str | None:
        """The hard limit that the candidate is beyond."""


class Scouts(Protocol):
    """Who knows the candidates."""

    def problem(self, key: Key, spec: Canary) -> str:
        """Why the candidate cannot be used at all; empty: it can."""

    def ready(self, route: Route, spec: Canary) -> bool:
        """Whether requests to the candidate would be answered."""


class Reports(Protocol):
    """Who writes statuses and tells people."""

    async def report_canary(self, key: Key, spec: Canary, canary: CanaryStatus) -> None:
        """Write how far a canary got, if the route still has it."""

    def tell_of_route(self, key: Key, event: Event) -> None:
        """Post an Event."""


@dataclass(slots=True)
class _Memory:
    """What is under way for the canary of one route."""

    spec: Canary | None = None
    mark: tuple[object, ...] = ()
    """Which step of `spec`: what was found out about another one does not count."""
    judging: bool = False
    judgement: Judgement | None = None
    """Not taken into the status yet."""
    asking: bool = False
    answer: StepAnswer | None = None
    answered: datetime | None = None
    written: tuple[CanaryStatus | None, Advance] | None = None
    """The status before and what came of it, of which is not known yet whether it was written."""


class Canaries:
    """The canaries of one term. `work_on` is for a queue that has one worker for a key at a time.

    Belongs to one event loop. `wake` has a route worked on at once.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        judges: Judges,
        scouts: Scouts,
        reports: Reports,
        hooks: HookCalls,
        wake: Callable[[Key], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._snapshot = snapshot
        self._judges = judges
        self._scouts = scouts
        self._reports = reports
        self._hooks = hooks
        self._wake = wake
        self._clock = clock
        self.metrics = CanaryMetrics(clock)
        self._memories: dict[Key, _Memory] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    def concerns(self, key: Key) -> bool:
        """Whether there is work for `work_on`: a canary, or one that has gone."""
        route = self._snapshot.routes.get(key)
        return key in self._memories or (route is not None and _canary_of(route) is not None)

    async def work_on(self, key: Key) -> float | None:
        """Take the canary of a route as far as it may go; the seconds until it is to be looked at
        again. None: not before something changes."""
        route = self._snapshot.routes.get(key)
        spec = _canary_of(route) if route is not None else None
        if route is None or spec is None:
            self._memories.pop(key, None)
            self.metrics.forget(key)
            return None
        memory = self._memories.setdefault(key, _Memory())
        status = route.canary
        self._settle(key, spec, memory, status)
        self._follow(memory, spec, status)
        breach = None
        if status is not None and status.phase.running and status.step:
            breach = await self._judges.breach(route, spec, status, self._clock())
            route = self._snapshot.routes.get(key)
            if route is None or _canary_of(route) is not spec or route.canary != status:
                return 0.0
        evidence = Evidence(
            candidate_ready=self._scouts.ready(route, spec),
            candidate_problem=self._scouts.problem(key, spec),
            annotation=str(
                (route.live["metadata"].get("annotations") or {}).get(CANARY_ANNOTATION, "")
            ),
            judgement=memory.judgement,
            breach=breach,
            answer=memory.answer,
        )
        found = advance(spec, status, evidence, self._clock())
        if status is None or found.status.document() != status.document():
            return await self._write(key, spec, memory, status, found)
        memory.judgement = None  # There was no use for it.
        self._judge_if_due(key, route, spec, memory, status)
        self._ask_hooks(key, spec, memory, found)
        if not (status.phase.running or status.phase is CanaryPhase.PENDING):
            return None
        pause = found.look_again_s
        if memory.answer is not None and memory.answer.refusal:
            pause = min(pause, ASK_AGAIN_SECONDS)
        awaited = memory.judging or memory.asking
        return max(pause, AWAITING_SECONDS if awaited else 0.05)

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _write(
        self,
        key: Key,
        spec: Canary,
        memory: _Memory,
        before: CanaryStatus | None,
        found: Advance,
    ) -> float:
        memory.written = (before, found)
        await self._reports.report_canary(key, spec, found.status)
        route = self._snapshot.routes.get(key)
        if route is None or _canary_of(route) is not spec:
            return 0.0
        self._settle(key, spec, memory, route.canary)
        if route.canary is None or route.canary.document() != found.status.document():
            log.warning(
                "a canary's status was not kept; are the CRDs those of this version?",
                route="/".join(key),
            )
            return UNREADABLE_SECONDS
        return 0.0

    def _settle(self, key: Key, spec: Canary, memory: _Memory, status: CanaryStatus | None) -> None:
        """What was written is in the cluster, or never got there."""
        if status is not None:
            self.metrics.show(key, spec, status)
        pending, memory.written = memory.written, None
        if pending is None or status is None:
            return
        before, written = pending
        if written.status.document() != status.document():
            return
        if memory.judgement is not None and before is not None:
            # The next step begins without an analysis of its own.
            if (before.judged, before.step) != (status.judged, status.step):
                self.metrics.judged(key, memory.judgement.outcome)
            memory.judgement = None
        for event in written.events:
            self._reports.tell_of_route(key, event)
        if written.transition:
            self.metrics.turned(key, status.phase)
            log.info(
                "canary",
                route="/".join(key),
                phase=status.phase.value,
                step=status.step,
                weight=status.weight,
                because=status.message,
            )
            body = _told(key, spec, status, HookMoment.ON_TRANSITION)
            for hook in spec.hooks:
                if hook.at is HookMoment.ON_TRANSITION:
                    self._begin(self._hooks.tell(hook.name, hook.url, hook.timeout_seconds, body))

    def _follow(self, memory: _Memory, spec: Canary, status: CanaryStatus | None) -> None:
        mark = (status.id, status.step, status.since) if status is not None else ()
        if memory.spec is not spec or memory.mark != mark:
            memory.spec, memory.mark = spec, mark
            memory.judgement = memory.answer = None

    def _judge_if_due(
        self, key: Key, route: Route, spec: Canary, memory: _Memory, status: CanaryStatus
    ) -> None:
        if not memory.judging and analysis_due(spec, status, self._clock()):
            memory.judging = True
            self._begin(self._judge(key, route, spec, memory, status))

    async def _judge(
        self, key: Key, route: Route, spec: Canary, memory: _Memory, status: CanaryStatus
    ) -> None:
        of = (memory.spec, memory.mark)
        try:
            judgement = await self._judges.judge(route, spec, status, self._clock())
        except Exception as error:
            log.error("a canary could not be judged", route="/".join(key), exc_info=True)
            text = f"the operator could not judge ({type(error).__name__}); its log says more"
            judgement = Judgement(AnalysisOutcome.INCONCLUSIVE, (), text)
        finally:
            memory.judging = False
        if memory.spec is of[0] and memory.mark == of[1]:
            memory.judgement = judgement
        self._wake(key)

    def _ask_hooks(self, key: Key, spec: Canary, memory: _Memory, found: Advance) -> None:
        step, now = found.ask_before, self._clock()
        if step is None:
            memory.answer = None
            return
        if memory.answer is not None and memory.answer.step == step and memory.answered is not None:
            again = memory.answered + timedelta(seconds=ASK_AGAIN_SECONDS)
            if not memory.answer.refusal or now < again:
                return
        if not memory.asking:
            memory.asking = True
            self._begin(self._ask(key, spec, memory, found.status, step))

    async def _ask(
        self, key: Key, spec: Canary, memory: _Memory, status: CanaryStatus, step: int
    ) -> None:
        body = _told(key, spec, status, HookMoment.BEFORE_STEP)
        body |= {"step": step, "weight": spec.steps[step - 1].weight}
        hooks = [hook for hook in spec.hooks if hook.at is HookMoment.BEFORE_STEP]
        mark = memory.mark
        try:
            refusals = await asyncio.gather(
                *(self._hooks.ask(hook.url, hook.timeout_seconds, body) for hook in hooks)
            )
        finally:
            memory.asking = False
        told = [f"hook {h.name} {why}" for h, why in zip(hooks, refusals, strict=True) if why]
        if memory.mark == mark:
            memory.answer, memory.answered = StepAnswer(step, "; ".join(told)), self._clock()
        self._wake(key)

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _canary_of(route: Route) -> Canary | None:
    return route.model.spec.canary if route.model is not None else None


def _told(key: Key, spec: Canary, status: CanaryStatus, at: HookMoment) -> dict[str, Any]:
    """What a hook is told."""
    return {
        "at": at.value,
        "namespace": key[0],
        "route": key[1],
        "canary": status.id,
        "rule": spec.rule_name,
        "from": spec.stable,
        "to": spec.candidate,
        "phase": status.phase.value,
        "step": status.step,
        "steps": status.steps,
        "weight": status.weight,
        "since": status.document()["since"],
        "message": status.message,
    }
