"""Ports: free or taken, and whether somebody answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from modelrouter.standalone.lookup import resolve
from modelrouter.standalone.ports import free_port, is_free, is_reachable, wait_until_reachable


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


async def test_a_port_with_a_listener_is_taken_and_reachable(listener: socket.socket):
    assert not is_free(port_of(listener))
    assert await is_reachable("127.0.0.1", port_of(listener))
    assert await is_reachable("localhost", port_of(listener))


async def test_a_port_without_one_is_free_and_not_reachable():
    port = free_port()
    assert is_free(port)
    assert not await is_reachable("127.0.0.1", port)
    assert not await wait_until_reachable("127.0.0.1", port, 0.1)


def test_a_port_shared_on_purpose_is_taken():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not is_free(port_of(server))


def test_no_port_is_handed_out_twice():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(port < 32_768 for port in ports)


@pytest.mark.parametrize("name", ["api.provider.example", "nowhere.invalid.", "model.test"])
async def test_reserved_names_are_not_even_looked_up(name: str, monkeypatch: pytest.MonkeyPatch):
    looked_up: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *what, **_: looked_up.append(what) or [])
    assert await resolve(name) == []
    assert not await is_reachable(name, 443)
    assert not looked_up
    await resolve("model.local")
    assert looked_up


async def test_addresses_need_no_lookup():
    assert await resolve("10.1.2.3") == ["10.1.2.3"]
    assert await resolve("::1") == ["::1"]
