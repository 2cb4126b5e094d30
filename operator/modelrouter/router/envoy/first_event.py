"""Streams whose first event is an error.

An engine that dies under vLLM answers 200 and says in the stream that it cannot. Envoy decides by
the status whether to try again and what counts against an endpoint, so two Lua filters at the pool
make the status say it. Both are left out for answers that are no streams, and neither does anything
after the first event. What they cost a stream is one call that stays within Envoy.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelrouter.router.envoy.messages import Resource, extension, match_list, message
from modelrouter.router.envoy.scripts import hold_script, peek_script
from modelrouter.router.envoy.void import VOID_CLUSTER

FAILED_POOLS = "%DYNAMIC_METADATA(mr.failed:pools)%"
"""For the access log: the pools whose streams began with an error, one for each attempt."""


def first_event_filters(pool: str) -> Iterable[Resource]:
    """In the order of requests; answers meet them the other way round."""
    yield _for_streams("hold", hold_script(VOID_CLUSTER), filter_context={"pool": pool})
    yield _for_streams("peek", peek_script())


def _for_streams(name: str, script: str, **more: Resource) -> Resource:
    lua = extension(
        name, "filters.http.lua.v3.Lua", default_source_code={"inline_string": script}, **more
    )
    other = {
        "predicate": {
            "not_matcher": {
                "single_predicate": {
                    "input": {
                        "name": "content-type",
                        "typed_config": message(
                            "envoy.type.matcher.v3.HttpResponseHeaderMatchInput",
                            header_name="content-type",
                        ),
                    },
                    "value_match": {"prefix": "text/event-stream", "ignore_case": True},
                }
            }
        },
        "on_match": {
            "action": {
                "name": "skip",
                "typed_config": message(
                    "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
                ),
            }
        },
    }
    return extension(
        name,
        "common.matching.v3.ExtensionWithMatcher",
        extension_config=lua,
        xds_matcher=match_list(other),
    )
