"""`RouterConfig`: the compiled document that one router runs on.

The operator writes it to ConfigMaps, the standalone router to a file; agents read it. It names
Secrets but never holds their values, and it is meant to be read by people: names stay names,
times are milliseconds with the unit in the field's name.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.pool import Feature, LoadBalancing, Parameters, Price
from modelrouter.api.route import BrokenStreams, StickyBy
from modelrouter.api.strictness import StrictModel

FORMAT: Literal["modelrouter.dev/router-config/v1"] = "modelrouter.dev/router-config/v1"


class SecretKey(StrictModel):
    """Where an API key is found: a key of a Secret in the router's namespace."""

    secret: str
    key: str


class Upstream(StrictModel):
    """A server behind a URL: a provider outside the cluster."""

    host: str
    port: int
    tls: bool
    path_prefix: str
    """What replaces the client's `/v1`: `/v1` itself for most, never with a slash at the end."""


class ServiceEndpoints(StrictModel):
    """The endpoints of a Service in the router's namespace, as its EndpointSlices list them."""

    name: str
    """The Service."""
    port: int | str
    """A port of the EndpointSlices. Text: by its name, which is that of the Service's port, empty
    for the only port of a Service that does not name it. A number: by the endpoints' own port."""


class Probe(StrictModel):
    """Active health check of every endpoint."""

    path: str
    interval_ms: int
    timeout_ms: int
    unhealthy_threshold: int
    healthy_threshold: int


class Ejection(StrictModel):
    """Passive health: when an endpoint is ejected and for how long."""

    consecutive_errors: int
    base_ejection_time_ms: int
    max_ejection_percent: int


class PoolScaling(StrictModel):
    """What routers need to know of a pool whose replicas come and go with the load."""

    from_zero: bool = False
    """Whether there may be no replica at all: then a request waits for the first one."""
    on_cold_start: OnColdStart = OnColdStart.WAIT
    """What happens to a request while no replica runs."""
    max_waiting: int = 100
    """Requests that wait in one router pod at most."""
    wait_timeout_ms: int = 600_000
    """How long one waits at most."""


class PoolConfig(StrictModel):
    """A pool as the router needs it. Exactly one of `addresses`, `service` and `upstream` is
    set."""

    model: str
    """The name that the backend knows."""
    addresses: list[str] | None = None
    """Fixed `host:port` addresses."""
    service: ServiceEndpoints | None = None
    """Endpoints that come and go; routers follow them by themselves."""
    upstream: Upstream | None = None
    credential: SecretKey | None = None
    """The API key to send as a bearer token; none: requests carry no authorization."""
    context_window: int | None = None
    features: list[Feature] | None = None
    zone: str | None = None
    data_classes: list[str] = []
    price: Price | None = None
    quality: str | None = None
    parameters: Parameters = Parameters()
    probe: Probe | None = None
    ejection: Ejection
    load_balancing: LoadBalancing = LoadBalancing.LEAST_REQUEST
    max_concurrent_requests: int | None = None
    scaling: PoolScaling | None = None
    """Set if the pool is autoscaled: the router tells its load to the operator."""


class HeaderCondition(StrictModel):
    """A condition on a request header; exactly one of the last three is set."""

    name: str
    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class Conditions(StrictModel):
    """What a request must fulfil for a rule. Empty: every request matches."""

    headers: list[HeaderCondition] = []
    models: list[str] = []
    min_prompt_tokens: int | None = None
    max_prompt_tokens: int | None = None
    features: list[Feature] = []
    data_classes: list[str] = []
    segment_data_classes: list[str] = []
    """The request names one of these, too: a canary is limited to them."""


class WeightedPool(StrictModel):
    """A pool and its weight among its rule's targets."""

    pool: str
    weight: int


class RuleConfig(StrictModel):
    """A rule with its references resolved: only pools that exist."""

    name: str
    conditions: Conditions = Conditions()
    targets: list[WeightedPool]
    failover: list[str]
    """Pools that take over, in order; empty: the request stays in the chosen pool."""
    min_healthy_percent: int = 0
    """Share of a pool's endpoints below which the next pool takes a part of its requests."""
    segment: bool = False
    """Whether these are the requests that a canary is limited to; the rest of the rule follows
    under the same name."""


class RetryConfig(StrictModel):
    """When and how often a request is sent again."""

    attempts_per_pool: int
    triggers: list[str]
    per_try_timeout_ms: int | None = None


class StickyConfig(StrictModel):
    """What keeps requests on the same pool."""

    by: StickyBy
    header: str


class Fallthrough(StrictModel):
    """What Envoy does by itself while the agent is away."""

    pools: list[str]
    """The pools to try, in order."""
    closed: bool
    """True: answer 503 instead, because the policy cannot be kept without the agent."""


class CanaryConfig(StrictModel):
    """A canary that runs: its sides are told apart in decisions, and measured."""

    id: str
    """Changes when it begins anew with other pools, another rule or other requests."""
    rule: str
    """The rule that is split: the first of this name."""
    stable: str
    """The pool that requests are taken from."""
    candidate: str
    """The pool that gets them."""


class MirrorConfig(StrictModel):
    """Where copies of a route's requests go."""

    pool: str
    rule: str | None = None
    """Only requests that rules of this name place."""
    percent: int = 100
    compare: bool = False
    evaluator: str | None = None
    """The pool that is asked which of two answers is better."""


class RouteConfig(StrictModel):
    """A route with its references resolved."""

    models: list[str]
    pools: list[str]
    rules: list[RuleConfig]
    """First match wins. The last one always matches."""
    retry: RetryConfig
    request_timeout_ms: int
    idle_timeout_ms: int
    sticky: StickyConfig | None = None
    broken_streams: BrokenStreams = BrokenStreams.CLOSE
    """What ends a stream whose server fails."""
    fallthrough: Fallthrough
    mirror: MirrorConfig | None = None
    canary: CanaryConfig | None = None
    """None: no canary runs here."""
    shadow_of: str | None = None
    """The route whose requests this one decides without effect; it has no models then."""


class RouterConfig(StrictModel):
    """Everything one router runs on."""

    format: Literal["modelrouter.dev/router-config/v1"] = FORMAT
    router: str
    namespace: str
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$|^$")] = ""
    """Hash of the content; equal configurations have equal versions."""
    pools: dict[str, PoolConfig]
    routes: dict[str, RouteConfig]

    def document(self) -> dict[str, Any]:
        """Plain data for writing out, with defaults left out and the version filled in."""
        content = self.model_dump(mode="json", exclude_defaults=True, exclude={"version"})
        return {
            "format": self.format,
            "version": content_version(content),
            "router": self.router,
            "namespace": self.namespace,
            "pools": content["pools"],
            "routes": content["routes"],
        }


def content_version(content: object) -> str:
    """A short hash of plain data: 16 hexadecimal digits."""
    encoded = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()
