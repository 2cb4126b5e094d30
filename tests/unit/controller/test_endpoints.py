"""Services and EndpointSlices as numbers."""

from __future__ import annotations

from typing import Any

from modelrouter.controller.endpoints import count_endpoints, service_facts, service_of, trim_slice
from modelrouter.plan.facts import Counts, ServicePort


def endpoint(address: str, ready: bool | None = True) -> dict[str, Any]:
    conditions = {} if ready is None else {"ready": ready}
    return {"addresses": [address], "conditions": conditions}


def endpoint_slice(*endpoints: dict[str, Any], port: str = "http") -> dict[str, Any]:
    return {
        "metadata": {
            "name": "s",
            "namespace": "ns",
            "labels": {"kubernetes.io/service-name": "tgi"},
            "managedFields": [{}],
        },
        "ports": [{"name": port, "port": 8080}],
        "endpoints": list(endpoints),
    }


def test_an_address_counts_once_however_many_slices_list_it() -> None:
    one = endpoint_slice(endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=False))
    two = endpoint_slice(endpoint("10.0.0.1", ready=False), endpoint("10.0.0.3"))
    assert count_endpoints([one, two]) == {"http": Counts(ready=2, total=3)}


def test_without_a_condition_an_endpoint_is_ready() -> None:
    assert count_endpoints([endpoint_slice(endpoint("10.0.0.1", None))])["http"].ready == 1


def test_ports_are_counted_apart() -> None:
    slices = [
        endpoint_slice(endpoint("10.0.0.1")),
        endpoint_slice(endpoint("10.0.0.1"), endpoint("10.0.0.2"), port="metrics"),
    ]
    assert count_endpoints(slices) == {"http": Counts(1, 1), "metrics": Counts(2, 2)}


def test_a_service_without_endpoints_has_ports_all_the_same() -> None:
    service = {
        "metadata": {"name": "tgi", "namespace": "ns"},
        "spec": {"ports": [{"name": "http", "port": 80}], "type": "ClusterIP"},
    }
    facts = service_facts(service, [])
    assert facts.ports == (ServicePort("http", 80),)
    assert facts.endpoints == {}


def test_what_is_kept_of_a_slice_is_enough() -> None:
    full = endpoint_slice(endpoint("10.0.0.1"))
    kept = trim_slice(full)
    assert "managedFields" not in kept["metadata"]
    assert service_of(kept) == "tgi"
    assert count_endpoints([kept]) == count_endpoints([full])
