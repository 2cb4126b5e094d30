"""The headers of requests that are copied, between Envoy's listeners and the agent.

A request gets them once it is decided, and they go to the copy with it; no pool sees them, nor does
any client's count.
"""

from __future__ import annotations

MIRROR_CLUSTER = "_mirror"
"""Envoy's own listener for copies, as a cluster."""
PAIRS_CLUSTER = "_pairs"
"""The agent, for answers that are compared."""

MIRROR_HEADER = "x-mr-mirror"
"""What a copy is: `MIRRORED` or `EVALUATED`. In the agent's answer to a question: what it says of
the copy, see `mirror_words`."""
MIRROR_POOL_HEADER = "x-mr-mirror-pool"
MIRROR_ROUTE_HEADER = "x-mr-mirror-route"
MIRROR_HOW_HEADER = "x-mr-mirror-how"
"""Letters: `s` streamed, `u` it asks for the tokens used, `c` compared, `e` evaluated."""

MIRRORED = "_mirror"
"""What the access log says of a copy, in place of a reason."""
EVALUATED = "_evaluation"
"""What it says of a question about two answers."""


def mirror_words(pool: str, route: str, *, streamed: bool, compares: bool, evaluates: bool) -> str:
    """What the agent says of a copy to Envoy's Lua."""
    how = "s" * streamed + "c" * compares + "e" * evaluates
    return f"{pool}|{route}|{how}"
