"""How requests come to the agent to wait, and back into Envoy when they have waited."""

from __future__ import annotations

from modelrouter.router.envoy.messages import Resource, pipe
from modelrouter.router.envoy.settings import EnvoySettings

HOLDING_CLUSTER = "_holding"
HOLDING_PLAN = "hold"
"""What stands for waiting in `x-mr-plan`."""


def holding_cluster(settings: EnvoySettings, circuit_breakers: Resource) -> Resource:
    """The agent, for requests that wait."""
    address = {"endpoint": {"address": pipe(settings.holding_socket)}}
    return {
        "name": HOLDING_CLUSTER,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": HOLDING_CLUSTER,
            "endpoints": [{"lb_endpoints": [address]}],
        },
        "circuit_breakers": circuit_breakers,
    }
