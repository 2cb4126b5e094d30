"""EndpointSlices and Services → the facts that statuses depend on: ports and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelrouter.controller.store import Object
from modelrouter.plan.facts import Counts, ServiceFacts, ServicePort

SERVICE_LABEL = "kubernetes.io/service-name"


def service_of(endpoint_slice: Object) -> str:
    """Name of the Service that an EndpointSlice belongs to; empty if none."""
    labels: Mapping[str, Any] = endpoint_slice["metadata"].get("labels") or {}
    return str(labels.get(SERVICE_LABEL, ""))


def service_facts(service: Object, slices: Iterable[Object]) -> ServiceFacts:
    """What is known of a Service."""
    spec = service.get("spec") or {}
    ports = tuple(
        ServicePort(port.get("name", ""), int(port["port"])) for port in spec.get("ports") or ()
    )
    return ServiceFacts(
        type=spec.get("type", "ClusterIP"), ports=ports, endpoints=count_endpoints(slices)
    )


def count_endpoints(slices: Iterable[Object]) -> dict[str, Counts]:
    """Endpoints by the name of the port, each address once; ready as kube-proxy has it."""
    found: dict[str, dict[str, bool]] = {}
    for endpoint_slice in slices:
        for port in endpoint_slice.get("ports") or ():
            addresses = found.setdefault(port.get("name") or "", {})
            for endpoint in endpoint_slice.get("endpoints") or ():
                # No condition at all counts as ready: the API says so.
                ready = (endpoint.get("conditions") or {}).get("ready") is not False
                for address in (endpoint.get("addresses") or ())[:1]:
                    addresses[address] = addresses.get(address, False) or ready
    return {
        name: Counts(ready=sum(addresses.values()), total=len(addresses))
        for name, addresses in found.items()
    }


def trim_slice(endpoint_slice: Object) -> Object:
    """The part of an EndpointSlice that is kept in memory."""
    metadata = endpoint_slice["metadata"]
    return {
        "metadata": {
            key: metadata[key]
            for key in ("name", "namespace", "resourceVersion", "labels")
            if key in metadata
        },
        "ports": [{"name": port.get("name")} for port in endpoint_slice.get("ports") or ()],
        "endpoints": [
            {"addresses": e.get("addresses"), "conditions": e.get("conditions")}
            for e in endpoint_slice.get("endpoints") or ()
        ],
    }


def trim_service(service: Object) -> Object:
    """The part of a Service that is kept in memory."""
    metadata, spec = service["metadata"], service.get("spec") or {}
    return {
        "metadata": {
            key: metadata[key]
            for key in ("name", "namespace", "resourceVersion")
            if key in metadata
        },
        "spec": {
            "type": spec.get("type", "ClusterIP"),
            "ports": [
                {"name": port.get("name", ""), "port": port["port"]}
                for port in spec.get("ports") or ()
            ],
        },
    }
