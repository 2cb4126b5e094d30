"""The benchmark of mirrors runs, and tells what it saw; not whether anything is fast."""

from __future__ import annotations

from bench import mirroring
from bench.mirroring import Scenario


def test_a_small_run() -> None:
    scenario = Scenario("answers after 5 ms", 5, 2, bounded=True)
    outcome = mirroring.run(scenario, rounds=1, seconds=0.3, most_rounds=1)
    assert outcome.failures == 0
    (turn,) = outcome.rounds
    assert set(turn) == {"without", "mirrored", "compared", "dead"}
    assert all(measured.seen.requests for measured in turn.values())
    text = mirroring.section([outcome], "make bench")
    assert "answers after 5 ms: all copied and compared |" in text
    assert "| answers after 5 ms: no caller's request fails | 0 | yes |" in text
    assert "p99 at most 1.05x" in text
