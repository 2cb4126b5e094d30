"""What an attempt at a pool goes through in Envoy, and what a plan's first one is spared.

All attempts at a request share one header map, and each starts from the body that the listener has
made: so each has to be made fit for its pool, and to lose the key of the pool before it. A first
attempt comes after none. The listener's Lua has made it fit as it had the body at hand anyway, and
its `Route` removes what no pool may see. So plans leave these filters out of it: every filter takes
part in every event of a stream, also when it has nothing to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import dropwhile

from modelrouter.api.router_config import PoolConfig
from modelrouter.router.envoy.first_event import first_event_filters
from modelrouter.router.envoy.messages import ADS, FILTER_LEFT_OUT, Resource, extension
from modelrouter.router.envoy.scripts import rewrite_script
from modelrouter.router.envoy.secrets import secret_name

CLIENT_CREDENTIALS = (
    "authorization",
    "proxy-authorization",
    "api-key",
    "x-api-key",
    "cookie",
    "openai-organization",
    "openai-project",
)
"""The client's own, which no pool may see, nor the key of the pool of the previous attempt."""
ATTEMPTS_HEADER = "x-mr-attempts"
PLAN_HEADER = "x-mr-plan"
LUA_FILTER = "envoy.filters.http.lua"
"""The listener's."""
DEFAULT_PREFIX = "/v1"
# Compressed answers would hide the tokens used.
_WITHHELD = (*CLIENT_CREDENTIALS, "accept-encoding")


def upstream_filters(name: str, pool: PoolConfig, *, has_key: bool) -> Iterable[Resource]:
    """What every attempt at the pool goes through, in this order."""
    fitting = _fitting(name, pool)
    yield _rewrite(fitting, pool)
    yield extension(
        fitting,
        "filters.http.header_mutation.v3.HeaderMutation",
        mutations={
            "request_mutations": [
                {"remove_on_match": {"key_matcher": {"prefix": "x-mr-"}}},
                {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
                *({"remove": header} for header in _WITHHELD),
            ],
            "response_mutations": [{"remove": ATTEMPTS_HEADER}],
        },
    )
    if pool.credential is not None and has_key:
        yield extension(
            "credential",
            "filters.http.credential_injector.v3.CredentialInjector",
            overwrite=True,
            credential=extension(
                "envoy.http.injected_credentials.generic",
                "http.injected_credentials.generic.v3.Generic",
                credential={"name": secret_name(pool.credential), "sds_config": ADS},
                header="authorization",
                header_value_prefix="Bearer ",
            ),
        )
    yield from first_event_filters(name)
    yield extension("codec", "filters.http.upstream_codec.v3.UpstreamCodec")


def needs_only_its_model(pool: PoolConfig) -> bool:
    """Whether a request fits the pool as soon as it has the pool's name of the model."""
    changes = pool.parameters.drop or pool.parameters.rename
    return not changes and path_prefix(pool) == DEFAULT_PREFIX


def path_prefix(pool: PoolConfig) -> str:
    """What stands before `/chat/completions` in the paths of this pool."""
    return pool.upstream.path_prefix if pool.upstream else DEFAULT_PREFIX


def first_attempt(chain: Sequence[str], first: PoolConfig, *, mirrored: bool) -> Resource:
    """The part of a plan's `Route` that makes requests fit its first pool, and spares them the
    filters that would do it there. `first`: that pool.

    Empty where the filters have to do it: if it takes more than the pool's name of the model, if
    the chain comes back to the pool after another one, and if requests are copied, because copies
    are made of what the route has left, and what they are told is in headers.
    """
    name = chain[0]
    if mirrored or not needs_only_its_model(first) or name in dropwhile(name.__eq__, chain):
        return {}
    return {
        # For the listener's Lua.
        "metadata": {"filter_metadata": {LUA_FILTER: {"model": json.dumps(first.model)}}},
        "typed_per_filter_config": {_fitting(name, first): FILTER_LEFT_OUT},
        "request_headers_to_remove": [*_WITHHELD, PLAN_HEADER],
        "response_headers_to_remove": [ATTEMPTS_HEADER],
    }


def _fitting(name: str, pool: PoolConfig) -> str:
    """Name of the two filters that make an attempt fit, and part of it the model's name.

    A request may follow an older route table than the cluster that it comes to. It is spared
    nothing there unless both mean the same model.
    """
    return f"{name}.{hashlib.blake2b(pool.model.encode(), digest_size=6).hexdigest()}"


def _rewrite(filter_name: str, pool: PoolConfig) -> Resource:
    context: Resource = {
        "model": json.dumps(pool.model),
        "prefix": path_prefix(pool),
    }
    if pool.parameters.drop or pool.parameters.rename:
        context["adapts"] = True
        context["drop"] = dict.fromkeys(pool.parameters.drop, True)
        context["rename"] = {
            old: json.dumps(new) for old, new in sorted(pool.parameters.rename.items())
        }
    return extension(
        filter_name,
        "filters.http.lua.v3.Lua",
        default_source_code={"inline_string": rewrite_script()},
        filter_context=context,
    )
