"""One cluster per pool."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from modelrouter.api.pool import LoadBalancing
from modelrouter.api.quantities import join_address
from modelrouter.api.router_config import Ejection, PoolConfig, Probe, Upstream
from modelrouter.router.envoy.attempts import upstream_filters
from modelrouter.router.envoy.endpoints import assignment, endpoint, host_and_port
from modelrouter.router.envoy.messages import (
    ADS,
    Resource,
    duration,
    extension,
    http_options,
)
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.envoy.void import VOID_HEADER

HASH_STATE = "mr.hash"
NO_LIMIT = 1_000_000
SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

# uvicorn, under vLLM, closes idle connections after 5 s (its `timeout_keep_alive`); a request
# sent on a connection at that very moment is lost, so they are closed here before that.
UPSTREAM_IDLE_MS = 4_000
PROVIDER_IDLE_MS = 60_000
OUTLIER_INTERVAL_MS = 500
CONSISTENT_HASHING_BALANCE = 115
"""Percent of the mean. No endpoint is to have more than 1.25 times the mean of the requests under
way; Envoy rounds up, and lets an endpoint that is just full have one more."""


def cluster(
    name: str, pool: PoolConfig, settings: EnvoySettings, *, has_key: bool = True
) -> Resource:
    """`Cluster` of a pool. Its endpoints come by EDS unless their names need DNS.

    A pool whose key is missing has no endpoints: no request goes out without its credential.
    """
    tls = pool.upstream is not None and pool.upstream.tls
    result: Resource = {
        "name": name,
        "connect_timeout": "5s" if tls else "1s",
        **_discovery(name, pool, settings, has_key=has_key),
        **_load_balancing(pool),
        # Host changes take effect at once; the default merges those of one second.
        "common_lb_config": {
            "update_merge_window": "0s",
            # 0: with no healthy endpoint the void answers, not a random unhealthy endpoint.
            "healthy_panic_threshold": {"value": 0},
        },
        # `maxConcurrentRequests` is kept by the agent; the defaults (1024, 3 retries) are low.
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": NO_LIMIT,
                    "max_pending_requests": NO_LIMIT,
                    "max_requests": NO_LIMIT,
                    "max_retries": NO_LIMIT,
                }
            ]
        },
        # A removed endpoint that still answers probes would be used on and on.
        "ignore_health_on_host_removal": True,
        "outlier_detection": _outlier_detection(pool.ejection),
        **_noticing_silence(),
        "typed_extension_protocol_options": _protocol(name, pool, tls=tls, has_key=has_key),
    }
    if pool.probe is not None:
        result["health_checks"] = [_health_check(pool)]
    if pool.upstream is not None and tls:
        result["transport_socket"] = _tls(pool.upstream)
    return result


def _noticing_silence() -> Resource:
    """A host that vanished with its address, as with its node, sends no reset: 25 s are enough."""
    return {
        "upstream_connection_options": {
            "tcp_keepalive": {
                "keepalive_probes": 3,
                "keepalive_time": 10,
                "keepalive_interval": 5,
            }
        },
        # Keep-alive does not look while something sent is not acknowledged; TCP would for 15 min.
        "upstream_bind_config": {
            "socket_options": [
                {
                    "description": "TCP_USER_TIMEOUT",
                    "level": socket.IPPROTO_TCP,
                    "name": socket.TCP_USER_TIMEOUT,
                    "int_value": 25_000,
                    "state": "STATE_PREBIND",
                }
            ]
        },
    }


def uses_endpoint_discovery(pool: PoolConfig) -> bool:
    """Whether the agent has to send this pool's endpoints."""
    if pool.upstream is not None:
        return False
    return pool.addresses is None or all(_is_ip(address) for address in pool.addresses)


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(host_and_port(address)[0])
    except ValueError:
        return False
    return True


def _discovery(name: str, pool: PoolConfig, settings: EnvoySettings, *, has_key: bool) -> Resource:
    if uses_endpoint_discovery(pool):
        return {
            "type": "EDS",
            "eds_cluster_config": {
                "eds_config": {
                    **ADS,
                    "initial_fetch_timeout": duration(settings.initial_fetch_timeout_ms),
                }
            },
        }
    if pool.upstream is not None:
        default_port = 443 if pool.upstream.tls else 80
        host, port = pool.upstream.host, pool.upstream.port
        named = host if port == default_port else join_address(host, port)
        endpoints = [endpoint(name, host, port, hostname=named)]
    else:
        endpoints = [endpoint(name, *host_and_port(address)) for address in pool.addresses or ()]
    if not has_key:
        endpoints = []
    return {
        "cluster_type": extension(
            "envoy.cluster.dns",
            "clusters.dns.v3.DnsCluster",
            dns_lookup_family="V4_PREFERRED",
            respect_dns_ttl=True,
            dns_refresh_rate="5s",
        ),
        # A name server that does not answer must not keep the pool, and what names it, from
        # being there: the void answers until names are known.
        "wait_for_warm_on_init": False,
        "load_assignment": assignment(name, endpoints, settings, dns=True),
    }


def _load_balancing(pool: PoolConfig) -> Resource:
    match pool.load_balancing:
        case LoadBalancing.ROUND_ROBIN:
            policy = extension(
                "envoy.load_balancing_policies.round_robin",
                "load_balancing_policies.round_robin.v3.RoundRobin",
            )
        case LoadBalancing.SESSION_HASH | LoadBalancing.PREFIX_HASH:
            policy = extension(
                "envoy.load_balancing_policies.ring_hash",
                "load_balancing_policies.ring_hash.v3.RingHash",
                consistent_hashing_lb_config={
                    "hash_balance_factor": CONSISTENT_HASHING_BALANCE,
                },
            )
        case _:
            policy = extension(
                "envoy.load_balancing_policies.least_request",
                "load_balancing_policies.least_request.v3.LeastRequest",
            )
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": policy}]}}


def _outlier_detection(ejection: Ejection) -> Resource:
    errors = ejection.consecutive_errors
    return {
        "interval": duration(OUTLIER_INTERVAL_MS),
        "base_ejection_time": duration(ejection.base_ejection_time_ms),
        "max_ejection_percent": ejection.max_ejection_percent,
        "consecutive_5xx": errors,
        "enforcing_consecutive_5xx": 100,
        # Counted apart: a refused connection is no answer of the endpoint, and a good answer in
        # between must not hide that new connections fail.
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": errors,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
    }


def _health_check(pool: PoolConfig) -> Resource:
    probe: Probe = pool.probe  # type: ignore[assignment]
    interval = duration(probe.interval_ms)
    check: Resource = {"path": probe.path}
    if pool.upstream is not None:
        check["host"] = pool.upstream.host
    return {
        "timeout": duration(probe.timeout_ms),
        "interval": interval,
        # Without it pools that have had no traffic yet are probed once a minute only.
        "no_traffic_interval": interval,
        "interval_jitter_percent": 10,
        "unhealthy_threshold": probe.unhealthy_threshold,
        "healthy_threshold": probe.healthy_threshold,
        "http_health_check": check,
    }


def _protocol(name: str, pool: PoolConfig, *, tls: bool, has_key: bool) -> Resource:
    versions: Resource
    if tls:
        versions = {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
    else:
        versions = {"explicit_http_config": {"http_protocol_options": {}}}
    idle = PROVIDER_IDLE_MS if pool.upstream is not None else UPSTREAM_IDLE_MS
    options: dict[str, Any] = {
        "common_http_protocol_options": {"idle_timeout": duration(idle)},
        **versions,
        "http_filters": list(upstream_filters(name, pool, has_key=has_key)),
        "outlier_detection": {"error_matcher": ENDPOINT_FAILED},
    }
    if pool.load_balancing in (LoadBalancing.SESSION_HASH, LoadBalancing.PREFIX_HASH):
        options["hash_policy"] = [{"filter_state": {"key": HASH_STATE}}]
    return http_options(**options)


ENDPOINT_FAILED: Resource = {
    "and_match": {
        "rules": [
            {
                "http_response_headers_match": {
                    "headers": [{"name": ":status", "range_match": {"start": 500, "end": 600}}]
                }
            },
            {
                "not_match": {
                    "http_response_headers_match": {
                        "headers": [{"name": VOID_HEADER, "present_match": True}]
                    }
                }
            },
        ]
    }
}
"""What counts against an endpoint: its 5xx. The void's 503 must not, or it would be ejected."""


def _tls(upstream: Upstream) -> Resource:
    validation: Resource = {
        "trusted_ca": {"filename": SYSTEM_CERTIFICATES},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": upstream.host}}],
    }
    return extension(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        sni=upstream.host,
        common_tls_context={"validation_context": validation},
    )
