"""Feedback as clients send it."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from component.feedback.conftest import Routers, answered, pools, split
from component.holding.rig import HELLO, Pair
from component.router.processes import ask
from component.router.simulators import Simulator

PATH = "/v1/feedback"


async def send(pair: Pair, **fields: Any) -> httpx.Response:
    async with pair.http() as http:
        return await http.post(PATH, json=fields)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error, as OpenAI's API shapes it."""
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    return error


async def test_by_the_official_client(both: Routers) -> None:
    pair = both.one
    client = pair.client()
    answer = await client.chat.completions.create(model="chat", messages=HELLO)
    body = {"request_id": answer._request_id, "score": 0.75, "label": "thumb", "comment": "Good."}
    before = await pair.metric("modelrouter_feedback_score_sum", route="chat")
    first = await client.post("/feedback", body=body, cast_to=httpx.Response)
    again = await client.post("/feedback", body={**body, "score": 0}, cast_to=httpx.Response)

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == {
        "object": "feedback",
        "request_id": answer._request_id,
        "accepted": True,
    }
    assert again.json()["accepted"] is False
    assert await pair.metric("modelrouter_feedback_score_sum", route="chat") == before + 0.75
    assert await pair.metric("modelrouter_feedback_total", route="chat", label="thumb") >= 1
    record = await ask(pair.admin_port, "GET", f"/recordz?request_id={answer._request_id}")
    assert record["feedback"] == {"score": 0.75, "label": "thumb", "comment": "Good."}
    assert (record["route"], record["rule"], record["status"]) == ("chat", "default", 200)

    body["request_id"] = "nobody's"
    with pytest.raises(openai.NotFoundError) as refused:
        await client.post("/feedback", body=body, cast_to=httpx.Response)
    assert refused.value.code == "request_not_found"


async def test_at_once_after_an_answer(both: Routers) -> None:
    """Envoy tells of a request's end a moment later; feedback waits for that."""
    for _ in range(20):
        answer = await send(both.one, request_id=await answered(both.one), score=1)
        assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"score": 1}, "request_id"),
        ({"request_id": "a", "score": 2}, "score"),
        ({"request_id": "a", "score": 1, "label": "a b"}, "label"),
        ({"request_id": "a", "score": 1, "comment": 3}, "comment"),
        ({"request_id": "a", "score": 1, "reason": "x"}, "reason"),
    ],
)
async def test_bad_input_names_the_field(both: Routers, fields: dict[str, Any], param: str) -> None:
    answer = await send(both.one, **fields)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == param


async def test_odd_requests(both: Routers) -> None:
    async with both.one.http() as http:
        large = await http.post(PATH, content=b" " * 17_000)
        assert (large.status_code, error_of(large)["code"]) == (413, "request_too_large")
        chunked = await http.post(PATH, content=_pieces(b" " * 1000, 20))
        assert chunked.status_code == 413
        text = await http.post(PATH, content=b"score: 1")
        assert (text.status_code, error_of(text)["code"]) == (400, "invalid_json")
        asked = await http.get(PATH)
        assert (asked.status_code, asked.headers["allow"]) == (405, "POST")
        queried = await http.post(PATH + "?a=b", json={"request_id": "nobody's", "score": 1})
        assert (queried.status_code, error_of(queried)["param"]) == (404, "request_id")


async def _pieces(piece: bytes, count: int) -> Any:
    for _ in range(count):
        yield piece


async def test_any_router_takes_it(both: Routers) -> None:
    """Clients reach routers in turn; feedback reaches the one that has served the request."""
    name = "modelrouter_feedback_score_count"
    before = [await pair.metric(name, route="chat") for pair in both]
    for pair, other in (both, reversed(both)):
        request_id = await answered(pair)
        assert (await send(other, request_id=request_id, score=1)).status_code == 202
        assert (await send(other, request_id=request_id, score=1)).status_code == 200
        assert (await send(pair, request_id=request_id, score=1)).status_code == 200
        unknown = await send(pair, request_id="nobody's", score=1)
        assert unknown.status_code == 404
    after = [await pair.metric(name, route="chat") for pair in both]
    assert after == [count + 1 for count in before]
    assert await both.one.metric("modelrouter_feedback_unknown_total") >= 1


async def test_without_the_agent(own_pair: Pair, old: Simulator, new: Simulator) -> None:
    await own_pair.apply(pools(old, new), chat=split(None))
    own_pair.kill_agent()
    answer = await send(own_pair, request_id="a", score=1)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert error_of(answer)["code"] == "feedback_unavailable"
    own_pair.start_agent()
    request_id = await answered(own_pair)
    assert (await send(own_pair, request_id=request_id, score=1)).status_code == 202


async def test_a_router_that_cannot_be_asked(
    own_pair: Pair, old: Simulator, new: Simulator
) -> None:
    own_pair.options = ["--peer", "127.0.0.1:1"]
    await own_pair.apply(pools(old, new), chat=split(None))
    known = await send(own_pair, request_id=await answered(own_pair), score=1)
    assert known.status_code == 202
    answer = await send(own_pair, request_id="nobody's", score=1)
    assert (answer.status_code, error_of(answer)["code"]) == (503, "feedback_unavailable")
