"""The pool of these tests."""

from __future__ import annotations

from typing import Any

from cluster.kubernetes.images import operator_image_name
from vllm.environment import RealVllm
from vllm.overlay import ARGS, CLAIM, FEW_RESOURCES, pod_template

POOL = "tiny"
SERVED = "acme/tiny"
"""What vLLM calls the model."""
MODEL = "assistant"
"""What clients call it."""
ADAPTER, OTHER_ADAPTER = "adapter-a", "adapter-b"
DRAIN_SECONDS = 600
"""Long enough for a stream of these tests on a machine that is busy with other things."""


def real_pool(real: RealVllm) -> dict[str, Any]:
    """A ModelPool as people write it, apart from where the pod finds vLLM."""
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": POOL},
        "spec": {
            "model": SERVED,
            "vllm": {
                # Any image with the same C library as this machine's.
                "image": operator_image_name(),
                "source": f"pvc://{CLAIM}",
                "args": ARGS,
                "resources": FEW_RESOURCES,
                "loraAdapters": [adapter(ADAPTER)],
                "drainTimeout": f"{DRAIN_SECONDS}s",
                "podTemplate": pod_template(real),
            },
        },
    }


def adapter(name: str) -> dict[str, str]:
    """An adapter beside the model."""
    return {"name": name, "source": f"pvc://{CLAIM}/{name}"}
