"""What counts as a failure of the router and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.journals import Visit
from chaos.judging import NOTICED_SECONDS, judge
from chaos.report import report
from chaos.samples import Outcome, Sample
from chaos.striking import Kill

SERVER = Kill(100.0, 100.01, ("alpha-1",), "alpha")
ENVOY = Kill(100.0, 100.01, ("router-1",))


def sample(outcome: Outcome = Outcome.RIGHT, **more: Any) -> Sample:
    given = {"streamed": True, "sent": 99.0, "ended": 100.1, "pool": "alpha", "tokens": 3} | more
    return Sample("a", outcome=outcome, problem=outcome, **given)


def visit(pod: str, *, started: float = 99.0, completed: bool = False) -> Visit:
    return Visit(pod, pod.partition("-")[0], started, None, completed)


def test_right_answers_hold_and_none_at_all_do_not() -> None:
    assert judge([sample()], {}, []).holds
    assert not judge([], {}, []).holds


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.RIGHT])
def test_whatever_is_not_right_counts_while_nothing_was_killed(outcome: Outcome) -> None:
    verdict = judge([sample(outcome)], {}, [])
    assert verdict.failed + verdict.truncated == 1
    assert not verdict.holds
    assert outcome in verdict.problems[0]


def test_a_part_of_an_answer_is_truncated_and_none_at_all_is_failed() -> None:
    assert judge([sample(Outcome.BROKEN)], {}, []).truncated == 1
    assert judge([sample(Outcome.WRONG)], {}, []).truncated == 1
    assert judge([sample(Outcome.REFUSED, tokens=0)], {}, []).failed == 1
    assert judge([sample(Outcome.LOST, tokens=0)], {}, []).failed == 1


@pytest.mark.parametrize(
    "seen",
    [[visit("alpha-1")], [], [visit("gamma-1")]],
    ids=["journal", "pool", "tried-elsewhere-before"],
)
def test_a_stream_whose_server_was_killed_is_counted_apart(seen: list[Visit]) -> None:
    verdict = judge([sample(Outcome.BROKEN)], {"a": seen}, [SERVER])
    assert verdict.holds
    assert verdict.cut_with_their_server == 1
    assert verdict.cut_told == {"a broken connection": 1}
    assert verdict.cut_noticed == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        (sample(Outcome.BROKEN), [visit("alpha-2")]),
        (sample(Outcome.BROKEN), [visit("alpha-1", started=98.0), visit("alpha-2")]),
        (sample(Outcome.BROKEN, pool="beta"), []),
        (sample(Outcome.BROKEN, ended=99.5), []),
        (sample(Outcome.BROKEN, ended=100.1 + NOTICED_SECONDS), []),
        (sample(Outcome.BROKEN, sent=100.05), []),
        (sample(Outcome.HUNG), []),
        (sample(Outcome.WRONG), []),
        (sample(Outcome.BROKEN, streamed=False), []),
    ],
    ids=[
        "elsewhere",
        "later-elsewhere",
        "pool",
        "before",
        "late",
        "after",
        "hung",
        "wrong",
        "whole",
    ],
)
def test_a_kill_excuses_nothing_else(broken: Sample, seen: list[Visit]) -> None:
    assert not judge([broken], {"a": seen}, [SERVER]).holds


def test_what_was_in_a_killed_envoy_is_counted_apart() -> None:
    verdict = judge([sample(Outcome.BROKEN), sample(Outcome.LOST)], {}, [ENVOY])
    assert verdict.holds
    assert verdict.lost_with_their_router == 2
    assert not judge([sample(Outcome.REFUSED)], {}, [ENVOY]).holds
    assert not judge([sample(Outcome.LOST, sent=100.5, ended=100.6)], {}, [ENVOY]).holds


def test_what_passed_through_a_killed_agent_is_counted_apart() -> None:
    agent = Kill(100.0, 100.01, ("router-1",), agent=True)
    assert judge([sample(Outcome.BROKEN, guarded=True)], {}, [agent]).lost_with_their_router == 1
    assert not judge([sample(Outcome.BROKEN)], {}, [agent]).holds


def test_who_is_to_be_told_of_a_killed_server_has_to_be() -> None:
    seen = {"a": [visit("alpha-1")]}
    verdict = judge([sample(Outcome.ERROR_EVENT, guarded=True)], seen, [SERVER])
    assert (verdict.holds, verdict.cut_told) == (True, {"an error event": 1})
    assert not judge([sample(Outcome.BROKEN, guarded=True)], seen, [SERVER]).holds


def test_answers_given_twice_and_gaps_are_told() -> None:
    twice = [visit("alpha-1", completed=True), visit("beta-1", completed=True)]
    once = [visit("alpha-1"), visit("beta-1", completed=True)]
    right = [sample(ended=100.0 + n, first=99.5) for n in (0, 1, 5, 6)]
    assert judge(right[:1], {"a": twice}, []).duplicated == 1
    assert judge(right[:1], {"a": once}, []).duplicated == 0
    verdict = judge(right, {}, [])
    assert verdict.longest_gap == 4
    assert verdict.first_token_p99 == 0.5
    text = report(verdict, {"kill": 2}, seed=3, seconds=60)
    assert "seed 3: holds" in text
    assert "kill 2" in text
