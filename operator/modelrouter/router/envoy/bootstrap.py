"""Envoy's bootstrap: what does not vary, and where the rest comes from."""

from __future__ import annotations

from modelrouter.router.decisions.protocol import HEALTH_PATH
from modelrouter.router.envoy.feedback import feedback_cluster
from modelrouter.router.envoy.holding import holding_cluster
from modelrouter.router.envoy.instant import instant_cluster, instant_listener
from modelrouter.router.envoy.listener import (
    AGENT_CLUSTER,
    CONTROL_CLUSTER,
    again_listener,
    listener,
)
from modelrouter.router.envoy.messages import (
    ADS,
    Resource,
    duration,
    extension,
    http_options,
    message,
    pipe,
    socket_address,
)
from modelrouter.router.envoy.mirroring import mirror_cluster, mirror_listener, pairs_cluster
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.envoy.void import void_cluster, void_listener

NO_LIMIT = 1_000_000


def bootstrap(settings: EnvoySettings) -> Resource:
    """The bootstrap, to be written as JSON."""
    admin = (
        pipe(settings.admin_socket)
        if settings.admin_port is None
        else socket_address("127.0.0.1", settings.admin_port)
    )
    return {
        "node": {"id": settings.node, "cluster": settings.cluster},
        "admin": {"address": admin},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": CONTROL_CLUSTER,
                            # Envoy's own backs off to 30 s; an agent that is back is wanted now.
                            "retry_policy": {
                                "retry_back_off": {
                                    "base_interval": "0.1s",
                                    "max_interval": "1s",
                                }
                            },
                        }
                    }
                ],
                "set_node_on_first_message_only": True,
            },
            "cds_config": {
                **ADS,
                "initial_fetch_timeout": duration(settings.initial_fetch_timeout_ms),
            },
        },
        "static_resources": {
            "listeners": [
                listener(settings),
                again_listener(settings),
                mirror_listener(settings),
                void_listener(settings),
                instant_listener(),
            ],
            "clusters": [
                agent_cluster(settings),
                control_cluster(settings),
                feedback_cluster(settings),
                holding_cluster(settings, _no_limits()),
                mirror_cluster(settings),
                pairs_cluster(settings),
                void_cluster(settings),
                instant_cluster(_no_limits()),
            ],
        },
        "bootstrap_extensions": [
            extension(
                "envoy.bootstrap.internal_listener",
                "bootstrap.internal_listener.v3.InternalListener",
            )
        ],
        "watchdogs": {"main_thread_watchdog": SELDOM, "worker_watchdog": SELDOM},
        "overload_manager": _overload_manager(settings),
        "stats_config": {
            # Per-pool figures come from the access log; Envoy's own are for debugging.
            "stats_matcher": {
                "exclusion_list": {"patterns": [{"suffix": suffix} for suffix in UNUSED_STATS]}
            }
        },
    }


SELDOM: Resource = {"miss_timeout": "5s", "megamiss_timeout": "30s"}
"""All that a watchdog does is to count threads that are stuck. By default it wakes up every thread
ten times a second, a quarter of what an Envoy without requests costs."""
UNUSED_STATS = ("_length_ms", "_cx_length_ms", "upstream_rq_time")


NO_ANSWER: Resource = {
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
                        "headers": [
                            {
                                "name": "content-type",
                                "string_match": {"prefix": "application/json"},
                            }
                        ]
                    }
                }
            },
        ]
    }
}


def agent_cluster(settings: EnvoySettings) -> Resource:
    """Where decisions are made."""
    return {
        "name": AGENT_CLUSTER,
        "connect_timeout": "0.25s",
        "load_assignment": _at(AGENT_CLUSTER, settings.decision_socket),
        "circuit_breakers": _no_limits(),
        # An agent that hangs costs a few requests their decision timeout, not all of them: it is
        # ejected until it answers a health check again, which also tells at once that it is back.
        "health_checks": [
            {
                "timeout": "0.5s",
                # An agent that is well need not be looked at often; one that is away, or just
                # starts, is wanted.
                "interval": "1s",
                "no_traffic_healthy_interval": "1s",
                "unhealthy_interval": "0.2s",
                "unhealthy_edge_interval": "0.2s",
                "no_traffic_interval": "0.2s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {
                    "path": HEALTH_PATH,
                    "expected_statuses": [{"start": 200, "end": 600}],
                },
            }
        ],
        "outlier_detection": {
            "consecutive_gateway_failure": 3,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "interval": "0.5s",
            "base_ejection_time": "30s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 100,
        },
        # Its own answers do not count: a 503 may be what it has decided.
        "typed_extension_protocol_options": http_options(
            explicit_http_config={"http_protocol_options": {}},
            outlier_detection={"error_matcher": NO_ANSWER},
        ),
        "common_lb_config": {
            "update_merge_window": "0s",
            "healthy_panic_threshold": {"value": 0},
        },
    }


def control_cluster(settings: EnvoySettings) -> Resource:
    """Where resources come from and the access log goes."""
    return {
        "name": CONTROL_CLUSTER,
        "connect_timeout": "0.25s",
        "load_assignment": _at(CONTROL_CLUSTER, settings.control_socket),
        "typed_extension_protocol_options": http_options(
            explicit_http_config={
                "http2_protocol_options": {
                    "connection_keepalive": {"interval": "10s", "timeout": "5s"}
                }
            }
        ),
    }


def _at(cluster: str, path: str) -> Resource:
    return {
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe(path)}}]}],
    }


def _no_limits() -> Resource:
    names = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(names, NO_LIMIT)]}


def _overload_manager(settings: EnvoySettings) -> Resource:
    connections = "envoy.resource_monitors.global_downstream_max_connections"
    letting_go = "envoy.resource_monitors.injected_resource"
    return {
        "resource_monitors": [
            {
                "name": connections,
                "typed_config": message(
                    "envoy.extensions.resource_monitors.downstream_connections.v3"
                    ".DownstreamConnectionsConfig",
                    max_active_downstream_connections=settings.max_connections,
                ),
            },
            {
                "name": letting_go,
                "typed_config": message(
                    "envoy.extensions.resource_monitors.injected_resource.v3"
                    ".InjectedResourceConfig",
                    filename=settings.letting_go_file,
                ),
            },
        ],
        # A draining Envoy ends connections with their requests. One that a client keeps unused
        # would stay until Envoy's end and lose the request that comes on it in that moment.
        "actions": [
            {
                "name": "envoy.overload_actions.reduce_timeouts",
                "triggers": [{"name": letting_go, "threshold": {"value": 0.5}}],
                "typed_config": message(
                    "envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
                    timer_scale_factors=[
                        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "0.5s"}
                    ],
                ),
            }
        ],
    }
