"""`ModelPool`: interchangeable endpoints that serve one model, and what is known of them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from modelrouter.api.admission import LIST_OF_ONE_OWNER, Cel, Keywords, Matching, checked_by
from modelrouter.api.metadata import API_VERSION, ObjectMeta, ObjectName
from modelrouter.api.model_source import REPOSITORY
from modelrouter.api.quantities import Address, BaseUrl, DecimalText, PositiveDuration, Share
from modelrouter.api.secret_reference import SecretKeyReference
from modelrouter.api.strictness import StrictModel, invalid
from modelrouter.api.vllm import Vllm


class ProviderKind(StrEnum):
    """The protocol and conventions of a provider outside the cluster."""

    OPENAI = "OpenAI"
    OPENAI_COMPATIBLE = "OpenAICompatible"


class Feature(StrEnum):
    """What a request may need and a pool may be able to do."""

    TOOLS = "tools"
    JSON_SCHEMA = "jsonSchema"
    IMAGES = "images"


class LoadBalancing(StrEnum):
    """How one endpoint of the pool is picked for a request."""

    LEAST_REQUEST = "LeastRequest"
    ROUND_ROBIN = "RoundRobin"
    SESSION_HASH = "SessionHash"
    PREFIX_HASH = "PrefixHash"
    LEAST_QUEUE = "LeastQueue"


class Credentials(StrictModel):
    """Where the provider's API key comes from. The key itself never stands in a resource."""

    secret_ref: SecretKeyReference
    """The Secret and the key in it that hold the API key."""


class Provider(StrictModel):
    """A model served outside the cluster."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "self.kind != 'OpenAICompatible' || has(self.baseUrl)",
                "kind OpenAICompatible needs the server's URL in baseUrl",
            )
        )
    )

    kind: ProviderKind
    """`OpenAI`, or `OpenAICompatible` for any server with the same API."""
    base_url: BaseUrl | None = None
    """The URL that client paths are appended to, up to and including `/v1`.
    `OpenAI` defaults to https://api.openai.com/v1; `OpenAICompatible` needs one."""
    credentials: Credentials | None = None
    """The API key to send as `authorization: Bearer`. Without it none is sent."""

    @model_validator(mode="after")
    def _has_base_url(self) -> Self:
        if self.base_url is None and self.kind is ProviderKind.OPENAI_COMPATIBLE:
            raise invalid("baseUrl", "kind OpenAICompatible needs the server's URL here")
        return self

    @property
    def url(self) -> str:
        """The base URL in force."""
        return self.base_url or "https://api.openai.com/v1"


_SERVICE_PORT_RULE = "write the Service's port as a number such as 8080, or its name such as http"
_PORT_NAME = re.compile(r"^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?=[a-z0-9]))*$")


def _service_port(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
        return value
    if isinstance(value, str) and _PORT_NAME.match(value):
        return value
    raise ValueError(_SERVICE_PORT_RULE)


class ServiceReference(StrictModel):
    """A Service in the pool's namespace. Each of its ready endpoints is one of the pool."""

    name: ObjectName
    """Name of the Service."""
    port: Annotated[
        int | str,
        BeforeValidator(_service_port),
        Keywords({"x-kubernetes-int-or-string": True}),
        # Without lookaheads, which RE2 does not have, a port's name takes three conditions.
        Cel(
            "type(self) == int ? self > 0 && self < 65536 : "
            "self.matches('^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$') && self.matches('[a-z]') "
            "&& !self.contains('--')",
            _SERVICE_PORT_RULE,
        ),
    ]
    """The Service's port, by number or by name."""


class Price(StrictModel):
    """US dollars per million tokens, each as a string."""

    input: DecimalText
    """Prompt tokens."""
    output: DecimalText
    """Completion tokens."""


class Quality(StrictModel):
    """How good the model's answers are, from 0 to 1, on the team's own scale."""

    default: Share
    """For requests of any kind."""


ParameterName = Annotated[str, Field(min_length=1, max_length=128)]


class Parameters(StrictModel):
    """Changes to top-level request parameters that this model does not take as OpenAI has them."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "(!has(self.drop) || !('model' in self.drop)) && (!has(self.rename) || "
                "!('model' in self.rename) && self.rename.all(name, self.rename[name] != 'model'))",
                "model is set by the router from spec.model; do not drop or rename it",
            ),
            Cel(
                "!has(self.drop) || !has(self.rename) || "
                "self.drop.all(name, !(name in self.rename))",
                "a parameter is both dropped and renamed; choose one",
                "self.drop.filter(name, name in self.rename)[0]"
                " + ' is both dropped and renamed; choose one'",
            ),
        )
    )

    drop: Annotated[list[ParameterName], Field(max_length=32), LIST_OF_ONE_OWNER] = []
    """Parameters removed before the request is sent, such as temperature for reasoning models."""
    rename: Annotated[
        dict[ParameterName, ParameterName],
        Field(max_length=32),
        Cel(
            "self.all(name, size(name) > 0 && size(name) <= 128)",
            "a parameter's name has 1 to 128 characters",
        ),
    ] = {}
    """Parameters sent under another name, such as max_tokens: max_completion_tokens."""

    @model_validator(mode="after")
    def _leaves_the_model_alone(self) -> Self:
        if "model" in self.drop or "model" in self.rename or "model" in self.rename.values():
            raise ValueError("model is set by the router from spec.model; do not drop or rename it")
        both = sorted(set(self.drop) & set(self.rename))
        if both:
            raise ValueError(f"{both[0]} is both dropped and renamed; choose one")
        return self


_PATH = r"^/[!-~]*$"


class HealthCheck(StrictModel):
    """An active HTTP probe that every router sends to every endpoint."""

    path: Annotated[
        str,
        Field(pattern=_PATH, max_length=1024),
        Matching(_PATH, "write a path such as /health", 1024),
    ] = "/health"
    """Answered with 200 by a healthy endpoint."""
    interval: PositiveDuration = "5s"
    """Time between two probes of one endpoint."""
    timeout: PositiveDuration = "2s"
    """A probe that takes longer has failed."""
    unhealthy_threshold: Annotated[int, Field(ge=1, le=100)] = 2
    """Failed probes in a row after which the endpoint gets no more requests."""
    healthy_threshold: Annotated[int, Field(ge=1, le=100)] = 1
    """Good probes in a row after which it gets requests again."""


class OutlierDetection(StrictModel):
    """Ejection of an endpoint because of the answers that real requests got from it."""

    consecutive_errors: Annotated[int, Field(ge=1, le=1000)] = 5
    """Server errors, resets, refused connections or timeouts in a row before ejection."""
    base_ejection_time: PositiveDuration = "30s"
    """How long the first ejection lasts; each further one is longer by the same time."""
    max_ejection_percent: Annotated[int, Field(ge=0, le=100)] = 50
    """Largest share of the pool's endpoints ejected at once. One may always be ejected."""


Source = Literal["vllm", "service", "provider", "endpoints"]
"""Where a pool's endpoints come from: the field of the spec that is given."""
SOURCES: tuple[Source, ...] = get_args(Source)


_ONE_SOURCE = "exactly one of vllm, service, provider and endpoints is needed"
_SOURCE_NEEDED = (
    "model is not of the form org/name, so say in source where its files are, such as "
    "hf://org/name or pvc://claim/path"
)
_ADAPTER_IS_MODEL = "an adapter must have another name than the pool's model"


class ModelPoolSpec(StrictModel):
    """What a ModelPool says. Exactly one of `vllm`, `service`, `provider` and `endpoints` is
    given."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "[has(self.vllm), has(self.service), has(self.provider), has(self.endpoints)]"
                ".filter(given, given).size() == 1",
                _ONE_SOURCE,
            ),
            Cel(
                f"!has(self.vllm) || has(self.vllm.source) || self.model.matches('{REPOSITORY}')",
                _SOURCE_NEEDED,
                at=".vllm",
            ),
            Cel(
                "!has(self.vllm) || !has(self.vllm.loraAdapters) || "
                "self.vllm.loraAdapters.all(adapter, adapter.name != self.model)",
                _ADAPTER_IS_MODEL,
                at=".vllm.loraAdapters",
            ),
        )
    )

    model: Annotated[str, Field(min_length=1, max_length=512)]
    """The name the backend knows; the router puts it in each request."""
    vllm: Vllm | None = None
    """Model servers that the operator runs."""
    service: ServiceReference | None = None
    """A Service already in the cluster. Requests go to its endpoints directly."""
    provider: Provider | None = None
    """A model served outside the cluster."""
    endpoints: (
        Annotated[list[Address], Field(min_length=1, max_length=1000), LIST_OF_ONE_OWNER] | None
    ) = None
    """Fixed addresses, each `host:port`."""
    context_window: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Tokens that prompt and answer may have together. A larger request is not sent here."""
    features: Annotated[list[Feature], Field(max_length=16), LIST_OF_ONE_OWNER] | None = None
    """What the model can do. Unset: everything; a request that needs more is not sent here."""
    zone: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Where prompts are processed, shown in metrics and decisions, such as `eu`."""
    data_classes: Annotated[list[ObjectName], Field(max_length=32), LIST_OF_ONE_OWNER] = []
    """Data classes that may be sent here. A request labelled with any other class is not."""
    price: Price | None = None
    """What tokens cost."""
    quality: Quality | None = None
    """How good the answers are."""
    parameters: Parameters = Parameters()
    """Request parameters dropped or renamed for this model."""
    health_check: HealthCheck | None = None
    """Active probes. Default: `/health` every 5 s, and none for a provider."""
    outlier_detection: OutlierDetection = OutlierDetection()
    """Ejection of endpoints that fail real requests."""
    load_balancing: LoadBalancing = LoadBalancing.LEAST_REQUEST
    """How an endpoint is picked: `LeastRequest`, `RoundRobin`, `SessionHash` (the same session
    stays on the same endpoint) or `PrefixHash` (prompts with the same beginning do).
    `LeastQueue` is `LeastRequest` that also looks at what the servers tell of their queues in
    vLLM's metrics; it is for pools with `vllm`, `service` or `endpoints` that are IP addresses."""
    max_concurrent_requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests that one router sends to one endpoint at the same time. When all endpoints are
    full, the next pool of the route takes the request. Default: no limit."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        sources = [name for name in SOURCES if getattr(self, name) is not None]
        if len(sources) != 1:
            found = " and ".join(sources) or "none"
            raise ValueError(f"{_ONE_SOURCE}; found {found}")
        return self

    @model_validator(mode="after")
    def _can_be_served(self) -> Self:
        if self.vllm is None:
            return self
        if self.vllm.source is None and not re.fullmatch(REPOSITORY, self.model):
            raise invalid("vllm", _SOURCE_NEEDED)
        if self.vllm.adapter(self.model) is not None:
            raise invalid("vllm.loraAdapters", _ADAPTER_IS_MODEL)
        return self

    @property
    def source(self) -> Source:
        """Which source the pool has."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def probe(self) -> HealthCheck | None:
        """The health check in force: providers are probed only when told to."""
        if self.health_check is not None or self.provider is not None:
            return self.health_check
        return HealthCheck()


RUNNABLE_NAME = r"^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$"
RUNNABLE_NAME_RULE = (
    "the name of a pool with vllm has at most 50 lower-case letters, digits and '-', and begins "
    "and ends with a letter or digit"
)


class ModelPool(StrictModel):
    """Interchangeable endpoints that serve one model."""

    api_version: Literal["modelrouter.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelPool"] = "ModelPool"
    metadata: ObjectMeta
    spec: ModelPoolSpec
    status: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _can_name_children(self) -> Self:
        if self.spec.vllm is not None and not re.fullmatch(RUNNABLE_NAME, self.metadata.name):
            raise invalid("metadata.name", RUNNABLE_NAME_RULE)
        return self
