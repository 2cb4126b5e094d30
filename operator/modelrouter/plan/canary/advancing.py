"""A canary's state machine: from its status, and what is known, to its next status.

The status is all that it remembers, and every step is taken by writing it. Whoever calls `advance`
writes the status, and routers get the weight that is read back from there; so one who is killed at
any point neither skips a step nor takes one twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from modelrouter.api.canary import CANARY_ANNOTATION, Canary, CanaryStep, HookMoment
from modelrouter.api.canary_status import (
    AnalysisOutcome,
    CanaryPhase,
    CanaryStatus,
    PausedBy,
)
from modelrouter.plan.canary.evidence import Advance, Evidence
from modelrouter.plan.canary.judging import Judgement
from modelrouter.plan.canary.levers import Levers, levers
from modelrouter.plan.canary.telling import (
    promoted,
    running,
    summary,
    waiting_for_resume,
)
from modelrouter.plan.transitions import Event

_IDLE_S = 30.0
"""How often a canary is looked at where time alone changes nothing."""
_HARD_LIMIT_S = 1.0
_ENDED = (CanaryPhase.PROMOTED, CanaryPhase.ROLLED_BACK, CanaryPhase.ABORTED)


def advance(
    spec: Canary, status: CanaryStatus | None, evidence: Evidence, now: datetime
) -> Advance:
    """The next status of a canary. `status` is the present one; None: it has none yet.

    At most one step begins at a time. Equal input gives an equal result; a status that comes out
    as it went in needs no writing.
    """
    return _Turn(spec, evidence, _to_the_millisecond(now)).taken(status)


def analysis_due(spec: Canary, status: CanaryStatus, now: datetime) -> bool:
    """Whether the step that the status tells of is to be judged now.

    It is while a step runs, `analysis.interval` after the last analysis or, before the first one,
    after the step began; and once more when the step's pause is over.
    """
    if not spec.analysis.checks or not status.phase.running or not status.step:
        return False
    if status.paused_by in (PausedBy.SPEC, PausedBy.ANNOTATION):
        return False
    return _seconds_to_analysis(spec, status, now) <= 0


def _seconds_to_analysis(spec: Canary, status: CanaryStatus, now: datetime) -> float:
    last = max(status.judged or status.since, status.since)
    due = last + timedelta(seconds=spec.analysis.interval_seconds)
    step = _step(spec, status)
    if step is not None and step.seconds is not None:
        end = status.since + timedelta(seconds=step.seconds)
        if last < end:
            due = min(due, end)
    return (due - now).total_seconds()


class _Turn:
    """One look at a canary: collects the Events on the way to the next status."""

    def __init__(self, spec: Canary, evidence: Evidence, now: datetime) -> None:
        self._spec = spec
        self._evidence = evidence
        self._now = now
        self._events: list[Event] = []
        self._levers = Levers()

    def taken(self, status: CanaryStatus | None) -> Advance:
        """What comes of the look."""
        old = status
        if status is None:
            status = self._fresh()
        elif status.id != self._spec.id:
            what = f"was {status.stable} → {status.candidate}, rule {status.rule}"
            self._tell("Normal", "CanaryRestarted", f"another canary begins: the last one {what}")
            status = self._fresh()
        if self._evidence.annotation != status.ignored_annotation:
            status = _with(status, ignored_annotation="")
        annotation = self._evidence.annotation
        self._levers = levers(self._spec, annotation, status.ignored_annotation)
        ask: int | None = None
        if self._levers.aborted_by:
            status = self._aborted(status)
        else:
            if status.phase is CanaryPhase.ABORTED:
                self._tell("Normal", "CanaryRestarted", "it is not aborted any more: begins anew")
                status = self._fresh()
            if status.phase not in _ENDED:
                status, ask = self._onward(status)
        changed = old is None or _position(old) != _position(status)
        return Advance(status, tuple(self._events), changed, ask, self._look_again(status, ask))

    def _onward(self, status: CanaryStatus) -> tuple[CanaryStatus, int | None]:
        """A canary that has not ended, a moment later."""
        spec, evidence, pulled = self._spec, self._evidence, self._levers
        if evidence.candidate_problem:
            return self._without_candidate(status), None
        if status.step and evidence.breach:
            return self._rolled_back(status, f"hard limit: {evidence.breach}"), None
        if pulled.promote and evidence.candidate_ready:
            return self._promoted(status, f"by the annotation {CANARY_ANNOTATION}"), None
        if pulled.paused_by is not None:
            return self._paused(status, pulled.paused_by), None
        judgement = evidence.judgement
        if status.paused_by in (PausedBy.SPEC, PausedBy.ANNOTATION):
            status, judgement = self._unpaused(status), None
        if not status.step:
            if not evidence.candidate_ready:
                why = f"waits until an endpoint of {spec.candidate} is ready"
                return self._told(status, why), None
            return self._beginning(status, 1)
        if judgement is not None:
            status = self._judged(status, judgement)
            if status.phase is CanaryPhase.ROLLED_BACK:
                return status, None
        placed = self._placed(status)
        if spec.steps[placed - 1].weight > status.weight:
            return self._beginning(status, placed)
        status = self._renumbered(status, placed)
        if not self._is_over(status):
            return self._holding(status), None
        if not self._is_proved(status):
            return self._holding(self._overdue(status)), None
        if status.step == len(spec.steps):
            return self._promoted(status, f"after {_counted(len(spec.steps), 'step')}"), None
        return self._beginning(status, status.step + 1)

    def _fresh(self) -> CanaryStatus:
        """The status of a canary that has not begun."""
        spec = self._spec
        return CanaryStatus(
            phase=CanaryPhase.PENDING,
            id=spec.id,
            rule=spec.rule_name,
            stable=spec.stable,
            candidate=spec.candidate,
            steps=len(spec.steps),
            summary=CanaryPhase.PENDING.value,
            since=self._now,
            ignored_annotation=self._evidence.annotation[:256],
        )

    # --- the ends

    def _aborted(self, status: CanaryStatus) -> CanaryStatus:
        if status.phase is CanaryPhase.ABORTED:
            return status
        where = _where(status)
        message = (
            f"aborted by {self._levers.aborted_by}{where}: {status.stable} gets all requests; take "
            f"that back to begin anew"
        )
        self._tell("Warning", "CanaryAborted", message)
        return self._ended(status, CanaryPhase.ABORTED, 0, message)

    def _rolled_back(self, status: CanaryStatus, why: str) -> CanaryStatus:
        message = (
            f"rolled back{_where(status)}: {why}. {status.stable} gets all requests; to try again, "
            f"set spec.canary.aborted and take it back, or name another pool in spec.canary.to"
        )
        self._tell("Warning", "CanaryRolledBack", message)
        return self._ended(status, CanaryPhase.ROLLED_BACK, 0, message)

    def _promoted(self, status: CanaryStatus, how: str) -> CanaryStatus:
        message = f"promoted {how}: {promoted(self._spec)}"
        self._tell("Normal", "CanaryPromoted", message)
        return self._ended(status, CanaryPhase.PROMOTED, 100, message)

    def _ended(
        self, status: CanaryStatus, phase: CanaryPhase, weight: int, message: str
    ) -> CanaryStatus:
        return _with(
            status,
            phase=phase,
            weight=weight,
            since=self._now,
            summary=summary(phase, weight),
            paused_by=None,
            overdue=False,
            message=message,
        )

    def _without_candidate(self, status: CanaryStatus) -> CanaryStatus:
        problem = self._evidence.candidate_problem
        if status.step:
            text = f"{problem}: {status.stable} gets all requests, and the canary begins anew later"
            self._tell("Warning", "CanaryRestarted", text)
            status = self._fresh()
        if status.phase is not CanaryPhase.PENDING:
            status = _with(status, phase=CanaryPhase.PENDING, paused_by=None, since=self._now)
        return self._told(status, f"cannot begin: {problem}")

    # --- pausing

    def _paused(self, status: CanaryStatus, by: PausedBy) -> CanaryStatus:
        if status.paused_by is by:
            return self._told(status)
        if status.paused_by in (None, PausedBy.STEP):
            lever = "spec.canary.paused" if by is PausedBy.SPEC else "the annotation"
            self._tell("Normal", "CanaryPaused", f"paused by {lever}{_where(status)}")
        return self._told(_with(status, phase=CanaryPhase.PAUSED, paused_by=by))

    def _unpaused(self, status: CanaryStatus) -> CanaryStatus:
        """Goes on with its step, whose clock and window begin anew."""
        where = _where(status)
        self._tell("Normal", "CanaryResumed", f"goes on{where}" if where else "begins")
        phase = CanaryPhase.PROGRESSING if status.step else CanaryPhase.PENDING
        return self._anew(_with(status, phase=phase))

    def _anew(self, status: CanaryStatus) -> CanaryStatus:
        """The same step from its beginning."""
        return _with(
            status,
            since=self._now,
            failures=0,
            analysis=AnalysisOutcome.NONE,
            analysis_message="",
            judged=None,
            checks=[],
            paused_by=None,
            overdue=False,
        )

    # --- steps

    def _beginning(self, status: CanaryStatus, number: int) -> tuple[CanaryStatus, int | None]:
        """The step of this number begins, or the hooks are asked whether it may."""
        spec, answer = self._spec, self._evidence.answer
        if any(hook.at is HookMoment.BEFORE_STEP for hook in spec.hooks):
            if answer is None or answer.step != number:
                return self._told(status), number
            if answer.refusal:
                return self._told(status, f"step {number} waits: {answer.refusal}"), number
        step = spec.steps[number - 1]
        text = (
            f"step {number} of {len(spec.steps)}: {spec.candidate} gets {step.weight} % of the "
            f"requests of {spec.stable} in rule {spec.rule_name}"
        )
        self._tell("Normal", "CanaryStepped" if status.step else "CanaryStarted", text)
        begun = _with(
            self._anew(status),
            phase=CanaryPhase.PROGRESSING,
            step=number,
            steps=len(spec.steps),
            weight=step.weight,
        )
        return self._holding(begun), None

    def _placed(self, status: CanaryStatus) -> int:
        """Which of the present steps the weight in force belongs to.

        The steps may have been changed: it is the first one that does not lower the weight, or the
        last one if all do.
        """
        steps = self._spec.steps
        return next((n for n, s in enumerate(steps, 1) if s.weight >= status.weight), len(steps))

    def _renumbered(self, status: CanaryStatus, number: int) -> CanaryStatus:
        if (status.step, status.steps) == (number, len(self._spec.steps)):
            return status
        if self._spec.steps[number - 1].weight < status.weight and number != status.step:
            # Another step with a weight of its own: what the old one has proved is not enough.
            status = self._anew(_with(status, phase=CanaryPhase.PROGRESSING))
        return _with(status, step=number, steps=len(self._spec.steps))

    def _is_over(self, status: CanaryStatus) -> bool:
        """Whether the step has lasted long enough."""
        step = self._spec.steps[status.step - 1]
        if step.seconds is None:
            return self._levers.resumed_step == status.step
        return self._now - status.since >= timedelta(seconds=step.seconds)

    def _is_proved(self, status: CanaryStatus) -> bool:
        """Whether an analysis passed that was made once the step had lasted long enough."""
        if not self._spec.analysis.checks:
            return True
        if status.analysis is not AnalysisOutcome.PASSING or status.judged is None:
            return False
        seconds = self._spec.steps[status.step - 1].seconds or 0
        return status.judged - status.since >= timedelta(seconds=seconds)

    def _holding(self, status: CanaryStatus) -> CanaryStatus:
        """The step goes on; one without a duration waits for people once it has passed."""
        step = self._spec.steps[status.step - 1]
        passed = not self._spec.analysis.checks or status.analysis is AnalysisOutcome.PASSING
        waits = step.seconds is None and self._levers.resumed_step != status.step
        if waits and (passed or status.paused_by is PausedBy.STEP):
            if status.paused_by is None:
                self._tell("Normal", "CanaryPaused", waiting_for_resume(status))
            status = _with(status, phase=CanaryPhase.PAUSED, paused_by=PausedBy.STEP)
        else:
            status = _with(status, phase=CanaryPhase.PROGRESSING, paused_by=None)
        return self._told(status)

    # --- analysis

    def _judged(self, status: CanaryStatus, judgement: Judgement) -> CanaryStatus:
        failures = status.failures
        if judgement.outcome is AnalysisOutcome.PASSING:
            failures = 0
        elif judgement.outcome is AnalysisOutcome.FAILING:
            failures += 1
        status = _with(
            status,
            analysis=judgement.outcome,
            analysis_message=judgement.message[:8192],
            judged=self._now,
            checks=[check.status for check in judgement.checks],
            failures=failures,
        )
        if (
            judgement.outcome is AnalysisOutcome.FAILING
            and failures >= self._spec.analysis.failures_before_rollback
        ):
            many = f"{_counted(failures, 'failed analysis', 'failed analyses')} in a row"
            return self._rolled_back(status, f"{many}: {judgement.message}")
        return status

    def _overdue(self, status: CanaryStatus) -> CanaryStatus:
        """Long enough, but not proved: people are told once a step if there was too little."""
        if status.overdue or status.analysis is not AnalysisOutcome.INCONCLUSIVE:
            return status
        text = f"step {status.step} of {status.steps} cannot end yet: {status.analysis_message}"
        self._tell("Warning", "CanaryInconclusive", text)
        return _with(status, overdue=True)

    # --- telling

    def _tell(self, kind: str, reason: str, message: str) -> None:
        self._events.append(Event("Warning" if kind == "Warning" else "Normal", reason, message))

    def _told(self, status: CanaryStatus, why: str = "") -> CanaryStatus:
        """The status with the sentence for people."""
        parts = [why or running(self._spec, status), self._levers.problem]
        return _with(
            status,
            summary=summary(status.phase, status.weight),
            message="; ".join(part for part in parts if part),
        )

    def _look_again(self, status: CanaryStatus, ask: int | None) -> float:
        if status.phase in _ENDED:
            return _IDLE_S
        if ask is not None and self._evidence.answer is None:
            return 0.0
        waits = [_IDLE_S]
        if ask is not None:
            waits.append(min(self._spec.analysis.interval_seconds, _IDLE_S))
        if status.phase.running and status.step and self._spec.analysis.hard_limits:
            waits.append(_HARD_LIMIT_S)
        if status.phase is CanaryPhase.PROGRESSING or status.paused_by is PausedBy.STEP:
            if self._spec.analysis.checks:
                waits.append(_seconds_to_analysis(self._spec, status, self._now))
            step = _step(self._spec, status)
            if step is not None and step.seconds is not None:
                left = status.since + timedelta(seconds=step.seconds) - self._now
                if left > timedelta():
                    waits.append(left.total_seconds())
        return max(min(waits), 0.05)


def _step(spec: Canary, status: CanaryStatus) -> CanaryStep | None:
    return spec.steps[status.step - 1] if 0 < status.step <= len(spec.steps) else None


def _where(status: CanaryStatus) -> str:
    return f" in step {status.step} of {status.steps} ({status.weight} %)" if status.step else ""


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _position(status: CanaryStatus) -> tuple[object, ...]:
    return status.id, status.phase, status.step, status.weight


def _with(status: CanaryStatus, **changes: object) -> CanaryStatus:
    return status.model_copy(update=changes)


def _to_the_millisecond(now: datetime) -> datetime:
    """As a status that is written and read back has it."""
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
