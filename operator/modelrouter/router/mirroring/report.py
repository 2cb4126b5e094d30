"""What is kept of pairs, and the report about a route's mirror."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelrouter.api.router_config import MirrorConfig
from modelrouter.router.accounting.ledger import quantile
from modelrouter.router.mirroring.comparing import Compared, Outcome, Side, Verdict
from modelrouter.router.mirroring.figures import Figures

MOST_KEPT = 1_000
"""Pairs of a route and pool whose particulars are kept."""
MOST_NAMED = 100
"""Disagreements in a report."""


@dataclass(slots=True)
class Comparison:
    """All pairs of a route and the pool that got its copies."""

    outcomes: dict[Outcome, int] = field(default_factory=dict)
    verdicts: dict[Verdict, int] = field(default_factory=dict)
    agreement: float = 0.0
    """The sum of all scores."""
    scored: int = 0
    kept: deque[Compared] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    disagreements: deque[Compared] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))

    def add(self, pair: Compared) -> None:
        """Keep a pair."""
        self.outcomes[pair.outcome] = self.outcomes.get(pair.outcome, 0) + 1
        if pair.verdict is not None:
            self.verdicts[pair.verdict] = self.verdicts.get(pair.verdict, 0) + 1
        if pair.agreement is not None:
            self.agreement += pair.agreement
            self.scored += 1
        self.kept.append(pair)
        if pair.outcome not in (Outcome.AGREED, Outcome.NOT_COMPARABLE, Outcome.BOTH_FAILED):
            self.disagreements.append(pair)


def document(
    route: str,
    mirror: MirrorConfig,
    copies: Figures,
    evaluations: Figures,
    comparison: Comparison,
) -> dict[str, Any]:
    """The report, as plain data."""
    kept = comparison.kept
    report: dict[str, Any] = {
        "route": route,
        "pool": mirror.pool,
        "rule": mirror.rule,
        "percent": mirror.percent,
        "copies": _figures(copies),
        "compare": mirror.compare,
    }
    if not mirror.compare:
        return report
    mean = comparison.agreement / comparison.scored if comparison.scored else None
    report["pairs"] = {
        "compared": sum(comparison.outcomes.values()),
        **{outcome.value: comparison.outcomes.get(outcome, 0) for outcome in Outcome},
        "meanAgreement": None if mean is None else round(mean, 4),
    }
    report["latencyMs"] = {
        "original": _latency(pair.original for pair in kept),
        "copy": _latency(pair.copy for pair in kept),
    }
    if mirror.evaluator is not None:
        verdicts = {verdict.value: comparison.verdicts.get(verdict, 0) for verdict in Verdict}
        report["evaluator"] = {
            "pool": mirror.evaluator,
            "verdicts": verdicts,
            **_figures(evaluations),
        }
    named = list(comparison.disagreements)[: -MOST_NAMED - 1 : -1]
    report["disagreements"] = [_named(pair) for pair in named]
    return report


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "requests": figures.requests,
        "errors": figures.errors,
        "promptTokens": figures.prompt_tokens,
        "completionTokens": figures.completion_tokens,
        "costDollars": round(figures.cost, 6),
    }


def _latency(sides: Iterable[Side]) -> dict[str, float | None]:
    values = [side.latency_ms for side in sides]
    return {"p50": quantile(values, 0.5), "p95": quantile(values, 0.95)}


def _named(pair: Compared) -> dict[str, Any]:
    return {
        "requestId": pair.request_id,
        "at": pair.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "prompt": pair.prompt,
        "promptCharacters": pair.prompt_characters,
        "outcome": pair.outcome.value,
        "agreement": pair.agreement,
        "verdict": pair.verdict.value if pair.verdict else None,
        "original": _side(pair.original),
        "copy": _side(pair.copy),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "pool": side.pool,
        "status": side.status,
        "characters": side.characters,
        "tokens": side.tokens,
        "latencyMs": side.latency_ms,
        "firstByteMs": side.first_byte_ms,
    }


def text(report: Mapping[str, Any]) -> str:
    """The report for people."""
    copies = report["copies"]
    lines = [
        f"route {report['route']}: {report['percent']} % of "
        f"{'rule ' + report['rule'] if report['rule'] else 'all requests'} "
        f"copied to {report['pool']}",
        f"copies: {copies['requests']}, {copies['errors']} of them failed; "
        f"{copies['promptTokens']} + {copies['completionTokens']} tokens, "
        f"{copies['costDollars']} dollars",
    ]
    if "pairs" not in report:
        return "\n".join([*lines, "answers are not compared (compare: true does)", ""])
    pairs, latency = report["pairs"], report["latencyMs"]
    lines += [
        f"pairs: {pairs['compared']} compared, {pairs['agreed']} agree, "
        f"{pairs['disagreed']} disagree, {pairs['copyFailed']} failed as a copy only, "
        f"{pairs['originalFailed']} failed originally only, {pairs['bothFailed']} failed twice",
        f"agreement: {_or_none(pairs['meanAgreement'])} on average",
        f"latency p50/p95 in ms: original {_or_none(latency['original']['p50'])}/"
        f"{_or_none(latency['original']['p95'])}, copy {_or_none(latency['copy']['p50'])}/"
        f"{_or_none(latency['copy']['p95'])}",
    ]
    if "evaluator" in report:
        told = report["evaluator"]
        verdicts = ", ".join(f"{count} {name}" for name, count in told["verdicts"].items())
        lines.append(f"evaluator {told['pool']}: {verdicts}; {told['costDollars']} dollars")
    if report["disagreements"]:
        header = (
            f"{'REQUEST':38}{'PROMPT':18}{'OUTCOME':16}{'AGREEMENT':11}{'VERDICT':10}ORIGINAL/COPY"
        )
        lines += ["", header]
    for pair in report["disagreements"]:
        sides = "/".join(
            f"{side['status']} {side['characters']} chars {side['latencyMs']:g} ms"
            for side in (pair["original"], pair["copy"])
        )
        lines.append(
            f"{pair['requestId']:37} {pair['prompt']:18}{pair['outcome']:16}"
            f"{_or_none(pair['agreement']):<11}{pair['verdict'] or '-':10}{sides}"
        )
    return "\n".join([*lines, ""])


def _or_none(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
