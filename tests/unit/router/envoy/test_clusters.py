"""Clusters of pools: what every one of them must have."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from modelrouter.api.router_config import PoolConfig
from modelrouter.router.envoy.clusters import cluster
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.envoy.typed import CLUSTER, serialized

SETTINGS = EnvoySettings(directory=Path("/run/mr"))
EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 1000, "max_ejection_percent": 50}


@pytest.mark.parametrize(
    "source",
    [
        {"addresses": ["10.0.0.1:80"]},
        {"addresses": ["model.example:80"]},
        {"upstream": {"host": "api.example", "port": 443, "tls": True, "path_prefix": "/v1"}},
    ],
    ids=["addresses", "names", "provider"],
)
def test_a_host_that_vanishes_is_noticed_whatever_it_was_doing(source: dict[str, Any]) -> None:
    pool = PoolConfig.model_validate({"model": "m", "ejection": EJECTION, **source})
    made = cluster("pool", pool, SETTINGS)
    keepalive = made["upstream_connection_options"]["tcp_keepalive"]
    quiet = keepalive["keepalive_time"]
    quiet += keepalive["keepalive_interval"] * keepalive["keepalive_probes"]
    (option,) = made["upstream_bind_config"]["socket_options"]
    assert (option["level"], option["name"]) == (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert quiet == option["int_value"] / 1000 == 25
    assert serialized(CLUSTER, made)
