"""The void: a listener inside Envoy that stands in for pools that have no healthy endpoint.

Envoy answers 503 by itself when a cluster has no healthy host, and never retries that, which
would end the request before the next pool of its chain is tried. With the void as the endpoint
of last priority there is always a host, and its marked answer is one that retry policies know.
"""

from __future__ import annotations

from modelrouter.router.envoy.local_replies import error_body
from modelrouter.router.envoy.messages import (
    Resource,
    add_header,
    extension,
    message,
    pipe,
    socket_address,
)
from modelrouter.router.envoy.settings import EnvoySettings

VOID_CLUSTER = "_void"
VOID_HEADER = "x-mr-void"
VOID_PRIORITY = 1
LOOPBACK = "127.0.0.1"
RETRY_AFTER_SECONDS = 1


def void_endpoint(settings: EnvoySettings, *, dns: bool = False) -> Resource:
    """The endpoint group that every pool has besides its own.

    Clusters that resolve names know no Unix sockets; Envoy passes over them in silence.
    """
    address = socket_address(LOOPBACK, settings.void_port) if dns else pipe(settings.void_socket)
    return {
        "priority": VOID_PRIORITY,
        "lb_endpoints": [
            {
                "endpoint": {
                    "address": address,
                    "hostname": "void",
                    "health_check_config": {"disable_active_health_check": True},
                }
            }
        ],
    }


def void_cluster(settings: EnvoySettings) -> Resource:
    """Where requests go that have no plan."""
    return {
        "name": VOID_CLUSTER,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": VOID_CLUSTER,
            "endpoints": [{**void_endpoint(settings), "priority": 0}],
        },
    }


def void_listener(settings: EnvoySettings) -> Resource:
    """Answers everything with 503 and the mark."""
    answer = {
        "match": {"prefix": "/"},
        "direct_response": {
            "status": 503,
            "body": {
                "inline_string": error_body(
                    "No endpoint can serve this model at the moment. Try again.",
                    "server_error",
                    code="no_healthy_endpoint",
                )
            },
        },
        "response_headers_to_add": [
            add_header("content-type", "application/json"),
            add_header("retry-after", str(RETRY_AFTER_SECONDS)),
            add_header(VOID_HEADER, "1"),
        ],
    }
    manager = message(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="void",
        generate_request_id=False,
        stream_idle_timeout="0s",
        http_filters=[extension("envoy.filters.http.router", "filters.http.router.v3.Router")],
        route_config={
            "name": "void",
            "virtual_hosts": [{"name": "void", "domains": ["*"], "routes": [answer]}],
        },
    )
    return {
        "name": "void",
        "address": pipe(settings.void_socket),
        "additional_addresses": [{"address": socket_address(LOOPBACK, settings.void_port)}],
        "filter_chains": [
            {"filters": [{"name": "http_connection_manager", "typed_config": manager}]}
        ],
    }
