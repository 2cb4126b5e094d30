"""The demonstration's result in a few lines."""

from __future__ import annotations

from collections import Counter

from modelrouter.standalone.demo.story import FIRST_POOL, SECOND_POOL, Findings
from modelrouter.standalone.demo.tally import Disturbance, Tally

Line = tuple[str, str]
"""What was looked at, and what was found."""


def summary_lines(tally: Tally, findings: Findings) -> list[Line]:
    """Every figure that the story got as far as measuring."""
    kinds = Counter(answer.kind for answer in tally.answers)
    lines = [
        ("requests", f"{len(tally.answers)} ({_listed(kinds)})"),
        ("failures", str(len(tally.failures))),
    ]
    if findings.acknowledged is not None:
        lines.append(("new weight live in Envoy", f"{_ms(findings.acknowledged)} after the save"))
    if findings.shift is not None and findings.shift.first_moved is not None:
        moved = findings.shift
        first = f"{_ms(moved.first_moved or 0.0)} after the save"
        lines += [
            ("first request by the new weight", first),
            (f"share of {SECOND_POOL} then", f"{moved.share * 100:.0f} % (asked for: 50 %)"),
            (
                "sessions that changed pool",
                f"{moved.moved} to {SECOND_POOL}, {moved.strayed} anywhere else",
            ),
        ]
    if findings.server is not None:
        lines += _kill_lines(f"one server of {FIRST_POOL} killed", findings.server)
    if findings.pool is not None:
        lines += _kill_lines(f"all of {FIRST_POOL} killed", findings.pool)
    if findings.healed is not None:
        lines.append((f"{FIRST_POOL} answering again", f"{_s(findings.healed)} after its start"))
    if findings.agent is not None:
        lines += _kill_lines("agent killed", findings.agent)
    if findings.policy_back is not None:
        text = f"{findings.alone} requests; policy back after {_s(findings.policy_back)}"
        lines.append(("  placed by Envoy alone", text))
    return lines


def failure_lines(tally: Tally, most: int = 5) -> list[str]:
    """The commonest failures."""
    counted = Counter(f"{answer.kind}: {answer.failure}" for answer in tally.failures)
    return [f"{number} x {text}" for text, number in counted.most_common(most)]


def _kill_lines(title: str, found: Disturbance) -> list[Line]:
    first = "no answer came" if found.first_answer is None else f"{_ms(found.first_answer)} later"
    lines = [
        (title, f"next answer {first}, longest gap {_ms(found.longest_gap)}"),
        (
            "  requests after it",
            f"{found.answers}, {found.failures} failed, {found.resent} sent again by the router, "
            f"slowest {_ms(found.slowest)}",
        ),
    ]
    if found.cuts:
        text = f"{found.cuts}, in mid-answer at the kill; asked again by the client and answered"
        lines.append(("  streams cut", text))
    return lines


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _s(seconds: float) -> str:
    return f"{seconds:.1f} s"
