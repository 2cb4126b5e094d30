"""Copies of requests: a listener inside Envoy that sends them to the mirror's pool.

Envoy's own mirroring sends a request to a second cluster and forgets it: no answer, failure or
delay there has an effect on the request. But it keeps no figures of that either, so the cluster is
a listener of this Envoy. From there a copy goes to its pool like any request, with the model,
parameters and key of that pool, and leaves a line of its own in the access log.
"""

from __future__ import annotations

from modelrouter.router.envoy.first_event import NO_STREAMS
from modelrouter.router.envoy.log_lines import MIRROR_LINE_FORMAT
from modelrouter.router.envoy.messages import Resource, duration, extension, message, pipe
from modelrouter.router.envoy.mirror_headers import (
    MIRROR_CLUSTER,
    MIRROR_HOW_HEADER,
    MIRROR_POOL_HEADER,
    PAIRS_CLUSTER,
)
from modelrouter.router.envoy.scripts import mirror_script
from modelrouter.router.envoy.settings import EnvoySettings

MOST_COPIES = 1000
"""Under way at once, evaluations not included: what a pool that hangs may keep in memory. Requests
beyond that are not copied."""
LONGEST_STREAM_SILENCE_MS = 60_000
LONGEST_SILENCE_MS = 600_000
"""After that the copy of a request is given up."""

MIRROR_POLICIES: Resource = {
    "request_mirror_policies": [
        {"cluster": MIRROR_CLUSTER, "disable_shadow_host_suffix_append": True}
    ]
}
"""Part of a route whose requests are copied. (`cluster_header` would do without a route of its own,
but Envoy looks for that header only after the filters of the request's pool have removed it.)"""


def mirror_cluster(settings: EnvoySettings) -> Resource:
    """Where Envoy sends copies: to itself."""
    limits = {
        "max_connections": MOST_COPIES,
        "max_pending_requests": MOST_COPIES,
        "max_requests": MOST_COPIES,
    }
    return {
        **_at(MIRROR_CLUSTER, settings.mirror_socket),
        "circuit_breakers": {"thresholds": [limits]},
    }


def pairs_cluster(settings: EnvoySettings) -> Resource:
    """The agent, for answers that are compared. Apart from decisions: what goes wrong here must
    not count against those."""
    return _at(PAIRS_CLUSTER, settings.pairs_socket)


def _at(name: str, path: str) -> Resource:
    endpoint = {"endpoint": {"address": pipe(path)}}
    return {
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def mirror_listener(settings: EnvoySettings) -> Resource:
    """The listener for copies. Only Envoy and the agent reach its socket."""
    manager = message(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="mirror",
        early_header_mutation_extensions=[_without_envoys_headers()],
        route_config={
            "name": "mirror",
            "virtual_hosts": [
                {
                    "name": "mirror",
                    "domains": ["*"],
                    "request_body_buffer_limit": settings.max_body_bytes,
                    "routes": [
                        _route(LONGEST_STREAM_SILENCE_MS, headers=[_streamed()]),
                        {**_route(LONGEST_SILENCE_MS), "typed_per_filter_config": NO_STREAMS},
                    ],
                }
            ],
        },
        http_filters=[
            extension(
                "mirror",
                "filters.http.lua.v3.Lua",
                default_source_code={"inline_string": mirror_script()},
            ),
            extension(
                "envoy.filters.http.router",
                "filters.http.router.v3.Router",
                dynamic_stats=False,
                suppress_envoy_headers=True,
            ),
        ],
        access_log=[
            {
                "name": "agent",
                "typed_config": message(
                    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    path=settings.log_pipe,
                    log_format={"text_format_source": {"inline_string": MIRROR_LINE_FORMAT}},
                ),
            }
        ],
        preserve_external_request_id=True,
        stream_idle_timeout=duration(LONGEST_SILENCE_MS),
        common_http_protocol_options={"idle_timeout": "3600s"},
        # A drain ends the connections of clients; copies end with their requests.
        drain_timeout="2s",
    )
    return {
        "name": "mirror",
        "address": pipe(settings.mirror_socket),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        # The limit is there for clients.
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {"filters": [{"name": "http_connection_manager", "typed_config": manager}]}
        ],
    }


def _route(silence_ms: int, **match: object) -> Resource:
    """To the pool that the header names, once, for as long as it is not silent."""
    return {
        "match": {"prefix": "/", **match},
        "route": {
            "cluster_header": MIRROR_POOL_HEADER,
            "timeout": "0s",
            "idle_timeout": duration(silence_ms),
            "auto_host_rewrite": True,
        },
    }


def _streamed() -> Resource:
    return {"name": MIRROR_HOW_HEADER, "string_match": {"contains": "s"}}


def _without_envoys_headers() -> Resource:
    """The retries and timeouts of the request are not those of its copy; and Envoy adds its own
    address to each."""
    return extension(
        "without_envoys_headers",
        "http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
            {"remove": "x-forwarded-for"},
        ],
    )
