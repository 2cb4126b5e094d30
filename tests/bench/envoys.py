"""Plain Envoys: the one that is compared with, and the one that stands for a model server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.processes import Program
from modelrouter.standalone.envoy_binary import find_envoy

_TYPES = "type.googleapis.com/envoy.extensions.filters"
_LARGEST_BODY = 4 * 1024 * 1024

ANSWER = {
    "id": "chatcmpl-7d5e0c6b9a",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "llama",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The claim was never bound. " * 8},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 210, "completion_tokens": 56, "total_tokens": 266},
}


def answering_envoy(ports: Sequence[int], directory: Path, *, delay_ms: int = 0) -> Program:
    """A model server that answers every request at once, or after a delay: Envoy with a fixed
    answer.

    It reads the whole body first, as a model server does.
    """
    buffer = {
        "name": "envoy.filters.http.buffer",
        "typed_config": {
            "@type": f"{_TYPES}.http.buffer.v3.Buffer",
            "max_request_bytes": _LARGEST_BODY,
        },
    }
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": json.dumps(ANSWER)}},
        "response_headers_to_add": [
            {
                "header": {"key": "content-type", "value": "application/json"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }
    filters = [buffer]
    if delay_ms:
        # Half as long again at random, so that connections do not go in step.
        filters.append(_delaying(delay_ms, 100))
        filters += [_delaying(delay_ms / 2**bit, 50) for bit in range(2, 8)]
    listeners = [_listener(port, route, filters) for port in ports]
    for listener in listeners:
        listener["per_connection_buffer_limit_bytes"] = _LARGEST_BODY
    return _envoy("backend", listeners, [], directory)


def plain_envoy(backends: Mapping[int, int], directory: Path) -> Program:
    """A proxy and no more: port by port, one cluster each, everything as Envoy has it."""
    listeners, clusters = [], []
    for port, backend in backends.items():
        listeners.append(
            _listener(port, {"match": {"prefix": "/"}, "route": {"cluster": f"to-{backend}"}}, [])
        )
        address = {"socket_address": {"address": "127.0.0.1", "port_value": backend}}
        endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
        name = f"to-{backend}"
        clusters.append(
            {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [endpoint]}}
        )
    return _envoy("plain", listeners, clusters, directory)


def _listener(port: int, route: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            *filters,
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"},
            },
        ],
    }
    hcm = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": f"on-{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [hcm]}],
    }


def _delaying(milliseconds: float, percent: int) -> dict[str, Any]:
    """A filter that keeps this share of the requests waiting."""
    delay = {"fixed_delay": f"{milliseconds / 1e3:.6f}s", "percentage": {"numerator": percent}}
    return {
        "name": f"delay-{milliseconds:g}",
        "typed_config": {"@type": f"{_TYPES}.http.fault.v3.HTTPFault", "delay": delay},
    }


def _envoy(
    name: str, listeners: list[dict[str, Any]], clusters: list[dict[str, Any]], directory: Path
) -> Program:
    config = {"static_resources": {"listeners": listeners, "clusters": clusters}}
    file = directory / f"{name}.json"
    file.write_text(json.dumps(config))
    return Program(name, envoy_command(file), directory / f"{name}.log")


def envoy_command(config: Path) -> list[str]:
    """An Envoy with one worker thread, as all are here."""
    options = ["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    return [str(find_envoy()), "-c", str(config), *options]
