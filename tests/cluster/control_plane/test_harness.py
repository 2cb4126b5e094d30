"""The cluster itself: what its fixtures promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.kubernetes.access import KubectlError, Kubernetes


@pytest.fixture
def own(kubernetes: Kubernetes) -> Kubernetes:
    """A cluster that can be broken."""
    if not kubernetes.is_own:
        pytest.skip(
            "not on somebody else's cluster: this stops its API server or reads its audit log"
        )
    return kubernetes


def _config_map(name: str, **data: str) -> dict[str, object]:
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_objects_survive_an_outage_of_the_api_server(own: Kubernetes, namespace: str) -> None:
    own.apply(_config_map("kept", color="blue"), namespace=namespace)
    own.stop_api_server()
    try:
        assert "refused" in own.kubectl("get", "--raw", "/readyz", check=False)
    finally:
        own.start_api_server()
    assert own.get("configmap", "kept", "-n", namespace)["data"] == {"color": "blue"}


def test_a_frozen_api_server_answers_again_when_thawed(own: Kubernetes) -> None:
    own.freeze_api_server()
    try:
        said = own.kubectl("get", "--raw", "/readyz", "--request-timeout=1s", check=False)
        assert said != "ok"
    finally:
        own.thaw_api_server()
    own.wait_for_api_server()


def test_the_audit_log_names_who_wrote_what_and_leaves_reads_out(
    own: Kubernetes, namespace: str, tmp_path: Path
) -> None:
    own.kubectl("create", "serviceaccount", "writer", "-n", namespace)
    own.kubectl("create", "rolebinding", "writer", "--clusterrole=edit",
                f"--serviceaccount={namespace}:writer", "-n", namespace)  # fmt: skip
    kubeconfig = own.kubeconfig_of("writer", namespace, tmp_path)
    writer = Kubernetes(kubeconfig, own.own, own.programs)
    writer.apply(_config_map("mine"), namespace=namespace)
    writer.get("configmaps", "-n", namespace)
    user = f"system:serviceaccount:{namespace}:writer"
    written = [(event["verb"], event["objectRef"]["name"]) for event in own.writes(user)]
    assert written == [("patch", "mine")]


def test_kubectl_errors_carry_what_kubectl_said(kubernetes: Kubernetes, namespace: str) -> None:
    with pytest.raises(KubectlError, match='configmaps "none" not found'):
        kubernetes.get("configmap", "none", "-n", namespace)


def test_a_namespace_is_deleted_to_the_end(kubernetes: Kubernetes, namespace: str) -> None:
    kubernetes.apply(_config_map("one"), namespace=namespace)
    kubernetes.kubectl("delete", "namespace", namespace, "--timeout=60s")
    assert "NotFound" in kubernetes.kubectl("get", "namespace", namespace, check=False)
    kubernetes.kubectl("create", "namespace", namespace)  # for the fixture to delete
