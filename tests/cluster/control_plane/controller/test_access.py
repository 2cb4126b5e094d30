"""What the operator may read, and where: by the chart's rights."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Iterator

import pytest

from cluster.control_plane.controller.conftest import Install
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.secrecy import planted
from component.router.manifests import Manifest, pool, route, secret


@pytest.fixture
def other_namespace(kubernetes: Kubernetes) -> Iterator[str]:
    """A second namespace."""
    name = f"test-{randomness.token_hex(4)}"
    kubernetes.kubectl("create", "namespace", name)
    yield name
    kubernetes.kubectl("delete", "namespace", name, "--wait=false")


def with_key(name: str, secret_name: str) -> Manifest:
    """A pool at a provider that wants a key."""
    reference = {"secretRef": {"name": secret_name, "key": "api-key"}}
    spec = {"model": "m", "provider": {"kind": "OpenAI", "credentials": reference}}
    return {**pool(name, "x:1"), "spec": spec}


def test_with_named_secrets_only_those_are_read(
    install: Install, resources: Resources, kubernetes: Kubernetes, namespace: str
) -> None:
    installation = install(rbac={"secretAccess": "named", "secretNames": ["listed"]})
    installation.operator().lead()
    resources.apply(
        secret("listed", planted()),
        secret("unlisted", planted()),
        with_key("may", "listed"),
        with_key("may-not", "unlisted"),
        route("chat", pools=["may", "may-not"]),
    )
    resources.expect("mpool", "may", ResolvedRefs=("True", "ResolvedRefs"))
    resources.expect("mpool", "may-not", ResolvedRefs=("False", "SecretNotReadable"))
    assert "rbac.secretNames" in resources.message("mpool", "may-not", "ResolvedRefs")
    eventually(lambda: "model-router-default" in resources.names("role"))
    rules = resources.get("role", "model-router-default")["rules"]
    named = [rule["resourceNames"] for rule in rules if rule["resources"] == ["secrets"]]
    assert named == [["listed"]]
    for name, answer in (("listed", "yes"), ("unlisted", "no")):
        said = kubernetes.kubectl(
            "auth", "can-i", "get", f"secret/{name}", "-n", namespace,
            f"--as={installation.user}", check=False,
        )  # fmt: skip
        assert said.split()[0] == answer


def test_one_operator_serves_all_namespaces(
    install: Install, resources: Resources, kubernetes: Kubernetes, other_namespace: str
) -> None:
    install(watchNamespaces=[]).operator().lead()
    for here in (resources, Resources(kubernetes, other_namespace)):
        here.apply(pool("llama", "10.0.0.1:80", model="m"), route("chat", pools=["llama"]))
        here.expect("mroute", "chat", ResolvedRefs=("True", "ResolvedRefs"))
        eventually(lambda here=here: "model-router-default" in here.names("deployment"))


def test_routes_of_other_namespaces_are_left_alone(
    install: Install, resources: Resources, kubernetes: Kubernetes, other_namespace: str
) -> None:
    operator = install().operator().lead()
    elsewhere = Resources(kubernetes, other_namespace)
    elsewhere.apply(route("chat", pools=["llama"]))
    resources.apply(route("chat", pools=["llama"]))
    resources.expect("mroute", "chat", ResolvedRefs=("False", "PoolNotFound"))
    operator.settle()
    assert "status" not in elsewhere.get("mroute", "chat")
    assert elsewhere.names("deployment") == []
