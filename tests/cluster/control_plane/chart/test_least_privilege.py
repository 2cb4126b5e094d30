"""The operator with the fewest rights that the chart can give: its own namespace, one Secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane.controller.operators import Installation
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.serverpods import (
    LoraServer,
    pod_names,
    report_ready,
    vllm_pool,
)
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.secrecy import planted

pytestmark = pytest.mark.usefixtures("crds")

PLANTED = planted()


def pool(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": name},
        "spec": {
            "model": "gpt",
            "provider": {
                "kind": "OpenAI",
                "credentials": {"secretRef": {"name": name, "key": "api-key"}},
            },
        },
    }


ROUTE = {
    "apiVersion": "modelrouter.dev/v1alpha1",
    "kind": "ModelRoute",
    "metadata": {"name": "support"},
    "spec": {"models": ["support"], "pools": ["openai", "other"]},
}


def test_it_serves_its_namespace_and_reads_the_named_secret_only(
    kubernetes: Kubernetes, namespace: str, tmp_path: Path
) -> None:
    for name in ("openai", "other"):
        key = f"--from-literal=api-key={PLANTED}"
        kubernetes.kubectl("create", "secret", "generic", name, key, "-n", namespace)
    kubernetes.apply(pool("openai"), pool("other"), ROUTE, namespace=namespace)
    values = {
        "watchNamespaces": [namespace],
        "rbac": {"secretAccess": "named", "secretNames": ["openai"]},
    }
    installation = Installation(kubernetes, namespace, tmp_path / "operator", values)
    try:
        installation.operator().lead()

        def resolved(name: str) -> dict[str, Any]:
            found = kubernetes.get("mpool", name, "-n", namespace).get("status", {})
            by_type = {each["type"]: each for each in found.get("conditions", [])}
            condition: dict[str, Any] = by_type.get("ResolvedRefs", {})
            return condition

        eventually(lambda: resolved("openai").get("status") == "True", within=60)
        eventually(lambda: resolved("other").get("reason") == "SecretNotReadable", within=60)
        assert "rbac.secretNames" in resolved("other")["message"]

        def children() -> str:
            return kubernetes.kubectl(
                *("get", "deployment,role,rolebinding,service,pdb,serviceaccount,configmap"),
                *("-n", namespace, "-l", "modelrouter.dev/router=default", "-o", "name"),
            )

        eventually(lambda: len(children().split()) >= 7, within=60)
        rules = kubernetes.get("role", "model-router-default", "-n", namespace)["rules"]
        names = [rule["resourceNames"] for rule in rules if "secrets" in rule["resources"]]
        assert names == [["openai"]]

        here, server = Resources(kubernetes, namespace), LoraServer()
        here.apply(
            vllm_pool(
                "llama",
                cache={"size": "1Gi"},
                huggingFace={"tokenSecretRef": {"name": "other", "key": "api-key"}},
                loraAdapters=[{"name": "de", "source": "hf://acme/de"}],
            )
        )
        (pod,) = pod_names(here, "llama")
        report_ready(here, pod, server.address)
        here.expect(
            "mpool", "llama", within=60,
            ResolvedRefs=("True", "ResolvedRefs"),  # the kubelet reads that Secret, nobody else
            AdaptersLoaded=("True", "AdaptersLoaded"),
        )  # fmt: skip
        here.apply(vllm_pool("llama", cache={"size": "1Gi"}))
        eventually(lambda: not [name for name in here.names("service") if "-lora-" in name])
        server.stop()
        # What the docs say removes all that an operator that is gone has left.
        installation.stop()
        kubernetes.kubectl(
            *(
                "delete",
                "-n",
                namespace,
                "-l",
                "app.kubernetes.io/managed-by=model-router-operator,modelrouter.dev/router",
            ),
            "deployments,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets",
        )
        assert children() == ""
        assert "model-pool-llama" in here.names("deployment")
        log = installation.log_text()
        assert not re.search(r"forbidden|\b403\b", log, re.IGNORECASE)
        assert PLANTED not in log
    finally:
        installation.stop()
