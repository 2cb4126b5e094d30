"""Decisions as Envoy reads them."""

from __future__ import annotations

import httptools
import orjson
import pytest

from modelrouter.policy.decision import Decision
from modelrouter.policy.refusal import Refusal, overloaded, unknown_model
from modelrouter.router.decisions.replies import passing, passing_head, plan_of, refusing

DECISION = Decision(
    route="chat",
    rule="default",
    pools=("a", "b"),
    chain=("a", "a", "b"),
    reason="rule:default",
    rejected=(),
    prompt_tokens=5,
    request_timeout_ms=600_000,
    per_try_timeout_ms=200_000,
)
TRIGGERS = ("connect-failure", "5xx", "429")


class Response:
    def __init__(self, raw: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(raw)
        self.status = parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body


def test_a_plan_that_envoy_has_is_named() -> None:
    plan = plan_of(DECISION, TRIGGERS)
    response = Response(passing(passing_head(DECISION, TRIGGERS, {plan.key}), None, (9, 15)))
    assert response.status == 200
    assert response.headers["x-mr-plan"] == plan.key
    assert response.headers["x-mr-span"] == "9,15"
    assert "x-mr-route" not in response.headers  # it is part of the plan
    assert "x-mr-chain" not in response.headers
    assert "x-mr-hash" not in response.headers


def test_a_plan_that_envoy_does_not_have_is_spelled_out() -> None:
    streamed = DECISION._replace(request_timeout_ms=None, idle_timeout_ms=60_000)
    response = Response(passing(passing_head(streamed, TRIGGERS, ()), "00ff", None))
    assert response.headers["x-mr-chain"] == "a,a,b"
    assert response.headers["x-mr-route"] == "chat"
    assert response.headers["x-mr-reason"] == "rule:default"
    assert response.headers["x-envoy-max-retries"] == "2"
    assert response.headers["x-envoy-retriable-status-codes"] == "429"
    assert response.headers["x-envoy-upstream-rq-timeout-ms"] == "0"
    assert response.headers["x-mr-idle"] == "60000.660000"
    assert response.headers["x-mr-hash"] == "00ff"


@pytest.mark.parametrize("refusal", [unknown_model("m"), overloaded(), Refusal(400, "no")])
def test_a_refusal_is_an_openai_error(refusal: Refusal) -> None:
    response = Response(refusing(refusal, "chat"))
    assert response.status == refusal.status
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.body)
    assert set(orjson.loads(response.body)["error"]) == {"message", "type", "param", "code"}
    assert response.headers.get("retry-after") == (
        None if refusal.retry_after is None else str(refusal.retry_after)
    )
