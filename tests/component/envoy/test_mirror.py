"""Copies of requests that Envoy sends to another pool: what is in them, and that nobody waits."""

from __future__ import annotations

from typing import Any

import pytest

from component.envoy.rig import Backend, Request, Rig, pool, route

OWN_KEYS = {"first-key": {"api-key": "sk-first"}, "second-key": {"api-key": "sk-second"}}


def asked(backend: Backend) -> list[Request]:
    """Requests without health checks."""
    return [request for request in backend.requests if request.method == "POST"]


def mirroring(
    rig: Rig, backends: dict[str, Backend], words: str = "second|r|", **second: Any
) -> None:
    """A route to the pool `first` with a mirror in the pool `second`."""
    pools = {
        "first": pool(backends["first"], model="one", credential=_key("first")),
        "second": pool(backends["second"], model="two", credential=_key("second"), **second),
    }
    mirror = {"pool": "second"}
    chat = route("first", models=["m"], pools=["first", "second"], mirror=mirror)
    rig.apply(pools, {"r": chat}, OWN_KEYS)
    rig.extra_headers = f"x-mr-mirror: {words}\r\n"


def _key(pool: str) -> dict[str, str]:
    return {"secret": f"{pool}-key", "key": "api-key"}


@pytest.fixture
def backends(rig: Rig) -> dict[str, Backend]:
    return {name: rig.backend(name) for name in ("first", "second")}


def test_a_copy_has_the_model_and_the_key_of_its_own_pool(
    rig: Rig, backends: dict[str, Backend]
) -> None:
    mirroring(rig, backends)
    answer = rig.chat(authorization="Bearer caller", x_request_id="copied-1")
    assert answer.json["served_by"] == "first"
    (copy,) = rig.until(lambda: asked(backends["second"]) or None)
    (original,) = asked(backends["first"])
    assert original.header("authorization") == "Bearer sk-first"
    assert copy.header("authorization") == "Bearer sk-second"
    assert b'"two"' in copy.body
    assert b'"one"' in original.body
    assert copy.header("host") == backends["second"].address
    assert copy.header("x-request-id") == "copied-1"
    for request in (copy, original):
        assert not [name for name, _ in request.headers if name.startswith(("x-mr-", "x-envoy-"))]
    records = rig.until(lambda: [r for r in rig.records if r.request_id == "copied-1"][1:] or None)
    print(rig.records, records)
