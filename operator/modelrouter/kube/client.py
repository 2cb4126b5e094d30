"""Reading and writing objects of the Kubernetes API.

Nothing is repeated here except what a broken connection or a stale token made fail at once:
callers have queues that know better when to try again.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import orjson

from modelrouter.kube.answers import (
    no_answer,
    read_events,
    read_metadata,
    read_object,
    refusal,
)
from modelrouter.kube.connection import Connection
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import Object, Resource, name_of, namespace_of

FIELD_MANAGER = "model-router-operator"
"""Owner of the fields that the operator applies."""

REQUEST_SECONDS = 30.0
"""Longest time for one answer that is not a watch."""

CONNECT_SECONDS = 5.0
PAGE_SIZE = 500
APPLY = "application/apply-patch+yaml"
"""Server-side apply. JSON is YAML, and the only form that clients send."""

MERGE = "application/merge-patch+json"

_USER_AGENT = "model-router-operator"


class Listing(NamedTuple):
    """All objects of a list, and the version of the cluster that they show."""

    objects: tuple[Object, ...]
    resource_version: str


class KubeClient:
    """One API server, over connections that are kept open. Use it as a context manager."""

    def __init__(
        self,
        connection: Connection,
        *,
        request_seconds: float = REQUEST_SECONDS,
        user_agent: str = _USER_AGENT,
    ) -> None:
        self.connection = connection
        self._user_agent = user_agent
        self._timeout = aiohttp.ClientTimeout(total=request_seconds, sock_connect=CONNECT_SECONDS)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> KubeClient:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # each watch holds a connection; who writes bounds its own concurrency
                ssl=self.connection.tls or False,
                keepalive_timeout=60,
                socket_factory=_watchful_socket,
            ),
            timeout=self._timeout,
            headers={"user-agent": self._user_agent, "accept": "application/json"},
            auto_decompress=True,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    # Reading

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """One object. Raises `KubeError`; its `is_not_found` tells that there is none."""
        return await self._call("GET", resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Listing:
        """All objects of a namespace, or of all namespaces, read in pages."""
        objects: list[Object] = []
        query = _selectors(label_selector, field_selector) | {"limit": str(PAGE_SIZE)}
        path = resource.path(namespace)
        while True:
            page = await self._call("GET", path, query=query)
            metadata = read_metadata(f"list {path}", page)
            for item in page.get("items") or ():
                # Items of a list lack what objects have everywhere else.
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                objects.append(item)
            following = metadata.get("continue")
            if not following:
                return Listing(tuple(objects), metadata["resourceVersion"])
            query["continue"] = following

    @asynccontextmanager
    async def watching(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
        seconds: int,
        silence: float,
    ) -> AsyncIterator[AsyncIterator[Object]]:
        """Raw watch events (`type`, `object`) from a version on, until the server ends the watch.

        `silence` in seconds is the longest pause between two pieces of the answer; a longer one,
        as any other failure, raises `KubeError`. See `watching.watch_objects` for all the rest.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        path = resource.path(namespace)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        operation = f"watch {path}"
        try:
            async with self._sent("GET", path, query=query, timeout=timeout) as response:
                if response.status >= 300:
                    raise refusal(operation, response, await response.read())
                yield read_events(operation, response.content)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise no_answer(operation, error) from error

    # Writing

    async def apply(
        self,
        resource: Resource,
        wanted: Object,
        *,
        manager: str = FIELD_MANAGER,
        force: bool = True,
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply: make the object have these fields, and own them. The object after."""
        return await self._apply(resource, wanted, "", manager, force, dry_run)

    async def apply_status(
        self,
        resource: Resource,
        wanted: Object,
        *,
        manager: str = FIELD_MANAGER,
        force: bool = True,
    ) -> Object:
        """The same for the status subresource; `wanted` needs its metadata and `status`."""
        return await self._apply(resource, wanted, "/status", manager, force, False)

    async def _apply(
        self,
        resource: Resource,
        wanted: Object,
        subresource: str,
        manager: str,
        force: bool,
        dry_run: bool,
    ) -> Object:
        path = resource.path(namespace_of(wanted), name_of(wanted)) + subresource
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        content = {"apiVersion": resource.api_version, "kind": resource.kind, **wanted}
        try:
            return await self._call("PATCH", path, query=query, body=content, content_type=APPLY)
        except KubeError as error:
            # A kept connection that the server had closed meanwhile. Applying twice is harmless.
            if not isinstance(error.__cause__, (aiohttp.ServerDisconnectedError, OSError)):
                raise
            return await self._call("PATCH", path, query=query, body=content, content_type=APPLY)

    async def merge(
        self, resource: Resource, wanted: Object, *, manager: str = FIELD_MANAGER
    ) -> Object:
        """JSON merge patch (RFC 7386): maps are merged, lists are replaced as a whole."""
        path = resource.path(namespace_of(wanted), name_of(wanted))
        query = {"fieldManager": manager}
        return await self._call("PATCH", path, query=query, body=wanted, content_type=MERGE)

    async def create(self, resource: Resource, wanted: Object) -> Object:
        """Create an object; it must not exist (`KubeError.is_conflict`). `generateName` works."""
        path = resource.path(wanted["metadata"].get("namespace"))
        content = {"apiVersion": resource.api_version, "kind": resource.kind, **wanted}
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("POST", path, query=query, body=content)

    async def replace(self, resource: Resource, wanted: Object) -> Object:
        """Replace an object. With a `resourceVersion` in its metadata, only if it is still that
        version (`KubeError.is_conflict`): this is how a Lease is taken."""
        path = resource.path(namespace_of(wanted), name_of(wanted))
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("PUT", path, query=query, body=wanted)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> bool:
        """Delete an object, only the one with this `uid` if given. False: it was gone already."""
        options: Object = {"propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._call("DELETE", resource.path(namespace, name), body=options)
        except KubeError as error:
            if error.is_not_found:
                return False
            raise
        return True

    # Requests

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        operation = f"{_VERBS[method]} {path}"
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._sent(
                method, path, query=query, data=data, content_type=content_type
            ) as response:
                content = await response.read()
                if response.status >= 300:
                    raise refusal(operation, response, content)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise no_answer(operation, error) from error
        return read_object(operation, content)

    @asynccontextmanager
    async def _sent(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: bytes | None = None,
        content_type: str | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response's beginning; once more with a fresh token if the first was refused."""
        assert self._session is not None, "KubeClient is used before it is entered"
        for fresh in (False, True):
            headers = {"content-type": content_type} if data is not None and content_type else {}
            authorization = await self.connection.authorization(fresh)
            if authorization:
                headers["authorization"] = authorization
            async with self._session.request(
                method,
                self.connection.url + path,
                params=query,
                data=data,
                headers=headers,
                timeout=timeout or self._timeout,
                allow_redirects=False,
                server_hostname=self.connection.tls_name,
                proxy=self.connection.proxy,
            ) as response:
                if response.status == 401 and not fresh:
                    continue
                yield response
                return


_VERBS = {"GET": "get", "PATCH": "apply", "POST": "create", "PUT": "replace", "DELETE": "delete"}


def _selectors(labels: str | None, fields: str | None) -> dict[str, str]:
    query = {}
    if labels:
        query["labelSelector"] = labels
    if fields:
        query["fieldSelector"] = fields
    return query


def _watchful_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices within 30 s that the other side is gone without a word."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 10),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 4),
        ("TCP_USER_TIMEOUT", 30_000),  # data that was sent and never acknowledged, milliseconds
    ):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
