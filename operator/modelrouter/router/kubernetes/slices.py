"""EndpointSlices → endpoints of Services.

Which endpoints get traffic follows kube-proxy: those whose condition `ready` is not false. A pod
that terminates is not ready from the moment of its deletion.
https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from modelrouter.kube.client import KubeClient
from modelrouter.kube.resources import ENDPOINT_SLICES, Object, name_of
from modelrouter.kube.watching import Deleted, Synced, Updated, WatchHealth, watch_objects
from modelrouter.router.services import Group, Port, Services

log = structlog.get_logger(__name__)

SERVICE_LABEL = "kubernetes.io/service-name"

Report = Callable[[Collection[str]], None]
"""Told which Services have other endpoints than before."""


def service_of(found: Object) -> str:
    """The Service that a slice belongs to; empty for one that belongs to none."""
    return str((found["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""))


def group_of(found: Object) -> Group:
    """The endpoints of a slice."""
    if found.get("addressType") not in ("IPv4", "IPv6"):
        return Group((), ())  # FQDN, which is deprecated: names are no addresses
    ports = tuple(
        Port(port.get("name") or "", port["port"])
        for port in found.get("ports") or ()
        if port.get("port") and port.get("protocol", "TCP") == "TCP"
    )
    endpoints = [each for each in found.get("endpoints") or () if each.get("addresses")]
    addresses = tuple((each["addresses"][0], _pod(each)) for each in endpoints if _is_ready(each))
    absent = tuple(
        _pod(each) or each["addresses"][0]
        for each in endpoints
        if not _is_ready(each) and not _is_leaving(each)
    )
    return Group(ports, addresses, absent)


def _pod(endpoint: Object) -> str:
    return (endpoint.get("targetRef") or {}).get("uid") or ""


def _is_leaving(endpoint: Object) -> bool:
    return (endpoint.get("conditions") or {}).get("terminating") is True


def _is_ready(endpoint: Object) -> bool:
    """Unknown counts as ready: so the API says."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


async def follow_slices(
    client: KubeClient, namespace: str, services: Services, report: Report, health: WatchHealth
) -> None:
    """Keep `services` as the cluster has them, for ever."""
    async for change in watch_objects(client, ENDPOINT_SLICES, namespace, health=health):
        if isinstance(change, Synced):
            groups: dict[str, dict[str, Group]] = {}
            for found in change.objects:
                if service := service_of(found):
                    groups.setdefault(service, {})[name_of(found)] = group_of(found)
            report(services.replace(groups))
            continue
        service, name = service_of(change.object), name_of(change.object)
        if not service:
            continue
        if isinstance(change, Updated):
            changed = services.put(service, name, group_of(change.object))
        else:
            assert isinstance(change, Deleted)
            changed = services.remove(service, name)
        if changed:
            report((service,))
