"""How Envoy is started, in a cluster and by `modelrouter run` alike."""

from __future__ import annotations

ENVOY_FLAGS = (
    *("--disable-hot-restart", "--log-level", "warning"),
    # Lua scripts end by failing (see `lua/ending.lua`) and tell real failures at this level.
    *("--component-log-level", "lua:critical"),
    # Requests are counted, and limits on concurrency free again, this much after their end. Every
    # flush wakes Envoy up, also when there is nothing to write.
    *("--file-flush-interval-msec", "50"),
    # Clients are asked to come back elsewhere as soon as the agent drains, not bit by bit.
    *("--drain-time-s", "5", "--drain-strategy", "immediate"),
)
