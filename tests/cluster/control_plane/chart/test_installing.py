"""The chart installed by helm on a real API server: permissions, upgrade, uninstall."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane.chart.rendering import CHART, Object, write
from cluster.control_plane.controller.serverpods import vllm_pool
from cluster.kubernetes.access import KubectlError, Kubernetes
from cluster.secrecy import planted
from modelrouter.api.operator_config import OperatorConfig
from modelrouter.api.pool import ModelPool
from modelrouter.plan.children import plan_children
from modelrouter.plan.vllm import plan_pool_children
from modelrouter.plan.vllm.naming import adapter_label

pytestmark = pytest.mark.usefixtures("crds")


@dataclass
class Release:
    """An installation in a namespace of its own. No pods run on a control plane alone."""

    kubernetes: Kubernetes
    namespace: str
    folder: Path
    values: Object = field(default_factory=dict)

    @property
    def user(self) -> str:
        """The operator, as the API server knows it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def name(self) -> str:
        """Of the release and of its objects."""
        return f"{self.namespace}-model-router"

    def install(self, values: Object | None = None) -> str:
        """`helm upgrade --install`. CRDs that a test before applied by kubectl are taken over."""
        self.values = values or {}
        return self.kubernetes.helm(
            *("upgrade", "--install", self.name, str(CHART), "--namespace", self.namespace),
            *("--values", str(write(self.values, self.folder)), "--take-ownership"),
        )

    def uninstall(self) -> str:
        """`helm uninstall`."""
        return self.kubernetes.helm("uninstall", self.name, "--namespace", self.namespace)

    def may(self, verb: str, resource: str, namespace: str, *arguments: str) -> bool:
        """Whether the operator may, as `kubectl auth can-i` says."""
        answer = self.kubernetes.kubectl(
            *("auth", "can-i", verb, resource, *arguments, "-n", namespace, "--as", self.user),
            check=False,
        )
        return answer.strip().splitlines()[-1].startswith("yes")

    def act(self, *arguments: str, namespace: str, input: str | None = None) -> str:
        """What kubectl says to the operator."""
        as_operator = ("--as", self.user, "-n", namespace)
        return self.kubernetes.kubectl(*arguments, *as_operator, input=input)


@pytest.fixture
def release(kubernetes: Kubernetes, namespace: str, tmp_path: Path) -> Iterator[Release]:
    """Not installed yet; uninstalled afterwards."""
    release = Release(kubernetes, namespace, tmp_path)
    yield release
    kubernetes.helm(
        "uninstall", release.name, "--namespace", namespace, "--ignore-not-found", check=False
    )


@pytest.fixture
def served(kubernetes: Kubernetes, namespace: str) -> Iterator[str]:
    """A namespace with routes, another than the operator's."""
    name = f"{namespace}-ai"
    kubernetes.kubectl("create", "namespace", name)
    yield name
    kubernetes.kubectl("delete", "namespace", name, "--wait=false")


def manifests(*objects: dict[str, Any]) -> str:
    return yaml.safe_dump_all(objects)


def children(namespace: str, names: list[str]) -> list[dict[str, Any]]:
    shards = {0: {"route.support": "{}"}}
    return plan_children("default", namespace, shards, names, OperatorConfig().routers)


def pool_children(release: Release, namespace: str) -> list[dict[str, Any]]:
    """The objects of a pool with everything, which the API server knows."""
    pool = vllm_pool(
        "llama",
        cache={"size": "1Gi"},
        loraAdapters=[{"name": "de", "source": "hf://acme/de"}],
    )
    release.kubernetes.apply(pool, namespace=namespace)
    found = release.kubernetes.get("mpool", "llama", "-n", namespace)
    names = ("name", "namespace", "uid")
    metadata = {name: found["metadata"][name] for name in names}
    return plan_pool_children(ModelPool.model_validate({**pool, "metadata": metadata}))


APPLY = ("apply", "--server-side", "--field-manager", "model-router-operator", "-f", "-")


def test_the_operator_may_do_what_it_has_to(release: Release, served: str) -> None:
    """Everything, done for real: what a Role grants, the operator must hold itself."""
    release.install()
    planned = children(served, ["openai"])
    release.act(*APPLY, input=manifests(*planned), namespace=served)
    for child in planned:
        reference = f"{child['kind']}/{child['metadata']['name']}"
        release.act("get", reference, "-o", "name", namespace=served)
    servers = pool_children(release, served)
    release.act(*APPLY, input=manifests(*servers), namespace=served)
    for child in servers:
        reference = f"{child['kind']}/{child['metadata']['name']}"
        release.act("get", reference, "-o", "name", namespace=served)
    label = {"metadata": {"labels": {adapter_label("de"): "loaded"}}}
    pod = release.kubernetes.kubectl(
        *("run", "server", "--image=x", "-o", "name", "-n", served, "--restart=Never")
    ).strip()
    release.act("patch", pod, "--type=merge", "-p", json.dumps(label), namespace=served)
    for kind in ("deployments", "services", "pdb"):
        release.act("delete", kind, "-l", "modelrouter.dev/pool=llama", namespace=served)
    route = {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": "support", "namespace": served},
        "spec": {"models": ["support"], "pools": ["llama"]},
    }
    release.kubernetes.apply(route, namespace=served)
    status = {"url": f"http://model-router-default.{served}.svc:8080/v1"}
    said = {key: route[key] for key in ("apiVersion", "kind", "metadata")} | {"status": status}
    release.act(*APPLY, "--subresource=status", input=manifests(said), namespace=served)
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "support.1", "namespace": served},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "modelrouter.dev/operator",
        "reportingInstance": "pod",
        "action": "Reconcile",
        "reason": "Programmed",
        "type": "Normal",
        "regarding": {"kind": "ModelRoute", "namespace": served, "name": "support"},
    }
    release.act("create", "-f", "-", input=manifests(event), namespace=served)
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": f"{release.name}-operator"},
        "spec": {"holderIdentity": "pod"},
    }
    release.act("create", "-f", "-", input=manifests(lease), namespace=release.namespace)
    release.act("replace", "-f", "-", input=manifests(lease), namespace=release.namespace)
    for kind in ("deployments", "services", "configmaps", "roles", "rolebindings", "pdb", "sa"):
        release.act("delete", kind, "-l", "modelrouter.dev/router=default", namespace=served)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("update", "modelroutes"),
        ("patch", "modelroutes"),
        ("delete", "modelpools"),
        ("create", "secrets"),
        ("patch", "secrets"),
        ("delete", "secrets"),
        ("create", "pods"),
        ("create", "pods --subresource=exec"),
        ("delete", "pods"),
        ("patch", "pods --subresource=status"),
        ("create", "pods --subresource=eviction"),
        ("get", "pods --subresource=log"),
        ("list", "replicasets.apps"),
        ("get", "persistentvolumes"),
        ("deletecollection", "persistentvolumeclaims"),
        ("list", "scaledobjects.keda.sh"),
        ("patch", "endpointslices.discovery.k8s.io"),
        ("deletecollection", "deployments.apps"),
        ("escalate", "roles.rbac.authorization.k8s.io"),
        ("bind", "roles.rbac.authorization.k8s.io"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
        ("get", "nodes"),
        ("list", "namespaces"),
        ("patch", "customresourcedefinitions.apiextensions.k8s.io"),
        ("impersonate", "users"),
        ("create", "serviceaccounts --subresource=token"),
        ("patch", "deployments.apps --subresource=scale"),
        ("get", "leases.coordination.k8s.io"),
    ],
)
def test_the_operator_may_do_no_more(shared_release: Release, verb: str, resource: str) -> None:
    plural, *arguments = resource.split()
    assert not shared_release.may(verb, plural, "default", *arguments)


@pytest.fixture(scope="module")
def shared_release(
    kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory, crds: None
) -> Iterator[Release]:
    """The defaults, installed once for all questions about them."""
    name = f"test-{secrets.token_hex(4)}"
    kubernetes.kubectl("create", "namespace", name)
    release = Release(kubernetes, name, tmp_path_factory.mktemp("release"))
    release.install()
    # The answer of can-i for these would be no of a user that does not exist at all, too.
    assert release.may("list", "modelroutes", "default")
    yield release
    release.uninstall()
    kubernetes.kubectl("delete", "namespace", name)


def test_named_secrets_are_the_only_ones_that_can_be_read(release: Release, served: str) -> None:
    release.install({"rbac": {"secretAccess": "named", "secretNames": ["openai"]}})
    for name in ("openai", "other"):
        release.kubernetes.kubectl(
            "create", "secret", "generic", name, f"--from-literal=k={planted()}", "-n", served
        )
    release.act("get", "secret", "openai", namespace=served)
    one = ("get", "secrets", "--field-selector", "metadata.name=openai")
    assert "openai" in release.act(*one, namespace=served)
    for refused in (
        ("get", "secret", "other"),
        ("get", "secrets"),
        ("get", "secrets", "--field-selector", "metadata.name=other"),
        ("get", "secrets", "--field-selector", "metadata.name!=openai"),
    ):
        with pytest.raises(KubectlError, match=r"[Ff]orbidden"):
            release.act(*refused, namespace=served)
    assert not release.may("watch", "secrets", served)
    # Nor can it let a router read what it may not read itself.
    release.act(*APPLY, input=manifests(*children(served, ["openai"])), namespace=served)
    role = next(child for child in children(served, ["other"]) if child["kind"] == "Role")
    with pytest.raises(KubectlError, match="attempting to grant RBAC permissions not currently"):
        release.act(*APPLY, input=manifests(role), namespace=served)


def test_all_secrets_can_be_read_but_never_written(shared_release: Release) -> None:
    assert shared_release.may("get", "secrets", "default")
    assert shared_release.may("watch", "secrets", "default")
    for verb in ("create", "update", "patch", "delete"):
        assert not shared_release.may(verb, "secrets", "default")


def test_watched_namespaces_are_the_only_ones(release: Release, served: str) -> None:
    release.install({"watchNamespaces": [served], "rbac": {"aggregateRoles": False}})
    release.act(*APPLY, input=manifests(*children(served, ["openai"])), namespace=served)
    assert release.may("list", "modelroutes.modelrouter.dev", served)
    for verb, resource in [
        ("list", "modelroutes.modelrouter.dev"),
        ("get", "secrets"),
        ("create", "deployments.apps"),
        ("get", "configmaps"),
    ]:
        assert not release.may(verb, resource, "default")
        assert not release.may(verb, resource, release.namespace)
    # Its own Lease is in its own namespace, and no other Lease is its business.
    own = f"leases.coordination.k8s.io/{release.name}-operator"
    assert release.may("update", own, release.namespace)
    assert not release.may("update", "leases.coordination.k8s.io/other", release.namespace)


def test_view_and_edit_cover_routes_and_pools(
    kubernetes: Kubernetes, shared_release: Release, namespace: str
) -> None:
    for role in ("view", "edit"):
        kubernetes.kubectl(
            *("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er"),
            *("-n", namespace),
        )

    def may(user: str, verb: str) -> bool:
        answer = kubernetes.kubectl(
            *("auth", "can-i", verb, "modelroutes.modelrouter.dev", "-n", namespace, "--as", user),
            check=False,
        )
        return answer.strip() == "yes"

    assert may("viewer", "list")
    assert not may("viewer", "create")
    assert may("editer", "list")
    assert may("editer", "create")


def test_an_upgrade_changes_only_what_it_names(release: Release) -> None:
    release.install()
    before = release.kubernetes.get("deployment", release.name, "-n", release.namespace)
    release.install()
    same = release.kubernetes.get("deployment", release.name, "-n", release.namespace)
    assert same["metadata"]["generation"] == before["metadata"]["generation"]
    release.install({"routers": {"replicas": 3}})
    after = release.kubernetes.get("deployment", release.name, "-n", release.namespace)
    template, previous = after["spec"]["template"], before["spec"]["template"]
    assert template["spec"].pop("volumes") != previous["spec"].pop("volumes")
    assert template["spec"] == previous["spec"]
    assert after["spec"]["selector"] == before["spec"]["selector"]


def test_uninstalling_leaves_crds_and_resources_and_installing_again_takes_them(
    release: Release, served: str
) -> None:
    release.install()
    route = {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": "support", "namespace": served},
        "spec": {"models": ["support"], "pools": ["llama"]},
    }
    release.kubernetes.apply(route, namespace=served)
    release.act(*APPLY, input=manifests(*children(served, [])), namespace=served)
    uid = release.kubernetes.get("mroute", "support", "-n", served)["metadata"]["uid"]
    said = release.uninstall()
    assert "modelroutes.modelrouter.dev" in said
    assert release.kubernetes.get("mroute", "support", "-n", served)["metadata"]["uid"] == uid
    left = release.kubernetes.get("deployment,service,role,configmap", "-n", served)["items"]
    assert "model-router-default" in {found["metadata"]["name"] for found in left}
    of_release = release.kubernetes.get(
        *("all,configmap,serviceaccount,role,rolebinding,pdb,networkpolicy", "-n"),
        *(release.namespace, "-l", f"app.kubernetes.io/instance={release.name}"),
    )
    assert of_release["items"] == []
    # Without --take-ownership: the CRDs still carry the release's name.
    release.kubernetes.helm("install", release.name, str(CHART), "--namespace", release.namespace)
    assert release.kubernetes.get("mroute", "support", "-n", served)["metadata"]["uid"] == uid


def test_a_second_release_is_told_that_the_crds_are_taken(
    release: Release, shared_release: Release
) -> None:
    with pytest.raises(KubectlError, match="invalid ownership metadata"):
        release.kubernetes.helm(
            *("install", release.name, str(CHART), "--namespace", release.namespace),
        )
    release.kubernetes.helm(
        *("install", release.name, str(CHART), "--namespace", release.namespace),
        *("--set", "crds.install=false"),
    )


def test_the_api_server_takes_every_object(release: Release) -> None:
    """A dry run on the server, with defaults and admission of the real thing."""
    said = release.kubernetes.helm(
        *("install", release.name, str(CHART), "--namespace", release.namespace),
        *("--dry-run=server", "--take-ownership", "--output", "json"),
    )
    manifest = json.loads(said)["manifest"]
    assert manifest.count("\nkind: ") >= 10
