"""Streams whose first event is an error.

An engine that dies under vLLM answers 200 and says in the stream that it cannot. Envoy decides by
the status whether to try again and what counts against an endpoint, so two Lua filters at the pool
make the status say it. Plans for requests that ask for no stream leave both out, and neither does
anything after the first event. What they cost a stream is one call that stays within Envoy.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelrouter.router.envoy.messages import FILTER_LEFT_OUT, Resource, extension
from modelrouter.router.envoy.scripts import hold_script, peek_script

STREAM_FILTER = "streams"
"""Name of both filters: what a route says of one it says of the other."""
NO_STREAMS: Resource = {STREAM_FILTER: FILTER_LEFT_OUT}
"""`typed_per_filter_config` of routes whose requests ask for no stream."""
FAILED_POOLS = "%DYNAMIC_METADATA(mr.failed:pools)%"
"""For the access log: the pools whose streams began with an error, one for each attempt."""


def first_event_filters(pool: str) -> Iterable[Resource]:
    """In the order of requests; answers meet them the other way round."""
    yield _lua(hold_script(), filter_context={"pool": pool})
    yield _lua(peek_script())


def _lua(script: str, **more: Resource) -> Resource:
    # Apart from other scripts' in Envoy's statistics: these end by failing (`lua/ending.lua`).
    return extension(
        STREAM_FILTER,
        "filters.http.lua.v3.Lua",
        default_source_code={"inline_string": script},
        stat_prefix=STREAM_FILTER,
        **more,
    )
