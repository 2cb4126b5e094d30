"""`vllm` of a pool: model servers that the operator runs."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from modelrouter.api.admission import (
    LIST_OF_ONE_OWNER,
    Cel,
    Keywords,
    Matching,
    checked_by,
    keyed_by,
)
from modelrouter.api.autoscaling import Autoscaling
from modelrouter.api.metadata import ObjectName
from modelrouter.api.model_source import AdapterSource, ModelSource
from modelrouter.api.pod_template import PodTemplate
from modelrouter.api.pool_name import ADAPTER_NAME
from modelrouter.api.quantities import BaseUrl, PositiveDuration
from modelrouter.api.secret_reference import SecretKeyReference
from modelrouter.api.strictness import StrictModel, invalid

_IMAGE = r"^[A-Za-z0-9][-._:/@A-Za-z0-9]{0,511}$"
_IMAGE_RULE = "write an image such as vllm/vllm-openai:v0.33.0"
_ADAPTER_RULE = (
    "an adapter's name has at most 63 letters, digits, '-', '_' and '.', "
    "and begins and ends with a letter or digit"
)
_AMOUNT = r"^[0-9]{1,15}([.][0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
_AMOUNT_RULE = 'write a quantity such as "1", "500m" or "100Gi"'
_SIZE = r"^[1-9][0-9]{0,14}([.][0-9]{1,9})?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
_SIZE_RULE = "write a size such as 100Gi"

_OWN_FLAGS = {
    "model": "spec.model or source",
    "revision": "source: hf://org/name@revision",
    "served-model-name": "spec.model",
    "host": "nothing: every address is listened on",
    "port": "nothing: the port is 8000",
    "uds": "nothing: the port is 8000",
    "shutdown-timeout": "drainTimeout",
    "tensor-parallel-size": "tensorParallelSize",
    "enable-lora": "loraAdapters",
    "no-enable-lora": "loraAdapters",
    "lora-modules": "loraAdapters",
    "hf-token": "huggingFace",
    "api-key": "nothing: routers send no key",
    "ssl-keyfile": "nothing: routers speak plain HTTP",
    "ssl-certfile": "nothing: routers speak plain HTTP",
    "grpc": "nothing: routers speak HTTP",
    "headless": "nothing: every pod answers requests",
    "config": "args: what a file says would not be seen here",
}
"""Flags that the operator writes, that would keep routers away or show a secret, and what to use
instead."""
# vLLM takes "_" for "-" in the names of flags.
_OWN_FLAG = (
    "^(-tp|--(" + "|".join(name.replace("-", "[-_]") for name in _OWN_FLAGS) + "))(=(.|[\\n])*)?$"
)
_OWN_FLAG_RULE = "this flag is the operator's; use the fields of spec.vllm"


def _like(pattern: str, rule: str) -> AfterValidator:
    """The text matches a pattern as a whole."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(rule)
        return text

    return AfterValidator(check)


def _checked_args(args: list[str]) -> list[str]:
    for arg in args:
        if re.fullmatch(_OWN_FLAG, arg):
            flag = arg.partition("=")[0]
            name = flag.lstrip("-").replace("_", "-")
            instead = _OWN_FLAGS["tensor-parallel-size" if name == "tp" else name]
            raise ValueError(f"{flag}: this flag is the operator's; use {instead}")
    return args


def _amount(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15:
        return str(value)
    if isinstance(value, str) and re.fullmatch(_AMOUNT, value):
        return value
    raise ValueError(_AMOUNT_RULE)


Amount = Annotated[
    int | str,
    BeforeValidator(_amount),
    Keywords({"x-kubernetes-int-or-string": True, "maxLength": 28}),
    Cel(
        f"type(self) == int ? self >= 0 && self < 1000000000000000 : self.matches('{_AMOUNT}')",
        _AMOUNT_RULE,
    ),
]
"""An amount as Kubernetes writes it, `500m` or `"1"`; whole numbers need no quotes."""


class ContainerResources(StrictModel):
    """CPU, memory and GPUs of the container."""

    limits: Annotated[dict[str, Amount], Field(max_length=32)] = {}
    """What the container gets at most. GPUs stand here, such as `nvidia.com/gpu: 1`."""
    requests: Annotated[dict[str, Amount], Field(max_length=32)] = {}
    """What the scheduler sets aside."""


class HuggingFace(StrictModel):
    """Access to Hugging Face."""

    token_secret_ref: SecretKeyReference
    """The Secret and the key in it that hold the token for gated or private models."""


class S3Credentials(StrictModel):
    """An access key, from Secrets."""

    access_key_id_secret_ref: SecretKeyReference
    """The Secret and the key in it that hold the access key's id."""
    secret_access_key_secret_ref: SecretKeyReference
    """The Secret and the key in it that hold the secret access key."""


class S3(StrictModel):
    """Access to the bucket of `source`."""

    endpoint_url: BaseUrl | None = None
    """The URL of a store other than Amazon's, such as https://minio.storage.svc:9000."""
    region: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """The bucket's region."""
    credentials: S3Credentials | None = None
    """The access key. Without it the pod's own identity is used: give it a service account in
    podTemplate."""


class LoraAdapter(StrictModel):
    """An adapter, which routes name `POOL/ADAPTER`."""

    name: Annotated[
        str,
        _like(ADAPTER_NAME, _ADAPTER_RULE),
        Matching(ADAPTER_NAME, _ADAPTER_RULE, 63),
    ]
    """Its name, by which vLLM and routes know it."""
    source: AdapterSource
    """Where its files are: `hf://org/name` or `pvc://claim/path`."""


class AccessMode(StrEnum):
    """From how many nodes a volume can be used."""

    ONE_NODE = "ReadWriteOnce"
    MANY_NODES = "ReadWriteMany"


class Cache(StrictModel):
    """A volume, shared by all replicas, that holds what was downloaded from Hugging Face."""

    size: Annotated[str, _like(_SIZE, _SIZE_RULE), Matching(_SIZE, _SIZE_RULE, 28)]
    """Its size, such as 100Gi."""
    storage_class_name: ObjectName | None = None
    """Its storage class. Default: the cluster's."""
    access_mode: AccessMode = AccessMode.ONE_NODE
    """`ReadWriteOnce`: all replicas run on the same node. `ReadWriteMany`: on any."""


class Vllm(StrictModel):
    """Model servers, vLLM as of 0.18, that the operator runs."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "!has(self.replicas) || !has(self.autoscaling)",
                "give replicas or autoscaling, not both",
            ),
            Cel(
                "!has(self.s3) || (has(self.source) && self.source.startsWith('s3://'))",
                "s3 is for a source that begins with s3://",
            ),
        )
    )

    image: Annotated[str, _like(_IMAGE, _IMAGE_RULE), Matching(_IMAGE, _IMAGE_RULE, 512)]
    """The image, with `vllm` in its path."""
    source: ModelSource | None = None
    """Where the model's files are: `hf://org/name`, `hf://org/name@revision`, `pvc://claim/path`
    or `s3://bucket/path`. Default: `hf://` and the pool's `model`."""
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """How many servers run. Default: 1."""
    autoscaling: Autoscaling | None = None
    """As many servers as the load needs, instead of `replicas`."""
    args: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4096)]],
        Field(max_length=64),
        AfterValidator(_checked_args),
        LIST_OF_ONE_OWNER,
        Cel(
            f"self.all(arg, !arg.matches('{_OWN_FLAG}'))".replace("\\n", "\\\\n"),
            _OWN_FLAG_RULE,
        ),
    ] = []
    """Further flags of `vllm serve`, such as --max-model-len=32768."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs of one server that share each layer of the model."""
    resources: ContainerResources | None = None
    """CPU, memory and GPUs of a server. Default: as many `nvidia.com/gpu` as
    `tensorParallelSize`."""
    hugging_face: HuggingFace | None = None
    """Access to gated or private models of Hugging Face."""
    s3: S3 | None = None
    """Access to the bucket of an `s3://` source."""
    lora_adapters: Annotated[list[LoraAdapter], Field(max_length=64), keyed_by("name")] = []
    """Adapters, loaded and unloaded while the servers run."""
    cache: Cache | None = None
    """A volume for downloads. Without it every pod downloads for itself."""
    startup_timeout: PositiveDuration = "30m"
    """Time to load the model, downloads included. A server that takes longer is started again."""
    drain_timeout: PositiveDuration = "120s"
    """Time that running requests have to end when a server goes."""
    pod_template: PodTemplate = PodTemplate()
    """Changes to the pods."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.replicas is not None and self.autoscaling is not None:
            raise ValueError("give replicas or autoscaling, not both")
        if self.s3 is not None and not (self.source or "").startswith("s3://"):
            raise invalid("s3", "s3 is for a source that begins with s3://")
        names = [adapter.name for adapter in self.lora_adapters]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise invalid("loraAdapters", f"{twice} is listed twice")
        return self

    @property
    def secrets(self) -> list[SecretKeyReference]:
        """The Secrets that servers read when they start."""
        found = [self.hugging_face.token_secret_ref] if self.hugging_face else []
        if self.s3 is not None and self.s3.credentials is not None:
            key = self.s3.credentials
            found += [key.access_key_id_secret_ref, key.secret_access_key_secret_ref]
        return found

    def adapter(self, name: str) -> LoraAdapter | None:
        """The adapter of a name."""
        return next((adapter for adapter in self.lora_adapters if adapter.name == name), None)
