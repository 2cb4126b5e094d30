"""The command line and the environment of a server.

The flags are those of `vllm serve`, https://docs.vllm.ai/en/stable/cli/serve/.
"""

from __future__ import annotations

from modelrouter.api.model_source import Location, locate
from modelrouter.api.pool import ModelPool
from modelrouter.api.secret_reference import SecretKeyReference
from modelrouter.api.vllm import S3, LoraAdapter, Vllm
from modelrouter.plan.vllm.naming import PORT, Object
from modelrouter.plan.vllm.times import drain_seconds
from modelrouter.plan.vllm.volumes import CACHE_DIR, claim_dir

COMMAND = ("vllm", "serve")

_ADAPTERS_IN_ONE_BATCH = 4
"""Adapters that requests of one batch may need. Each takes room on the GPU, used or not."""
_ADAPTERS_IN_MEMORY = 64
"""Adapters that stay in the server's memory: all that a pool may have."""


def plan_args(pool: ModelPool, vllm: Vllm) -> list[str]:
    """What `vllm serve` is given. The user's flags come last, so that they win."""
    source = _source(pool, vllm)
    args = [
        _model(source),
        *([f"--revision={source.revision}"] if source.revision else []),
        f"--served-model-name={pool.spec.model}",
        f"--port={PORT}",
        f"--shutdown-timeout={drain_seconds(vllm)}",
    ]
    if source.scheme == "s3":
        args.append("--load-format=runai_streamer")
    if vllm.tensor_parallel_size > 1:
        args.append(f"--tensor-parallel-size={vllm.tensor_parallel_size}")
    if vllm.lora_adapters:
        # Nothing here depends on which adapters there are: they come and go without a restart.
        args.append("--enable-lora")
        args.append(f"--max-loras={_ADAPTERS_IN_ONE_BATCH}")
        args.append(f"--max-cpu-loras={_ADAPTERS_IN_MEMORY}")
    return [*args, *vllm.args]


def adapter_path(adapter: LoraAdapter) -> str:
    """What vLLM's `/v1/load_lora_adapter` is told as `lora_path`."""
    return _model(locate(adapter.source))


def plan_environment(vllm: Vllm) -> list[Object]:
    """The environment of a server."""
    variables = [_variable("HF_HOME", CACHE_DIR), _variable("VLLM_NO_USAGE_STATS", "1")]
    if vllm.hugging_face is not None:
        variables.append(_from_secret("HF_TOKEN", vllm.hugging_face.token_secret_ref))
    if vllm.lora_adapters:
        variables.append(_variable("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1"))
    if vllm.s3 is not None:
        variables += _s3_environment(vllm.s3)
    return variables


def _source(pool: ModelPool, vllm: Vllm) -> Location:
    return locate(vllm.source if vllm.source is not None else f"hf://{pool.spec.model}")


def _model(source: Location) -> str:
    """Where vLLM finds the files: a repository, a directory or a URL."""
    if source.scheme == "hf":
        return source.root
    root = claim_dir(source.root) if source.scheme == "pvc" else f"s3://{source.root}"
    return f"{root}/{source.path}" if source.path else root


def _s3_environment(s3: S3) -> list[Object]:
    variables = []
    if s3.endpoint_url is not None:
        variables.append(_variable("AWS_ENDPOINT_URL", s3.endpoint_url))
        # Stores other than Amazon's have the bucket in the path rather than in the host's name,
        # and no metadata service that would hold up the search for credentials.
        variables.append(_variable("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING", "0"))
        variables.append(_variable("AWS_EC2_METADATA_DISABLED", "true"))
    if s3.region is not None:
        variables.append(_variable("AWS_REGION", s3.region))
        variables.append(_variable("AWS_DEFAULT_REGION", s3.region))
    if s3.credentials is not None:
        key = s3.credentials
        variables.append(_from_secret("AWS_ACCESS_KEY_ID", key.access_key_id_secret_ref))
        variables.append(_from_secret("AWS_SECRET_ACCESS_KEY", key.secret_access_key_secret_ref))
    return variables


def _variable(name: str, value: str) -> Object:
    return {"name": name, "value": value}


def _from_secret(name: str, reference: SecretKeyReference) -> Object:
    source = {"name": reference.name, "key": reference.key}
    return {"name": name, "valueFrom": {"secretKeyRef": source}}
