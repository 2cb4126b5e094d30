"""Streams whose first event is an error.

An engine that dies under vLLM answers 200 and says in the stream that it cannot. Envoy decides by
the status whether to try again and what counts against an endpoint, so two Lua filters at the pool
make the status say it. Plans for requests that ask for no stream leave both out, and neither does
anything after the first event. What they cost a stream is one call that stays within Envoy: not
even a socket is there between it and the listener that answers.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelrouter.router.envoy.messages import Resource, extension, message
from modelrouter.router.envoy.scripts import hold_script, peek_script

STREAM_FILTER = "streams"
"""Name of both filters: what a route says of one it says of the other."""
NO_STREAMS: Resource = {
    STREAM_FILTER: message("envoy.extensions.filters.http.lua.v3.LuaPerRoute", disabled=True)
}
"""`typed_per_filter_config` of routes whose requests ask for no stream."""
INSTANT = "_instant"
"""What answers the call: a cluster, and the listener that is its only endpoint."""
FAILED_POOLS = "%DYNAMIC_METADATA(mr.failed:pools)%"
"""For the access log: the pools whose streams began with an error, one for each attempt."""


def first_event_filters(pool: str) -> Iterable[Resource]:
    """In the order of requests; answers meet them the other way round."""
    yield _lua(hold_script(INSTANT), filter_context={"pool": pool})
    yield _lua(peek_script())


def _lua(script: str, **more: Resource) -> Resource:
    source = {"inline_string": script}
    return extension(STREAM_FILTER, "filters.http.lua.v3.Lua", default_source_code=source, **more)


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
