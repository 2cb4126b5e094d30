"""Figures of a model server, read from its metrics in Prometheus' text format.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format. Names:
https://docs.vllm.ai/en/latest/usage/metrics/.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from modelrouter.plan.scaling.load import ServerLoad

_WAITING = "vllm:num_requests_waiting"
_CACHE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""The second is what it was called before vLLM 0.10."""


def read_server(pod: str, text: str) -> ServerLoad:
    """What a server tells. It has a series for each engine of its own: data parallel ranks."""
    waiting = list(samples(text, _WAITING))
    shares = next((found for name in _CACHE if (found := list(samples(text, name)))), [])
    return ServerLoad(
        pod=pod,
        waiting_requests=sum(waiting) if waiting else None,
        kv_cache_percent=100 * sum(shares) / len(shares) if shares else None,
    )


def samples(text: str, name: str) -> Iterator[float]:
    """The values of all series of a metric; what is no finite number is left out."""
    for line in text.splitlines():
        if not line.startswith(name):
            continue
        rest = line[len(name) :]
        if rest.startswith("{"):
            # Values of labels may hold braces; what follows the last one is the value.
            rest = rest.rpartition("}")[2]
        elif not rest.startswith(" "):
            continue
        try:
            value = float(rest.split()[0])
        except (ValueError, IndexError):
            continue
        if math.isfinite(value):
            yield value
