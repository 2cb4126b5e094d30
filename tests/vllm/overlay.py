"""What makes an ordinary pod run the real vLLM of this machine, without an image of 8 GB.

The environment and the Python that it is made with are on the node, which is this machine, and are
mounted where they are there. The image needs only the same C library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vllm.environment import RealVllm

Object = dict[str, Any]

CONTAINER = "vllm"
CLAIM = "tiny-model"
FEW_RESOURCES: Object = {"requests": {"cpu": "250m", "memory": "1500Mi"}}
"""What a server with the tiny model needs; GPUs are not there."""
ARGS = ["--max-model-len=16384", "--enforce-eager", "--max-lora-rank=8"]
"""Without `--enforce-eager` vLLM would compile the model, with a compiler that the image lacks."""


def variables(real: RealVllm) -> dict[str, str]:
    """The environment of a vLLM process without GPUs and without the internet."""
    return {
        "PATH": f"{real.environment / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": str(real.libraries),
        "CUDA_VISIBLE_DEVICES": "",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1",
        # By default each server ties itself to the machine's first core, where two of them meet.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }


def pod_template(real: RealVllm) -> Object:
    """`podTemplate` of a pool. The command stays the operator's, `vllm serve`."""
    folders = {"vllm-environment": real.environment, "python": real.interpreter}
    container = {
        "name": CONTAINER,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in variables(real).items()],
        "volumeMounts": [
            {"name": name, "mountPath": str(path), "readOnly": True}
            for name, path in folders.items()
        ],
        # As vLLM's own image does. Folders in root's home are for nobody else.
        "securityContext": {"runAsUser": 0},
    }
    volumes = [_from_node(name, path) for name, path in folders.items()]
    return {"spec": {"containers": [container], "volumes": volumes}}


def _from_node(name: str, path: Path) -> Object:
    return {"name": name, "hostPath": {"path": str(path), "type": "Directory"}}


def model_claim(real: RealVllm, namespace: str) -> list[Object]:
    """The claim `CLAIM`, and the volume that it gets, with the tiny model."""
    name = CLAIM
    capacity = {"storage": "1Gi"}
    volume: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{name}-{namespace}"},
        "spec": {
            "capacity": capacity,
            "accessModes": ["ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": name},
            "hostPath": {"path": str(real.model), "type": "Directory"},
        },
    }
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": f"{name}-{namespace}",
            "resources": {"requests": capacity},
        },
    }
    return [volume, claim]
