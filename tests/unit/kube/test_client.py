"""What goes over the wire, and what errors say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import Connection, NoClusterError, TokenFile, in_cluster
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import CONFIG_MAPS, LEASES, NAMESPACES, resource_of
from unit.kube.fake import Server, listing, refusal, thing, watch


class TestReading:
    async def test_lists_are_read_in_pages(self, server: Server, client: KubeClient) -> None:
        server.say(
            listing(thing("a", 1), version=9, following="next"), listing(thing("b", 2), version=9)
        )
        found = await client.list(CONFIG_MAPS, "chat", field_selector="metadata.name=a")
        assert found.objects == (thing("a", 1), thing("b", 2))
        assert found.resource_version == "9"
        assert [r.query.get("continue") for r in server.requests] == [None, "next"]
        assert {r.query["fieldSelector"] for r in server.requests} == {"metadata.name=a"}

    async def test_errors_name_what_was_asked_and_the_reason(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(refusal(404, "NotFound", 'configmaps "a" not found'))
        with pytest.raises(KubeError) as caught:
            await client.get(CONFIG_MAPS, "a", "chat")
        assert caught.value.is_not_found
        assert str(caught.value) == (
            'get /api/v1/namespaces/chat/configmaps/a: configmaps "a" not found (NotFound)'
        )

    async def test_a_throttled_request_says_when_to_come_again(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(refusal(429, "TooManyRequests", retry_after="7"))
        with pytest.raises(KubeError) as caught:
            await client.list(NAMESPACES)
        assert caught.value.retry_after == 7
        assert caught.value.is_passing

    async def test_a_server_that_does_not_answer_is_given_up(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(watch(then="silence"))
        with pytest.raises(KubeError) as caught:
            await client.get(CONFIG_MAPS, "a", "chat")
        assert caught.value.reason == "Timeout"
        assert caught.value.is_passing


class TestWriting:
    async def test_apply_is_server_side_and_owns_its_fields(
        self, server: Server, client: KubeClient
    ) -> None:
        bodies = []

        async def echo(request: web.Request) -> web.StreamResponse:
            bodies.append(await request.json())
            return web.json_response(bodies[-1])

        server.say(echo)
        wanted = {"metadata": {"name": "a", "namespace": "chat"}, "data": {"x": "y"}}
        await client.apply(CONFIG_MAPS, wanted)
        await client.apply_status(CONFIG_MAPS, wanted, force=False)
        first, second = server.requests
        assert (first.method, first.path) == ("PATCH", "/api/v1/namespaces/chat/configmaps/a")
        assert first.content_type == "application/apply-patch+yaml"
        assert dict(first.query) == {"fieldManager": "model-router-operator", "force": "true"}
        assert bodies[0] == {"apiVersion": "v1", "kind": "ConfigMap", **wanted}
        assert second.path == "/api/v1/namespaces/chat/configmaps/a/status"
        assert second.query["force"] == "false"

    async def test_apply_survives_a_connection_that_was_closed_meanwhile(
        self, server: Server, client: KubeClient
    ) -> None:
        async def hang_up(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        server.say(hang_up, listing(version=1))
        await client.apply(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "chat"}})
        assert len(server.requests) == 2

    async def test_a_conflict_is_told_and_not_repeated(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(refusal(409, "Conflict", "the object has been modified"))
        lease = {"metadata": {"name": "a", "namespace": "chat", "resourceVersion": "5"}}
        with pytest.raises(KubeError) as caught:
            await client.replace(LEASES, lease)
        assert caught.value.is_conflict
        assert len(server.requests) == 1
        assert server.requests[0].path == "/apis/coordination.k8s.io/v1/namespaces/chat/leases/a"

    async def test_what_is_gone_need_not_be_deleted(
        self, server: Server, client: KubeClient
    ) -> None:
        server.say(listing(version=1), refusal(404, "NotFound"))
        assert await client.delete(CONFIG_MAPS, "a", "chat", uid="u")
        assert not await client.delete(CONFIG_MAPS, "a", "chat")


class TestAuthorization:
    async def test_a_refused_token_is_read_again(self, server: Server, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text("old\n")
        seen = []

        async def check(request: web.Request) -> web.StreamResponse:
            seen.append(request.headers["authorization"])
            if seen[-1] == "Bearer new":
                return web.json_response(thing("a", 1))
            path.write_text("new\n")
            return await refusal(401, "Unauthorized")(request)

        server.say(check)
        connection = Connection(server.url, authorization=TokenFile(path))
        async with KubeClient(connection) as client:
            assert await client.get(CONFIG_MAPS, "a", "chat") == thing("a", 1)
        assert seen == ["Bearer old", "Bearer new"]

    async def test_a_token_that_stays_refused_is_an_error(
        self, server: Server, tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text("planted-secret-value")
        server.say(refusal(401, "Unauthorized", "Unauthorized"))
        connection = Connection(server.url, authorization=TokenFile(tmp_path / "token"))
        async with KubeClient(connection) as client:
            with pytest.raises(KubeError) as caught:
                await client.get(CONFIG_MAPS, "a", "chat")
        assert caught.value.status == 401
        assert len(server.requests) == 2
        assert "planted" not in str(caught.value) + repr(caught.value) + repr(connection)

    async def test_a_token_being_replaced_does_not_interrupt(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text("one")
        token = TokenFile(path)
        assert await token(False) == "Bearer one"
        path.unlink()
        assert await token(True) == "Bearer one"
        path.write_text("two")
        assert await token(False) == "Bearer one"
        assert await token(True) == "Bearer two"

    def test_without_a_cluster_the_error_says_what_is_missing(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        with pytest.raises(NoClusterError, match="KUBERNETES_SERVICE_HOST"):
            in_cluster(tmp_path)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        with pytest.raises(NoClusterError, match="service account's token"):
            in_cluster(tmp_path)


def test_resources_are_found_by_objects() -> None:
    assert resource_of(thing("a", 1)) is CONFIG_MAPS
    assert LEASES.path("chat") == "/apis/coordination.k8s.io/v1/namespaces/chat/leases"
    assert NAMESPACES.path("chat", "x") == "/api/v1/namespaces/x"


async def test_a_client_can_be_used_by_many_at_once(server: Server, client: KubeClient) -> None:
    server.say(listing(version=1))
    await asyncio.gather(*(client.list(CONFIG_MAPS) for _ in range(40)))
    assert len(server.requests) == 40
