"""The listeners of requests. Nothing in them varies: a change would end running streams."""

from __future__ import annotations

from modelrouter.router.envoy.attempts import LUA_FILTER
from modelrouter.router.envoy.local_replies import local_reply_config
from modelrouter.router.envoy.log_lines import AGAIN_LINE_FORMAT, LINE_FORMAT
from modelrouter.router.envoy.messages import (
    ADS,
    Resource,
    duration,
    extension,
    message,
    pipe,
    socket_address,
)
from modelrouter.router.envoy.routes import ROUTE_TABLE
from modelrouter.router.envoy.scripts import decide_script
from modelrouter.router.envoy.settings import EnvoySettings

CONTROL_CLUSTER = "_control"
AGENT_CLUSTER = "_agent"
STALLED_CLIENT_MS = 300_000
CONNECTION_BUFFER_BYTES = 1024 * 1024


def listener(settings: EnvoySettings) -> Resource:
    """The listener for clients."""
    return {
        "name": "models",
        "address": socket_address(settings.host, settings.port),
        # Request bodies may be larger, see the virtual host; this is what may wait for clients
        # that read slowly.
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        # Two Envoys must not share a port by accident, each seeing half of the requests.
        "enable_reuse_port": settings.reuse_port,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "http_connection_manager",
                        "typed_config": connection_manager(settings),
                    }
                ]
            }
        ],
    }


def again_listener(settings: EnvoySettings) -> Resource:
    """The listener for requests that have waited: only the agent reaches its socket, so that
    coming in here is a mark that no client can forge."""
    return {
        "name": "again",
        "address": pipe(settings.again_socket),
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "http_connection_manager",
                        "typed_config": connection_manager(settings, again=True),
                    }
                ]
            }
        ],
    }


def connection_manager(settings: EnvoySettings, *, again: bool = False) -> Resource:
    """How HTTP is spoken and what happens to every request.

    `again`: to those that have waited.
    """
    return message(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="again" if again else "models",
        early_header_mutation_extensions=[_without_control_headers()],
        rds={
            "route_config_name": ROUTE_TABLE,
            "config_source": {
                **ADS,
                "initial_fetch_timeout": duration(settings.initial_fetch_timeout_ms),
            },
        },
        http_filters=[
            extension(
                LUA_FILTER,
                "filters.http.lua.v3.Lua",
                default_source_code={"inline_string": decide_script(settings, held=again)},
            ),
            extension(
                "envoy.filters.http.router",
                "filters.http.router.v3.Router",
                dynamic_stats=False,
                suppress_envoy_headers=True,
            ),
        ],
        access_log=[access_log(settings, AGAIN_LINE_FORMAT if again else LINE_FORMAT)],
        local_reply_config=local_reply_config(),
        # A client's own id is kept, and always told.
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        server_header_transformation="PASS_THROUGH",
        # Plans have no idle timeout of their own here; this is for clients that stop sending.
        stream_idle_timeout=duration(STALLED_CLIENT_MS),
        request_headers_timeout="30s",
        common_http_protocol_options={"idle_timeout": "3600s"},
        # From the decision to close an unused connection until it is done; a request that comes
        # in between is served.
        drain_timeout="2s",
        # A client learns of a broken answer when its connection ends; the default waits 1 s.
        delayed_close_timeout="0.1s",
        http2_protocol_options={"max_concurrent_streams": 1000},
    )


def _without_control_headers() -> Resource:
    """No client steers the router by its own headers."""
    return extension(
        "without_control_headers",
        "http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            {"remove_on_match": {"key_matcher": {"prefix": prefix}}}
            for prefix in ("x-mr-", "x-envoy-")
        ],
    )


def access_log(settings: EnvoySettings, line_format: str) -> Resource:
    """One line per request, to the agent."""
    return {
        "name": "agent",
        "typed_config": message(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=settings.log_pipe,
            log_format={"text_format_source": {"inline_string": line_format}},
        ),
    }
