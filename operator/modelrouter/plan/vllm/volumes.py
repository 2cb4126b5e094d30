"""The volumes of a server: downloads, claims with models or adapters, shared memory."""

from __future__ import annotations

import hashlib

from modelrouter.api.model_source import locate
from modelrouter.api.vllm import AccessMode, Vllm
from modelrouter.plan.vllm.naming import Object, cache_name

CACHE_DIR = "/cache"
"""Where Hugging Face's files are downloaded to."""
_CACHE, _SHARED_MEMORY = "cache", "shared-memory"
_CLAIMS_DIR = "/claims"
_LONGEST_NAME = 63


def plan_volumes(pool: str, vllm: Vllm) -> tuple[list[Object], list[Object]]:
    """The volumes of the pod and their mounts in the container."""
    # Without a claim, an emptyDir: a container that is started again finds what it had.
    cache: Object = {"name": _CACHE, "emptyDir": {}}
    if vllm.cache is not None:
        cache = {"name": _CACHE, "persistentVolumeClaim": {"claimName": cache_name(pool)}}
    volumes: list[Object] = [cache]
    mounts: list[Object] = [{"name": _CACHE, "mountPath": CACHE_DIR}]
    for claim in claims(vllm):
        name = _volume_name(claim)
        source = {"claimName": claim, "readOnly": True}
        volumes.append({"name": name, "persistentVolumeClaim": source})
        mounts.append({"name": name, "mountPath": claim_dir(claim), "readOnly": True})
    # A server of several processes talks through it, be it for tensor parallelism or another flag,
    # and does not start with the default of 64 MiB. Memory that is not used costs nothing.
    volumes.append({"name": _SHARED_MEMORY, "emptyDir": {"medium": "Memory"}})
    mounts.append({"name": _SHARED_MEMORY, "mountPath": "/dev/shm"})
    return volumes, mounts


def claims(vllm: Vllm) -> list[str]:
    """The claims that hold the model or adapters."""
    sources = [vllm.source or "", *(adapter.source for adapter in vllm.lora_adapters)]
    locations = [locate(source) for source in sources if source]
    return sorted({location.root for location in locations if location.scheme == "pvc"})


def claim_dir(claim: str) -> str:
    """Where a claim is mounted."""
    return f"{_CLAIMS_DIR}/{claim}"


def keeps_to_one_node(vllm: Vllm) -> bool:
    """Whether the cache can be used from one node only."""
    return vllm.cache is not None and vllm.cache.access_mode is AccessMode.ONE_NODE


def _volume_name(claim: str) -> str:
    name = f"claim-{claim}"
    if len(name) <= _LONGEST_NAME and "." not in name:
        return name
    return f"claim-{hashlib.blake2b(claim.encode(), digest_size=8).hexdigest()}"
