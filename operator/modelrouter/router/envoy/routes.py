"""The route table: what Envoy does with a request once it is decided, and what needs no decision.

```
x-mr-plan → plan                      the agent (or the fall-through) has decided
otherwise :path → ask | models | …    not yet, or never
```
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from modelrouter.api.router_config import PoolConfig, RouteConfig
from modelrouter.policy.deciding import LONGEST_CHAIN, STREAM_PER_TRY_TIMEOUT_MS
from modelrouter.router.envoy.attempts import ATTEMPTS_HEADER, LUA_FILTER, first_attempt
from modelrouter.router.envoy.endpoints import METADATA
from modelrouter.router.envoy.feedback import FEEDBACK_CLUSTER, FEEDBACK_PATH, TIMEOUT
from modelrouter.router.envoy.first_event import NO_STREAMS
from modelrouter.router.envoy.holding import HOLDING_CLUSTER
from modelrouter.router.envoy.local_replies import ROUTED_400, error, error_body
from modelrouter.router.envoy.messages import (
    Resource,
    add_header,
    duration,
    extension,
    message,
)
from modelrouter.router.envoy.mirroring import MIRROR_POLICIES
from modelrouter.router.envoy.plans import MIRRORED_MARK, Plan, retry_on, status_codes
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.envoy.void import VOID_CLUSTER, VOID_HEADER

ROUTE_TABLE = "routes"
"""Name of the `RouteConfiguration`."""
ROUTE = "envoy.config.route.v3.Route"
ROUTE_LIST = "envoy.config.route.v3.RouteList"
CHAIN_NAMESPACE = "mr.chain"
SELECTIONS = 100
"""How often a retry looks for another host than those before. Least request finds an idle host,
such as one that just died, three times in four where there are two: 16 looks fail once in 100."""
MOST_CATALOGUE_BYTES = 16 * 1024 * 1024
"""Of the list of models; Envoy's default for direct responses is 4 KiB."""

ASKED = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
MODELS = "/v1/models"

_UNDECIDED = {
    LUA_FILTER: message("envoy.extensions.filters.http.lua.v3.LuaPerRoute", disabled=True)
}
"""Of routes that nobody has to be asked about."""

CLIENT_HEADERS = ("x-session-id", "x-data-class", "x-priority", "x-team")
"""Request headers that policies always look at."""


TOLD_BY_REQUEST = [
    add_header("x-mr-route", "%FILTER_STATE(mr.route:PLAIN)%"),
    add_header("x-mr-reason", "%FILTER_STATE(mr.reason:PLAIN)%"),
]


def plan_route(plan: Plan, first: PoolConfig) -> Resource:
    """`Route` of a plan. `first` is the first pool of its chain."""
    told = [add_header(name, value.replace("%", "%%")) for name, value in told_by(plan)]
    return {
        **unnamed_route(plan, first),
        "name": route_name(plan),
        "response_headers_to_add": told or TOLD_BY_REQUEST,
    }


def route_name(plan: Plan) -> str:
    """For people who look at what Envoy has."""
    return f"{plan.route or 'any'}: {','.join(plan.chain)}"


def told_by(plan: Plan) -> list[tuple[str, str]]:
    """Response headers that are part of the plan."""
    if not plan.route:
        return []
    return [("x-mr-route", plan.route), ("x-mr-reason", plan.reason)]


def unnamed_route(plan: Plan, first: PoolConfig) -> Resource:
    """`Route` of a plan without what is told about it."""
    where, how = pools_part(plan.chain, first, mirrored=plan.mirrored), limits_part(plan)
    both = ("route", "typed_per_filter_config")
    return {**where, **how, **{part: {**where.get(part, {}), **how[part]} for part in both}}


def pools_part(chain: tuple[str, ...], first: PoolConfig, *, mirrored: bool) -> Resource:
    """The part of a plan's `Route` that depends on its pools."""
    groups = [_group(n, pool) for n, pool in enumerate(chain)]
    return {
        "match": {"prefix": "/"},
        "route": {"inline_cluster_specifier_plugin": {"extension": _chain(groups)}},
        **first_attempt(chain, first, mirrored=mirrored),
    }


def limits_part(plan: Plan) -> Resource:
    """The part of a plan's `Route` that does not depend on which pools it has."""
    policy = {
        **_retry_policy(plan.idle_ms),
        "retry_on": retry_on(plan.triggers),
        "retriable_status_codes": list(status_codes(plan.triggers)),
        "num_retries": len(plan.chain) - 1,
        "per_try_timeout": duration(plan.per_try_timeout_ms),
    }
    copies = MIRROR_POLICIES if plan.mirrored else {}
    return {
        "route": {**_limits(plan.timeout_ms, plan.stall_ms, policy), **copies},
        **scripts_part(streamed=plan.idle_ms > 0, mirrored=plan.mirrored),
    }


def scripts_part(*, streamed: bool, mirrored: bool = False) -> Resource:
    """The part of a `Route` that leaves out the scripts that its answers do not need.

    Those of the listener have decided by then. Envoy looks at a script again for every event of a
    stream, even when it is done, so what reads a stream's tokens is what looks at its first event,
    at the pool.
    """
    if not streamed:
        return {"typed_per_filter_config": NO_STREAMS}
    return {"typed_per_filter_config": {} if mirrored else _UNDECIDED}


def unplanned_route(idle_ms: int, stall_ms: int, *, mirrored: bool = False) -> Resource:
    """`Route` of the chains that no plan stands for; the rest comes in headers."""
    chain = _chain([_group(0, VOID_CLUSTER)], override_metadata_namespace=CHAIN_NAMESPACE)
    policy = {**_retry_policy(idle_ms), "retry_on": retry_on(()), "num_retries": 0}
    return {
        "name": "unplanned",
        "response_headers_to_add": TOLD_BY_REQUEST,
        "match": {"prefix": "/"},
        "route": {
            "inline_cluster_specifier_plugin": {"extension": chain},
            **_limits(0, stall_ms, policy),
            **(MIRROR_POLICIES if mirrored else {}),
        },
        **scripts_part(streamed=idle_ms > 0, mirrored=mirrored),
    }


def holding_route() -> Resource:
    """`Route` of requests that wait in the agent, which ends that in time."""
    return {
        "name": "hold",
        "match": {"prefix": "/"},
        "response_headers_to_add": TOLD_BY_REQUEST,
        "route": {"cluster": HOLDING_CLUSTER, "timeout": "0s", "idle_timeout": "0s"},
    }


def unplanned_key(idle_ms: int, stall_ms: int, *, mirrored: bool = False) -> str:
    """What stands for it in `x-mr-plan`."""
    return (f"*{idle_ms}.{stall_ms}" if idle_ms else "*") + MIRRORED_MARK * mirrored


def unplanned_limits(routes: Iterable[RouteConfig]) -> Iterable[tuple[int, int, bool]]:
    """The limits on silence, in milliseconds, that unplanned chains of these routes may need, and
    whether their requests are copied."""
    yield 0, 0, False
    for idle_ms, per_try_ms, mirrored in {
        (
            route.idle_timeout_ms,
            route.retry.per_try_timeout_ms or STREAM_PER_TRY_TIMEOUT_MS,
            mirrored,
        )
        for route in routes
        for mirrored in (False, True)[: 1 + (route.mirror is not None)]
    }:
        if mirrored:
            yield 0, 0, True
        for attempts in range(1, LONGEST_CHAIN + 1):
            yield idle_ms, idle_ms + attempts * per_try_ms, mirrored


def _group(n: int, cluster: str) -> Resource:
    return {"name": f"{n}{cluster}", "clusters": [{"cluster_name": cluster, "weight": 1}]}


def _chain(groups: list[Resource], **more: str) -> Resource:
    """Attempt n goes to group n."""
    return extension(
        "envoy.router.cluster_specifier_plugin.priority_group",
        "router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier",
        priority_groups=groups,
        **more,
    )


def _limits(timeout_ms: int, idle_ms: int, retry_policy: Resource) -> Resource:
    return {
        "timeout": duration(timeout_ms),
        # The listener's limit is for clients that stop sending. An answer may be silent longer;
        # where it may not, `per_try_idle_timeout` says so. This one stands behind it, because
        # a per-try timeout that runs out after the answer began disarms it until the next byte.
        "idle_timeout": duration(idle_ms),
        # Per attempt: the host that a provider expects, and not the one of the last attempt.
        "auto_host_rewrite": True,
        "retry_policy": retry_policy,
    }


def _retry_policy(idle_ms: int) -> Resource:
    policy: Resource = {
        "refresh_cluster_on_retry": True,
        "retriable_headers": [{"name": VOID_HEADER, "present_match": True}],
        "retry_host_predicate": [
            extension(
                "envoy.retry_host_predicates.previous_hosts",
                "retry.host.previous_hosts.v3.PreviousHostsPredicate",
            )
        ],
        "host_selection_retry_max_attempts": SELECTIONS,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.1s"},
    }
    if idle_ms:
        policy["per_try_idle_timeout"] = duration(idle_ms)
    return policy


# What needs no decision


def asked_paths() -> Iterable[tuple[str, Resource]]:
    """The paths that the agent is asked about, by exact match."""
    for path in ASKED:
        yield path, _routes(*_asked({"prefix": "/"}))


def model_paths(model: str) -> set[str]:
    """The paths that describe one model."""
    return {f"{MODELS}/{model}", f"{MODELS}/{quote(model, safe='')}"}


def model_routes() -> tuple[Resource, Resource]:
    """What happens to such a path: `Route` of a GET without its answer, and that of all else."""
    get, other = _get({"prefix": "/"}, 200, "")
    del get["direct_response"]
    return get, other


@lru_cache(maxsize=10_000)
def describe(model: str) -> str:
    """A model as OpenAI describes it, as JSON."""
    return json.dumps({"id": model, "object": "model", "created": 0, "owned_by": "model-router"})


def catalogue(models: Iterable[str]) -> str:
    """The answer to `GET /v1/models`."""
    return f'{{"object": "list", "data": [{", ".join(map(describe, models))}]}}'


def virtual_host(settings: EnvoySettings) -> Resource:
    """The `VirtualHost` without its matcher and metadata, which are put together apart."""
    return {
        "name": "models",
        "domains": ["*"],
        "request_body_buffer_limit": settings.max_body_bytes,
        "response_headers_to_add": [
            # From the endpoint's metadata, because the void belongs to no pool.
            add_header("x-mr-pool", f"%UPSTREAM_METADATA({METADATA}:pool)%"),
            # Of a request that has waited, the agent knows; pools are not believed.
            add_header(ATTEMPTS_HEADER, "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", override=False),
        ],
        "response_headers_to_remove": [VOID_HEADER, "x-envoy-upstream-service-time"],
    }


def other_routes() -> Iterable[Resource]:
    """What happens to all other paths: also the known ones with a query behind them.

    The list of models is missing: it is long, changes often, and comes before these.
    """
    for path in ASKED:
        yield from _asked({"path": path})
    yield from _feedback({"path": FEEDBACK_PATH})
    yield _direct(
        {"prefix": "/v1/audio/"},
        ROUTED_400,
        error_body(
            "Audio is not supported by this router.",
            "invalid_request_error",
            code="unsupported_modality",
        ),
    )
    yield _wrong_method({"path": MODELS}, "GET")
    yield _direct(
        {"prefix": MODELS + "/"},
        404,
        error_body(
            "The model does not exist.", "invalid_request_error", "model", "model_not_found"
        ),
    )
    yield _unknown_path()


def catalogue_route() -> Resource:
    """`Route` of `GET /v1/models` without its answer."""
    route = _direct({"path": MODELS, "headers": [_method("GET")]}, 200, "")
    del route["direct_response"]
    return route


def _asked(match: Resource) -> tuple[Resource, Resource]:
    ask = {
        "name": "ask",
        "match": {**match, "headers": [_method("POST")]},
        # Only a request that could not be decided at all gets there.
        "route": {"cluster": VOID_CLUSTER, "idle_timeout": "300s"},
    }
    return ask, _wrong_method(match, "POST")


def _feedback(match: Resource) -> tuple[Resource, Resource]:
    take = {
        "name": "feedback",
        "match": {**match, "headers": [_method("POST")]},
        "route": {"cluster": FEEDBACK_CLUSTER, "timeout": TIMEOUT},
        "response_headers_to_remove": ["server", "date"],
        "typed_per_filter_config": _UNDECIDED,
    }
    return take, _wrong_method(match, "POST")


def _wrong_method(match: Resource, allowed: str) -> Resource:
    route = _direct(
        match,
        405,
        error_body(
            f"Not allowed to do this request with this method; it takes {allowed}.",
            "invalid_request_error",
            code="method_not_allowed",
        ),
    )
    route["response_headers_to_add"].append(add_header("allow", allowed))
    return route


def _method(name: str) -> Resource:
    return {"name": ":method", "string_match": {"exact": name}}


def _direct(match: Resource, status: int, body: str) -> Resource:
    return {
        "name": "direct",
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": body}},
        "response_headers_to_add": [add_header("content-type", "application/json")],
        "typed_per_filter_config": _UNDECIDED,
    }


def _unknown_path() -> Resource:
    route = _direct({"prefix": "/"}, 404, "")
    message_ = "Invalid URL (%REQ(:METHOD)% %REQ(:PATH)%)"
    # As JSON, so that Envoy quotes what the client wrote.
    route["direct_response"]["body_format"] = {
        "json_format": error(message_, "invalid_request_error")
    }
    return route


def _routes(*routes: Resource) -> Resource:
    return {"name": "routes", "typed_config": message(ROUTE_LIST, routes=list(routes))}


def _get(match: Resource, status: int, body: str) -> tuple[Resource, Resource]:
    get = _direct({**match, "headers": [_method("GET")]}, status, body)
    return get, _wrong_method(match, "GET")
