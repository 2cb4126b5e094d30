"""How feedback comes to the agent."""

from __future__ import annotations

from modelrouter.router.envoy.messages import Resource, http_options, pipe
from modelrouter.router.envoy.settings import EnvoySettings

FEEDBACK_CLUSTER = "_feedback"
FEEDBACK_PATH = "/v1/feedback"
TIMEOUT = "10s"
"""Longer than an agent takes to ask all the others."""
MOST_AT_ONCE = 256
"""Feedback must not keep the agent from decisions. What is more gets 503 and may try again."""


def feedback_cluster(settings: EnvoySettings) -> Resource:
    """The agent, for feedback."""
    address = {"endpoint": {"address": pipe(settings.feedback_socket)}}
    limits = ("max_connections", "max_pending_requests", "max_requests")
    return {
        "name": FEEDBACK_CLUSTER,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": FEEDBACK_CLUSTER,
            "endpoints": [{"lb_endpoints": [address]}],
        },
        # Shorter than the agent's, so that none is lost on a connection that is being closed.
        "typed_extension_protocol_options": http_options(
            common_http_protocol_options={"idle_timeout": "10s"},
            explicit_http_config={"http_protocol_options": {}},
        ),
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, MOST_AT_ONCE)]},
    }
