"""Which endpoints of an EndpointSlice get traffic."""

from __future__ import annotations

from typing import Any

import pytest

from modelrouter.router.kubernetes.slices import group_of, service_of
from modelrouter.router.services import Group, Port


def a_slice(*endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "a-1", "labels": {"kubernetes.io/service-name": "a"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        "endpoints": list(endpoints),
        **fields,
    }


@pytest.mark.parametrize(
    ("conditions", "used"),
    [
        ({"ready": True}, True),
        ({"ready": False}, False),
        ({"ready": None}, True),
        ({}, True),
        (None, True),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "serving": True, "terminating": True}, True),  # publishNotReadyAddresses
    ],
)
def test_ready_is_what_counts(conditions: dict[str, Any] | None, used: bool) -> None:
    found = group_of(a_slice({"addresses": ["10.0.0.1"], "conditions": conditions}))
    assert bool(found.addresses) == used


def test_a_pod_is_known_by_its_uid() -> None:
    endpoint = {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "uid": "u-1"}}
    assert group_of(a_slice(endpoint)) == Group((Port("http", 8000),), (("10.0.0.1", "u-1"),))


def test_only_tcp_ports_with_a_number_count() -> None:
    ports = [
        {"name": "http", "port": 8000},
        {"name": None, "port": 8001, "protocol": "TCP"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "any", "port": None},
    ]
    assert group_of(a_slice(ports=ports)).ports == (Port("http", 8000), Port("", 8001))
    assert group_of(a_slice(ports=None)).ports == ()


def test_names_are_no_addresses() -> None:
    endpoint = {"addresses": ["models.example"]}
    assert group_of(a_slice(endpoint, addressType="FQDN")) == Group((), ())


def test_a_slice_may_belong_to_no_service() -> None:
    assert service_of(a_slice()) == "a"
    assert service_of({"metadata": {"name": "a"}}) == ""
    assert service_of({"metadata": {"name": "a", "labels": {"x": "y"}}}) == ""


def test_a_slice_may_have_no_endpoints() -> None:
    assert group_of(a_slice(endpoints=None)).addresses == ()


def test_endpoints_that_are_not_ready_are_counted_unless_they_leave() -> None:
    def each(address: str, **conditions: bool) -> dict[str, Any]:
        return {"addresses": [address], "conditions": conditions, "targetRef": {"uid": address}}

    found = group_of(
        a_slice(
            each("10.0.0.1", ready=True),
            each("10.0.0.2", ready=False),
            each("10.0.0.3", ready=False, terminating=True),
            {"addresses": ["10.0.0.4"], "conditions": {"ready": False}},
        )
    )
    assert found.absent == ("10.0.0.2", "10.0.0.4")
