"""ModelPool → the pool as the router needs it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from modelrouter.api.pool import ModelPool
from modelrouter.api.quantities import milliseconds
from modelrouter.api.router_config import (
    Ejection,
    PoolConfig,
    Probe,
    SecretKey,
    ServiceEndpoints,
    Upstream,
)


def plan_pool(pool: ModelPool, addresses: Sequence[str] | None = None) -> PoolConfig:
    """The router's view of a pool. `addresses` stand in for the pool's own source."""
    spec = pool.spec
    upstream, credential, service = None, None, None
    if spec.service is not None and addresses is None:
        service = ServiceEndpoints(name=spec.service.name, port=spec.service.port)
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
        model=spec.model,
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
    )


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
