"""Calls that are answered at once, within Envoy.

Lua has no other way to wait: it holds what it is at while a call is under way. There is not even a
socket between the call and the listener that answers it.
"""

from __future__ import annotations

from modelrouter.router.envoy.messages import Resource, extension, message

INSTANT = "_instant"
"""The cluster, and the listener that is its only endpoint."""


def instant_cluster(circuit_breakers: Resource) -> Resource:
    """Where the call goes."""
    address = {"envoy_internal_address": {"server_listener_name": INSTANT}}
    return {
        "name": INSTANT,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": INSTANT,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": extension(
            "envoy.transport_sockets.internal_upstream",
            "transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            transport_socket=extension(
                "envoy.transport_sockets.raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer"
            ),
        ),
        "circuit_breakers": circuit_breakers,
    }


def instant_listener() -> Resource:
    """Answers at once and says nothing."""
    manager = message(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="instant",
        generate_request_id=False,
        stream_idle_timeout="0s",
        http_filters=[extension("envoy.filters.http.router", "filters.http.router.v3.Router")],
        route_config={
            "name": INSTANT,
            "virtual_hosts": [
                {
                    "name": INSTANT,
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 204}}],
                }
            ],
        },
    )
    return {
        "name": INSTANT,
        "internal_listener": {},
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {"filters": [{"name": "http_connection_manager", "typed_config": manager}]}
        ],
    }
