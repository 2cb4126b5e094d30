"""A watch goes on whatever the API server does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise

import pytest

from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import Connection
from modelrouter.kube.resources import CONFIG_MAPS, name_of
from modelrouter.kube.watching import (
    Change,
    Synced,
    Updated,
    WatchHealth,
    _Backoff,
    watch_objects,
)
from unit.kube.fake import Server, event, listing, refusal, thing, watch

A1, A2, B2, B3 = thing("a", 1), thing("a", 2, x="y"), thing("b", 2), thing("b", 3)


def short(change: Change) -> tuple[str, ...]:
    """What a change says, in a word and names."""
    if isinstance(change, Synced):
        return ("synced", *(name_of(each) for each in change.objects))
    version = change.object["metadata"]["resourceVersion"]
    return (type(change).__name__.lower(), f"{name_of(change.object)}{version}")


async def take(count: int, changes: AsyncIterator[Change]) -> list[tuple[str, ...]]:
    """The first changes."""
    taken = []
    async with asyncio.timeout(5), aclosing(changes):  # type: ignore[type-var]
        async for change in changes:
            taken.append(short(change))
            if len(taken) == count:
                break
    return taken


@pytest.mark.usefixtures("quick")
class TestWatch:
    async def test_lists_then_follows_and_goes_on_where_it_was(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(
            listing(A1, version=1),
            watch(event("MODIFIED", A2) + event("ADDED", B2)),
            watch(event("BOOKMARK", thing("", 7))),
            watch(event("DELETED", thing("b", 9)), then="silence"),
        )
        found = await take(4, watch_objects(client, CONFIG_MAPS, "chat", label_selector="x=y"))
        assert found == [("synced", "a"), ("updated", "a2"), ("updated", "b2"), ("deleted", "b9")]
        assert server.watched_from == ["1", "2", "7"]
        assert {r.path for r in server.requests} == {"/api/v1/namespaces/chat/configmaps"}
        assert {r.query["labelSelector"] for r in server.requests} == {"x=y"}

    async def test_pieces_of_a_line_are_put_together(
        self, server: Server, client: KubeClient
    ) -> None:
        large = thing("a", 2, text="ä" * 300_000)
        line = event("MODIFIED", large) + event("ADDED", B3)
        pieces = [line[at : at + 7_001] for at in range(0, len(line), 7_001)]
        server.say(listing(A1, version=1), watch(*pieces, then="silence"))
        found = []
        async with asyncio.timeout(5):
            async for change in watch_objects(client, CONFIG_MAPS, "chat"):
                found.append(change)
                if len(found) == 3:
                    break
        assert found[1] == Updated(large)
        assert found[2] == Updated(B3)

    @pytest.mark.parametrize("how", ["status", "event", "other event"])
    async def test_an_expired_version_begins_with_a_new_list(
        self, server: Server, client: KubeClient, how: str
    ) -> None:
        gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        lost = {"kind": "Status", "code": 503, "message": "the event cache lost its place"}
        expired = {
            "status": refusal(410, "Expired", "too old resource version: 1"),
            "event": watch(event("ERROR", gone)),
            "other event": watch(event("ERROR", lost)),
        }[how]
        server.say(
            listing(A1, version=1), expired, listing(A2, B3, version=3), watch(then="silence")
        )
        health = WatchHealth("configmaps")
        found = await take(2, watch_objects(client, CONFIG_MAPS, "chat", health=health))
        assert found == [("synced", "a"), ("synced", "a", "b")]
        assert (health.lists, health.failures) == (2, 1)

    @pytest.mark.parametrize("then", ["hang up", "broken"])
    async def test_a_dropped_connection_loses_nothing(
        self, server: Server, client: KubeClient, then: str
    ) -> None:
        half = event("ADDED", B3)[:20]
        server.say(
            listing(A1, version=1),
            watch(event("MODIFIED", A2), half, then="hang up" if then == "hang up" else "end"),
            watch(event("ADDED", B3), then="silence"),
        )
        found = await take(3, watch_objects(client, CONFIG_MAPS, "chat"))
        assert found == [("synced", "a"), ("updated", "a2"), ("updated", "b3")]
        assert server.watched_from == ["1", "2"]

    async def test_a_silent_connection_is_given_up(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(
            listing(A1, version=1),
            watch(event("MODIFIED", A2), then="silence"),
            watch(event("ADDED", B3), then="silence"),
        )
        watching = watch_objects(client, CONFIG_MAPS, "chat", silence_seconds=0.3)
        assert await take(3, watching) == [("synced", "a"), ("updated", "a2"), ("updated", "b3")]
        assert server.watched_from == ["1", "2"]

    async def test_a_server_that_is_too_slow_to_list_is_asked_again(
        self, server: Server, client: KubeClient
    ) -> None:
        health = WatchHealth("configmaps")
        server.say(watch(then="silence"), listing(A1, version=1), watch(then="silence"))
        assert await take(1, watch_objects(client, CONFIG_MAPS, health=health)) == [("synced", "a")]
        assert health.failures == 1

    @pytest.mark.parametrize("status", [429, 503])
    async def test_a_server_in_trouble_keeps_its_place(
        self, server: Server, client: KubeClient, status: int
    ) -> None:
        server.say(
            listing(A1, version=1),
            *[refusal(status, "Trouble")] * 3,
            watch(event("ADDED", B3), then="silence"),
        )
        health = WatchHealth("configmaps")
        found = await take(2, watch_objects(client, CONFIG_MAPS, "chat", health=health))
        assert found == [("synced", "a"), ("updated", "b3")]
        assert server.watched_from == ["1"] * 4
        assert (health.lists, health.failures) == (1, 3)
        assert health.connected
        assert not health.problem

    @pytest.mark.parametrize("status", [400, 403, 500, 504])
    async def test_a_place_that_may_be_wrong_is_left(
        self, server: Server, client: KubeClient, status: int
    ) -> None:
        server.say(
            listing(A1, version=9),
            refusal(status, "Trouble", "too large resource version: 9, current: 3"),
            listing(B3, version=3),
            watch(then="silence"),
        )
        found = await take(2, watch_objects(client, CONFIG_MAPS, "chat"))
        assert found == [("synced", "a"), ("synced", "b")]

    async def test_waits_as_long_as_the_server_asks(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(
            refusal(429, "TooManyRequests", retry_after="1"),
            listing(A1, version=1),
            watch(then="silence"),
        )
        await take(1, watch_objects(client, CONFIG_MAPS, "chat"))
        assert server.times[1] - server.times[0] >= 1.0

    async def test_says_what_is_wrong_while_it_may_not_list(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(refusal(403, "Forbidden", "configmaps is forbidden"))
        health = WatchHealth("configmaps")
        watching = asyncio.create_task(
            take(1, watch_objects(client, CONFIG_MAPS, "chat", health=health))
        )
        while health.failures < 2:
            await asyncio.sleep(0.001)
        assert not health.connected
        assert health.problem == (
            "get /api/v1/namespaces/chat/configmaps: configmaps is forbidden (Forbidden)"
        )
        server.say(listing(version=1), watch(then="silence"))
        assert await watching == [("synced",)]

    async def test_a_server_that_ends_watches_at_once_is_not_asked_without_a_break(
        self, server: Server, client: KubeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("modelrouter.kube.watching.LONGEST_BACKOFF_SECONDS", 5.0)
        server.say(listing(A1, version=1), watch())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await take(2, watch_objects(client, CONFIG_MAPS, "chat"))
        assert len(server.watched_from) < 15

    async def test_an_answer_that_is_no_kubernetes_is_a_failure_like_others(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(
            watch(b"<html>a proxy</html>"),
            watch(json.dumps({"hello": "world"}).encode()),
            listing(A1, version=1),
            watch(b'{"type": "ADDED"}\n'),
            watch(event("ADDED", B3), then="silence"),
        )
        found = await take(2, watch_objects(client, CONFIG_MAPS, "chat"))
        assert found == [("synced", "a"), ("updated", "b3")]


async def test_a_server_that_is_not_there_yet() -> None:
    health = WatchHealth("configmaps")
    async with KubeClient(Connection("http://127.0.0.1:9")) as client:
        watching = watch_objects(client, CONFIG_MAPS, health=health)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await anext(watching)
    assert health.failures >= 2
    assert "Unreachable" in health.problem


class TestBackoff:
    def test_grows_to_its_limit_and_begins_anew(self) -> None:
        backoff = _Backoff()
        pauses = [backoff.pause(None) for _ in range(12)]
        assert 0.05 <= pauses[0] <= 0.1
        assert all(later <= 2 * 2 * earlier for earlier, later in pairwise(pauses))
        assert all(2.5 <= pause <= 5.0 for pause in pauses[7:])
        backoff.reset()
        assert backoff.pause(None) <= 0.1

    def test_is_never_shorter_than_asked(self) -> None:
        assert 3.0 <= _Backoff().pause(3.0) <= 3.5
        assert _Backoff().pause(86_400.0) < 61
