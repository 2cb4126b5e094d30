"""No limit that stands in Envoy's configuration cuts a stream with a token every 20 seconds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from component.router.manifests import pool, route
from component.router.processes import SOURCE

SILENCE = 20.0
"""Seconds between two tokens."""

HARMLESS = {
    "initial_fetch_timeout": "of configuration",
    "connect_timeout": "before a request is sent",
    "request_headers_timeout": "until the client's headers are there",
}
"""Limits on what is over before a stream begins."""

BETWEEN_REQUESTS = "common_http_protocol_options"
"""Its idle_timeout counts while a connection carries no request at all."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `modelrouter render --envoy` says about a route with defaults throughout."""
    path = tmp_path_factory.mktemp("render") / "all.yaml"
    documents = [
        pool("first", "127.0.0.1:1", model="a"),
        pool("second", "127.0.0.1:2", model="b"),
        route("chat", pools=["first", "second"]),
    ]
    path.write_text(yaml.safe_dump_all(documents))
    command = [sys.executable, "-m", "modelrouter", "render", "--envoy", "-f", str(path)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, check=True, text=True
    )
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


def limits(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Everything that limits a time, with where it stands and its seconds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            name = str(key)
            if isinstance(inner, str) and ("timeout" in name or "duration" in name):
                yield (*path, name), float(inner.removesuffix("s"))
            else:
                yield from limits(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from limits(inner, (*path, str(index)))


def test_streams_have_no_limit_but_for_silence(rendered: dict[str, Any]) -> None:
    plans = [
        plan["route"]
        for plan in rendered["routes"]["plans"].values()
        if "per_try_idle_timeout" in plan["route"]["retry_policy"]
    ]
    assert plans
    for plan in plans:
        assert plan["timeout"] == "0s", "the whole answer: no limit"
        found = dict(limits(plan))
        assert found.pop(("timeout",)) == 0
        # In place of the listener's; 0 is none.
        idle = found.pop(("idle_timeout",))
        assert idle == 0 or idle > SILENCE
        assert found.pop(("retry_policy", "per_try_idle_timeout")) > SILENCE
        # Counts until the first byte of the answer.
        assert found.pop(("retry_policy", "per_try_timeout")) > SILENCE
        assert found == {}


def test_clusters_limit_connections_only_while_idle(rendered: dict[str, Any]) -> None:
    for cluster in rendered["clusters"]:
        for path, _ in limits({key: cluster[key] for key in cluster if key != "health_checks"}):
            assert path[-1] in HARMLESS or path[-2] == BETWEEN_REQUESTS, path
        assert "max_stream_duration" not in str(cluster)
        assert "max_requests_per_connection" not in str(cluster)


def test_the_listener_limits_only_what_clients_send(rendered: dict[str, Any]) -> None:
    listener = rendered["bootstrap"]["static_resources"]["listeners"][0]
    for path, seconds in limits(listener):
        if path[-1] in HARMLESS or path[-2] == BETWEEN_REQUESTS:
            continue
        if path[-1] in ("delayed_close_timeout", "drain_timeout"):
            continue  # for connections whose last answer has ended, or that are not in use
        # What a plan replaces; see above.
        assert path[-1] == "stream_idle_timeout", path
        assert seconds > SILENCE


def test_the_health_check_is_not_in_the_way(rendered: dict[str, Any], tmp_path: Path) -> None:
    """A server whose probes fail while it streams gets no new requests; its streams go on."""
    for cluster in rendered["clusters"]:
        assert not cluster.get("close_connections_on_host_health_failure")
