"""ModelPool → the pool as the router needs it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from modelrouter.api.pool import ModelPool, ServiceReference
from modelrouter.api.quantities import milliseconds
from modelrouter.api.router_config import (
    Ejection,
    PoolConfig,
    Probe,
    SecretKey,
    ServiceEndpoints,
    Upstream,
)
from modelrouter.plan.facts import ServicePort
from modelrouter.plan.scaling.routing import plan_scaling
from modelrouter.plan.vllm.naming import PORT_NAME, adapter_service_name, child_name


def plan_pool(
    pool: ModelPool,
    addresses: Sequence[str] | None = None,
    ports: Sequence[ServicePort] | None = None,
    adapter: str = "",
) -> PoolConfig:
    """The router's view of a pool, or of an adapter of it. `addresses` stand in for the pool's own
    source.

    `ports` are those of the pool's Service; None: nothing is known of it. EndpointSlices know ports
    by name and by the number in the pod, which need not be the Service's, so the name is found
    here. A pool whose port does not exist has no endpoints.
    """
    spec = pool.spec
    upstream, credential, service = None, None, None
    if spec.service is not None and addresses is None:
        service = ServiceEndpoints(name=spec.service.name, port=spec.service.port)
        if ports is not None:
            port = find_port(spec.service, ports)
            service = ServiceEndpoints(name=spec.service.name, port=port.name) if port else None
            addresses = None if port else []
    if spec.vllm is not None and addresses is None:
        name = pool.metadata.name
        children = adapter_service_name(name, adapter) if adapter else child_name(name)
        service = ServiceEndpoints(name=children, port=PORT_NAME)
    if spec.provider is not None:
        if addresses is None:
            upstream = plan_upstream(spec.provider.url)
        if spec.provider.credentials is not None:
            reference = spec.provider.credentials.secret_ref
            credential = SecretKey(secret=reference.name, key=reference.key)
    fixed = addresses if addresses is not None else spec.endpoints
    probe = spec.probe
    ejection = spec.outlier_detection
    return PoolConfig(
        model=adapter or spec.model,
        addresses=list(fixed) if fixed is not None else None,
        service=service,
        upstream=upstream,
        credential=credential,
        context_window=spec.context_window,
        features=spec.features,
        zone=spec.zone,
        data_classes=spec.data_classes,
        price=spec.price,
        quality=spec.quality.default if spec.quality else None,
        parameters=spec.parameters,
        probe=Probe(
            path=probe.path,
            interval_ms=milliseconds(probe.interval),
            timeout_ms=milliseconds(probe.timeout),
            unhealthy_threshold=probe.unhealthy_threshold,
            healthy_threshold=probe.healthy_threshold,
        )
        if probe
        else None,
        ejection=Ejection(
            consecutive_errors=ejection.consecutive_errors,
            base_ejection_time_ms=milliseconds(ejection.base_ejection_time),
            max_ejection_percent=ejection.max_ejection_percent,
        ),
        load_balancing=spec.load_balancing,
        max_concurrent_requests=spec.max_concurrent_requests,
        # Where addresses stand in for the servers, nobody starts or stops any.
        scaling=plan_scaling(spec.vllm.autoscaling) if spec.vllm and addresses is None else None,
    )


def has_adapter(pool: ModelPool, adapter: str) -> bool:
    """Whether an adapter of this name is loaded by the pool's servers."""
    return pool.spec.vllm is not None and pool.spec.vllm.adapter(adapter) is not None


def service_of(pool: ModelPool) -> ServiceReference | None:
    """The Service that the pool's endpoints are those of, its own or the operator's."""
    if pool.spec.vllm is not None:
        return ServiceReference(name=child_name(pool.metadata.name), port=PORT_NAME)
    return pool.spec.service


def find_port(reference: ServiceReference, ports: Sequence[ServicePort]) -> ServicePort | None:
    """The port that a pool means, among those of its Service."""
    wanted = reference.port
    return next((port for port in ports if wanted in (port.name, port.number)), None)


def plan_upstream(base_url: str) -> Upstream:
    """The parts of a provider's base URL."""
    url = urlsplit(base_url)
    tls = url.scheme == "https"
    return Upstream(
        host=url.hostname or "",
        port=url.port or (443 if tls else 80),
        tls=tls,
        path_prefix=url.path.rstrip("/"),
    )
