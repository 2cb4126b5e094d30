"""The line of a request that has waited gets the pool and the status that Envoy cannot know."""

from __future__ import annotations

import pytest

from modelrouter.policy.state import PoolState
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.holding import outcomes as outcomes_module
from modelrouter.router.holding.outcomes import Outcomes


def line(request_id: str, status: int = 200, pool: str = "_holding") -> RequestRecord:
    return RequestRecord(
        request_id, "chat", "rule:default", pool, 1, status, 1500.0, 2.0, None, None
    )


def test_what_is_known_by_the_end_counts() -> None:
    outcomes = Outcomes()
    outcome = outcomes.expect("r", "late")
    outcome.pool, outcome.attempts, outcome.status = "other", 3, 500
    record = outcomes.settle(line("r"))
    assert (record.pool, record.attempts, record.status) == ("other", 3, 500)
    assert record.duration_ms == 1500.0


def test_a_client_that_left_stays_one() -> None:
    outcomes = Outcomes()
    outcomes.expect("r", "late").status = 200
    assert outcomes.settle(line("r", status=0)).status == 0


def test_without_an_outcome_envoys_word_counts_but_its_pool() -> None:
    outcomes = Outcomes()
    outcomes.expect("r", "late")
    assert outcomes.settle(line("r", status=503))[3:6] == ("late", 1, 503)
    assert outcomes.settle(line("r", status=503))[3:6] == ("", 1, 503)


def test_ids_that_come_twice_are_two_requests() -> None:
    outcomes = Outcomes()
    outcomes.expect("r", "a").status = 200
    outcomes.expect("r", "b").status = 200
    assert {outcomes.settle(line("r")).pool for _ in range(2)} == {"a", "b"}


def test_lines_that_never_come_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_module, "_MOST", 2)
    outcomes = Outcomes()
    for name in ("a", "b", "c"):
        outcomes.expect(name, name)
    assert [outcomes.settle(line(name)).pool for name in ("a", "b", "c")] == ["", "b", "c"]


def test_in_flight_ends_with_the_second_pass_and_counts_once() -> None:
    ledger = Ledger()
    ledger.pools["late"] = state = PoolState()
    ledger._limited = {"late"}
    ledger.decided("r", "late", 0.0)
    ledger.decided("r", "late", 0.0)  # another request with the same id
    assert state.in_flight == 2
    ledger.record(line("r", pool="late")._replace(route=""))
    assert state.in_flight == 1
    ledger.record(line("r", pool="late"), waited=True)
    assert state.in_flight == 1
    assert ledger.totals["chat", "late"].requests == 1
