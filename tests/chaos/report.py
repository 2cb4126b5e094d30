"""A run's figures for people."""

from __future__ import annotations

from collections.abc import Mapping

from chaos.judging import Verdict


def report(verdict: Verdict, done: Mapping[str, int], *, seed: int, seconds: float) -> str:
    """As printed at the end."""
    told = ", ".join(f"{count} by {how}" for how, count in sorted(verdict.cut_told.items()))
    noticed = f" ({told}; within {verdict.cut_noticed:.2f} s)" if told else ""
    rows = [
        ("what was done", ", ".join(f"{kind} {count}" for kind, count in sorted(done.items()))),
        ("requests", f"{verdict.requests}, of them {verdict.streams} streams; "
                     f"{verdict.tokens} tokens compared"),
        ("failed", str(verdict.failed)),
        ("truncated", str(verdict.truncated)),
        ("cut with their server", f"{verdict.cut_with_their_server}{noticed}"),
        ("lost with their router", str(verdict.lost_with_their_router)),
        ("answered twice", str(verdict.duplicated)),
        ("tried again", f"{verdict.retried} by the router; "
                        f"{verdict.reconnects} refused connections by the client"),
        ("first token", f"p50 {verdict.first_token_p50:.3f} s, "
                        f"p99 {verdict.first_token_p99:.3f} s"),
        ("whole answer", f"p99 {verdict.whole_p99:.3f} s"),
        ("longest gap", f"{verdict.longest_gap:.2f} s without an answer; "
                        f"{verdict.longest_silence:.2f} s of silence within a stream"),
    ]  # fmt: skip
    lines = [f"chaos for {seconds:.0f} s, seed {seed}: {'holds' if verdict.holds else 'FAILED'}"]
    lines += [f"  {name:<25} {text}" for name, text in rows]
    lines += [f"  {problem}" for problem in verdict.problems]
    return "\n".join(lines)
