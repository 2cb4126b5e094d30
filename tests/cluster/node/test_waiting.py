"""`kubectl wait` for both kinds: it returns when they are served, and not before."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from cluster.kubernetes.access import KubectlError
from cluster.node.installation import MODEL, Routed

VERSION = "modelrouter.dev/v1alpha1"
READY = "--for=condition=Ready"


def test_it_returns_at_once_for_what_is_ready(example: Routed) -> None:
    example.wait_until_ready()
    said = example.workloads.kubectl(
        "wait", READY, f"mroute/{MODEL}", "mpool/llama-8b", "mpool/qwen-32b", "mpool/gpt",
        "--timeout=10s",
    )  # fmt: skip
    assert said.count("condition met") == 4


def test_it_waits_until_what_is_missing_comes(example: Routed) -> None:
    """A route and a pool that lack a pool and a Service at first."""
    here = example.workloads
    late = {"model": "meta-llama/Llama-3.1-8B-Instruct", "service": {"name": "late", "port": 8000}}
    here.apply(_resource("ModelRoute", "late", {"models": ["late"], "pools": ["late"]}))
    both = ("-n", here.namespace, "wait", READY, "mroute/late", "mpool/late")
    try:
        with pytest.raises(KubectlError, match="timed out"):
            here.kubectl("wait", READY, "mroute/late", "--timeout=3s")
        here.apply(_resource("ModelPool", "late", late))
        with pytest.raises(KubectlError, match="timed out"):
            here.kubectl("wait", READY, "mpool/late", "--timeout=3s")
        waiting = subprocess.Popen(
            ["kubectl", *both, "--timeout=100s"],
            env=here.kubernetes.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        service = here.get("service", "llama-8b")
        ports = [{"name": "http", "port": 8000, "targetPort": "http"}]
        spec = {"selector": service["spec"]["selector"], "ports": ports}
        here.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "late"}, "spec": spec}
        )
        said, _ = waiting.communicate(timeout=120)
        assert waiting.returncode == 0
        assert said.count("condition met") == 2
    finally:
        here.kubectl("delete", "mroute/late", "mpool/late", "service/late", "--ignore-not-found")


def _resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
