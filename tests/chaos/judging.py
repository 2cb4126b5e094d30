"""What a run has shown: a pure function of what clients, servers and the striker saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from chaos.journals import Visit
from chaos.samples import Outcome, Sample
from chaos.striking import Kill

NOTICED_SECONDS = 3.0
"""Within this time after its server was killed a client must have learned of it."""
_ALLOWED = 0.1
"""Seconds by which clocks of processes of one machine may seem to disagree."""


@dataclass(slots=True)
class Verdict:
    """The figures of a run. Times in seconds."""

    requests: int = 0
    streams: int = 0
    tokens: int = 0
    """That came in streams and whole answers and were as expected."""
    failed: int = 0
    """Requests without an answer, or with another than the right one."""
    truncated: int = 0
    """Answers that ended too early, though their server was not killed."""
    cut_with_their_server: int = 0
    """Streams whose own server was killed while it was sending them."""
    cut_told: dict[str, int] = field(default_factory=dict)
    """How the clients of those learned it."""
    cut_noticed: float = 0.0
    """From the kill until a client had learned it, at most."""
    lost_with_their_router: int = 0
    """Requests that were on their way through an Envoy, or an agent, when that was killed."""
    duplicated: int = 0
    """Requests that more than one server answered to the end."""
    reconnects: int = 0
    """Connections refused, and tried again, since a router that was killed is known a while."""
    retried: int = 0
    """Requests that needed more than one attempt of the router."""
    first_token_p50: float = 0.0
    first_token_p99: float = 0.0
    whole_p99: float = 0.0
    """Of answers that are not streamed."""
    longest_gap: float = 0.0
    """Without any request that ended well."""
    longest_silence: float = 0.0
    """Within a stream that ended well."""
    problems: list[str] = field(default_factory=list)
    """Of what failed or was truncated, the first ones."""

    @property
    def holds(self) -> bool:
        """Whether nothing failed that need not."""
        return self.requests > 0 and not self.failed and not self.truncated

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "holds": self.holds}


def judge(
    samples: Sequence[Sample],
    visits: Mapping[str, Iterable[Visit]],
    kills: Sequence[Kill],
) -> Verdict:
    """Count. `visits`: by request id."""
    verdict = Verdict(requests=len(samples))
    for sample in samples:
        verdict.streams += sample.streamed
        verdict.tokens += sample.tokens
        verdict.reconnects += sample.reconnects
        verdict.retried += sample.attempts not in ("", "1")
        seen = list(visits.get(sample.id, ()))
        verdict.duplicated += sum(visit.completed for visit in seen) > 1
        if sample.outcome is not Outcome.RIGHT:
            _count(verdict, sample, seen, kills)
    _measure(verdict, [sample for sample in samples if sample.outcome is Outcome.RIGHT])
    return verdict


def _count(verdict: Verdict, sample: Sample, seen: Sequence[Visit], kills: Sequence[Kill]) -> None:
    kill = _killed_server(sample, seen, kills)
    if kill and (sample.outcome is Outcome.ERROR_EVENT or not sample.guarded):
        verdict.cut_with_their_server += 1
        told = "an error event" if sample.outcome is Outcome.ERROR_EVENT else "a broken connection"
        verdict.cut_told[told] = verdict.cut_told.get(told, 0) + 1
        verdict.cut_noticed = max(verdict.cut_noticed, sample.ended - kill.at)
        return
    if _was_in_a_killed_router(sample, kills):
        verdict.lost_with_their_router += 1
        return
    if sample.outcome is Outcome.BROKEN or (
        sample.outcome in (Outcome.WRONG, Outcome.ERROR_EVENT) and sample.tokens
    ):
        verdict.truncated += 1
    else:
        verdict.failed += 1
    if len(verdict.problems) < 20:
        where = ", ".join(visit.pod for visit in seen) or "no server that is left"
        verdict.problems.append(
            f"{sample.sent:.3f} to {sample.ended:.3f} {sample.id} "
            f"{'stream' if sample.streamed else 'whole'} {sample.outcome}: {sample.problem}; "
            f"{sample.tokens} tokens; pool {sample.pool or '-'}; at {where}"
        )


def _killed_server(sample: Sample, seen: Sequence[Visit], kills: Sequence[Kill]) -> Kill | None:
    """The kill that ended this stream."""
    if not sample.streamed or sample.outcome not in (Outcome.BROKEN, Outcome.ERROR_EVENT):
        return None
    # Attempts at other pools came before the one that began to answer.
    there = [visit for visit in seen if visit.pool == sample.pool]
    last = max(there, key=lambda visit: visit.started, default=None)
    for kill in kills:
        if kill.pool != sample.pool or not kill.pool:
            continue
        if not (sample.sent <= kill.done and sample.ended <= kill.done + NOTICED_SECONDS):
            continue
        if sample.ended < kill.at - _ALLOWED:
            continue
        # A journal ends with its server: of the last requests only the pool is known.
        if last is None or last.pod in kill.pods:
            return kill
    return None


def _was_in_a_killed_router(sample: Sample, kills: Sequence[Kill]) -> bool:
    return sample.outcome in (Outcome.BROKEN, Outcome.LOST) and any(
        not kill.pool
        and (sample.guarded or not kill.agent)
        and sample.sent <= kill.done
        and kill.at - _ALLOWED <= sample.ended <= kill.done + 1.0
        for kill in kills
    )


def _measure(verdict: Verdict, right: Sequence[Sample]) -> None:
    first = sorted(sample.first - sample.sent for sample in right if sample.streamed)
    whole = sorted(sample.ended - sample.sent for sample in right if not sample.streamed)
    verdict.first_token_p50, verdict.first_token_p99 = _quantile(first, 0.5), _quantile(first, 0.99)
    verdict.whole_p99 = _quantile(whole, 0.99)
    ends = sorted(sample.ended for sample in right)
    gaps = (after - before for before, after in pairwise(ends))
    verdict.longest_gap = max(gaps, default=0.0)
    verdict.longest_silence = max((sample.silence for sample in right), default=0.0)


def _quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else 0.0
