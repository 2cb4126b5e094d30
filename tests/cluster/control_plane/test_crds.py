"""The resources on a real API server: what it takes, what it refuses, and what kubectl shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.kubernetes.access import Kubernetes
from modelrouter.api.manifests import load_manifests
from refusals import API_VERSION, RIGHT, Refusal, manifest, refusals

pytestmark = pytest.mark.usefixtures("crds")

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documents(text: str) -> list[dict[str, Any]]:
    """Manifests of this project and of Kubernetes itself among YAML documents."""
    found = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    known = (API_VERSION, "v1", "apps/v1", "networking.k8s.io/v1")
    return [document for document in found if document.get("apiVersion") in known]


def examples() -> list[Path]:
    """Files that hold such manifests."""
    files = sorted((ROOT / "examples").rglob("*.yaml"))
    return [path for path in files if documents(path.read_text(encoding="utf-8"))]


def blocks() -> list[tuple[str, str]]:
    """YAML blocks of the pages that hold manifests, with where they stand."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if "apiVersion:" in match[1]:
                line = text.count("\n", 0, match.start()) + 2
                found.append((f"{page.relative_to(ROOT)}:{line}", match[1]))
    return found


def dry_run(kubernetes: Kubernetes, namespace: str, text: str) -> str:
    """What a server-side dry run says; raises KubectlError if anything is refused."""
    return kubernetes.kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", input=text)


@pytest.mark.parametrize("path", examples(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_is_accepted(kubernetes: Kubernetes, namespace: str, path: Path) -> None:
    found = documents(path.read_text(encoding="utf-8"))
    said = dry_run(kubernetes, namespace, yaml.safe_dump_all(found))
    assert said.count("created (server dry run)") == len(found)


@pytest.mark.parametrize(("place", "text"), blocks(), ids=lambda value: value.split("\n")[0])
def test_every_manifest_in_the_docs_is_accepted(
    kubernetes: Kubernetes, namespace: str, place: str, text: str
) -> None:
    if found := documents(text):
        said = dry_run(kubernetes, namespace, yaml.safe_dump_all(found))
        assert said.count("created (server dry run)") == len(found), place


def test_examples_and_docs_hold_manifests() -> None:
    assert len(examples()) >= 7
    assert sum(len(documents(text)) for _, text in blocks()) >= 3


@pytest.mark.parametrize("refusal", refusals(), ids=lambda case: f"{case.kind}: {case.case}")
def test_a_wrong_manifest_is_refused_with_a_reason(
    kubernetes: Kubernetes, namespace: str, refusal: Refusal
) -> None:
    text = yaml.safe_dump(refusal.manifest)
    verb = ("apply", "--server-side") if refusal.server_side else ("create",)
    arguments = (*verb, "--dry-run=server", "-n", namespace, "-f", "-")
    said = kubernetes.kubectl(*arguments, input=text, check=False)
    assert "(server dry run)" not in said
    assert refusal.server in said


def test_an_unquoted_on_is_refused_rather_than_ignored(
    kubernetes: Kubernetes, namespace: str
) -> None:
    text = (
        f"apiVersion: {API_VERSION}\nkind: ModelRoute\nmetadata: {{name: r}}\n"
        "spec: {models: [m], pools: [a], retry: {on: [5xx]}}\n"
    )
    arguments = ("apply", "--dry-run=server", "-n", namespace, "-f", "-")
    said = kubernetes.kubectl(*arguments, input=text, check=False)
    assert 'unknown field "spec.retry.true"' in said


def test_defaults_that_say_something_are_filled_in(kubernetes: Kubernetes, namespace: str) -> None:
    route = {**RIGHT["ModelRoute"], "rules": [{"name": "x", "targets": [{"pool": "a"}]}]}
    kubernetes.apply(
        manifest("ModelRoute", {**route, "retry": {"attempts": 1}}),
        manifest("ModelPool", {**RIGHT["ModelPool"], "healthCheck": {"path": "/ready"}}),
        namespace=namespace,
    )
    spec = kubernetes.get("mroute", "case", "-n", namespace)["spec"]
    assert spec == {
        "models": ["m", "large"],
        "pools": ["a", "b"],
        "router": "default",
        "minHealthyPercent": 0,
        "brokenStreams": "Close",
        "retry": {"attempts": 1, "triggers": ["connect-failure", "reset", "5xx", "429"]},
        "timeout": {"request": "600s", "idle": "60s"},
        "rules": [{"name": "x", "targets": [{"pool": "a", "weight": 1}]}],
    }
    pool = kubernetes.get("mpool", "case", "-n", namespace)["spec"]
    assert pool["loadBalancing"] == "LeastRequest"
    assert pool["healthCheck"]["interval"] == "5s"
    assert "parameters" not in pool


def test_another_manager_may_own_one_weight(kubernetes: Kubernetes, namespace: str) -> None:
    def rules(**weights: int) -> list[dict[str, Any]]:
        targets = [{"pool": pool, "weight": weight} for pool, weight in weights.items()]
        return [{"name": "default", "targets": targets}]

    spec = {**RIGHT["ModelRoute"], "rules": rules(a=90, b=10)}
    kubernetes.apply(manifest("ModelRoute", spec), namespace=namespace)
    shift = yaml.safe_dump(manifest("ModelRoute", {"rules": rules(b=50)}))
    kubernetes.kubectl("apply", "--server-side", "--field-manager=pipeline", "--force-conflicts",
                       "-n", namespace, "-f", "-", input=shift)  # fmt: skip
    assert kubernetes.get("mroute", "case", "-n", namespace)["spec"]["rules"] == rules(a=90, b=50)


def test_status_is_a_subresource(kubernetes: Kubernetes, namespace: str) -> None:
    written = {
        **manifest("ModelPool", RIGHT["ModelPool"]),
        "status": {"observedGeneration": 1},
    }
    kubernetes.apply(written, namespace=namespace)
    assert "status" not in kubernetes.get("mpool", "case", "-n", namespace)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mroute", "A virtual model and the policy that serves it."),
        ("mroute.spec.rules.targets.weight", "Share of requests, relative to the other targets"),
        ("mroute.spec.failover", "`[None]`: a request never leaves the pool"),
        ("mroute.spec.retry.triggers", "Failures after which the request is sent again."),
        ("mroute.status.conditions.reason", "Why, in one word for programs."),
        ("mpool", "Interchangeable endpoints that serve one model."),
        ("mpool.spec.service.port", "The Service's port, by number or by name."),
        ("mpool.spec.loadBalancing", "ENUM: LeastRequest RoundRobin SessionHash PrefixHash"),
        ("mpool.spec.provider.credentials", "The API key to send as `authorization: Bearer`."),
    ],
)
def test_kubectl_explains_every_field(kubernetes: Kubernetes, path: str, said: str) -> None:
    text = " ".join(kubernetes.kubectl("explain", path).split())
    assert said in text


def described(schema: dict[str, Any], path: str) -> list[str]:
    """Paths of fields that have no description."""
    missing = []
    for name, field in schema.get("properties", {}).items():
        if "description" not in field:
            missing.append(f"{path}.{name}")
        for inner in (field, field.get("items", {})):
            missing += described(inner, f"{path}.{name}")
    return missing


def test_no_field_is_without_a_description(kubernetes: Kubernetes) -> None:
    for name in ("modelroutes", "modelpools"):
        definition = kubernetes.get("crd", f"{name}.modelrouter.dev")
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        assert described(schema["spec"], "spec") + described(schema["status"], "status") == []


def test_kubectl_get_shows_what_matters(kubernetes: Kubernetes, namespace: str) -> None:
    kubernetes.apply(
        manifest("ModelRoute", RIGHT["ModelRoute"]),
        manifest("ModelPool", RIGHT["ModelPool"]),
        namespace=namespace,
    )
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "all is well",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    endpoints = {"ready": 1, "total": 2, "summary": "1/2"}
    canary = {
        "phase": "Progressing", "id": "2394bac1", "rule": "pools", "from": "a", "to": "b",
        "step": 2, "steps": 3, "weight": 25, "summary": "Progressing 25%",
        "since": "2026-01-01T00:00:00.123Z", "judged": "2026-01-01T00:00:30.123Z", "failures": 0,
    }  # fmt: skip
    statuses = {
        "ModelRoute": {
            "url": "http://model-router-default.ai.svc:8080/v1",
            "canary": canary,
            "conditions": [ready],
        },
        "ModelPool": {"source": "endpoints", "endpoints": endpoints, "conditions": [ready]},
    }
    for kind, status in statuses.items():
        text = yaml.safe_dump({**manifest(kind, RIGHT[kind]), "status": status})
        kubernetes.kubectl("apply", "--server-side", "--subresource=status", "-n", namespace,
                           "--field-manager=status", "-f", "-", input=text)  # fmt: skip

    def table(*arguments: str) -> list[list[str]]:
        lines = kubernetes.kubectl("get", *arguments, "-n", namespace).splitlines()
        return [re.split(r"\s{2,}", line.strip()) for line in lines if line]

    header, row = table("mroute")
    assert header == ["NAME", "MODELS", "ROUTER", "CANARY", "READY", "AGE"]
    assert row[:5] == ["case", '["m","large"]', "default", "Progressing 25%", "True"]
    header, row = table("mpool")
    assert header == ["NAME", "MODEL", "SOURCE", "ENDPOINTS", "READY", "AGE"]
    assert row[:5] == ["case", "m", "endpoints", "1/2", "True"]
    header, row = table("mpool", "-o", "wide")
    assert header[-2:] == ["ZONE", "MESSAGE"]
    assert row[-1] == "all is well"
    both = kubernetes.kubectl("get", "modelrouter", "-n", namespace, "-o", "name").split()
    assert sorted(both) == ["modelpool.modelrouter.dev/case", "modelroute.modelrouter.dev/case"]
    for name in ("mroute/case", "mpool/case"):
        kubernetes.kubectl("wait", "--for=condition=Ready", name, "-n", namespace, "--timeout=10s")


def test_what_is_stored_reads_back_as_it_was_meant(
    kubernetes: Kubernetes, namespace: str, tmp_path: Path
) -> None:
    meant = load_manifests([ROOT / "examples" / "quickstart"])
    folder = str(ROOT / "examples" / "quickstart")
    kubernetes.kubectl("apply", "--server-side", "-n", namespace, "-f", folder)
    stored = kubernetes.kubectl("get", "mroute,mpool", "-n", namespace, "-o", "yaml")
    (tmp_path / "stored.yaml").write_text(stored)
    found = load_manifests([tmp_path])
    assert found.problems == []
    for before, after in ((meant.routes, found.routes), (meant.pools, found.pools)):
        assert {name: item.spec for (_, name), item in before.items()} == {
            name: item.spec for (_, name), item in after.items()
        }


def largest_route() -> dict[str, Any]:
    """As much of everything as the limits allow, and the last of each list referred to."""
    pools = [f"{index:02}" + "p" * 61 for index in range(64)]
    models = [f"{index:02}" + "m" * 254 for index in range(64)]
    header = {"name": "x" * 256, "exact": "y" * 1024}
    return {
        "models": models,
        "pools": pools,
        "failover": pools[::-1],
        "rules": [
            {
                "name": f"{index:02}" + "r" * 61,
                "match": {
                    "models": models[::-1],
                    "headers": [header] * 16,
                    "dataClasses": [f"{index:02}" + "d" * 61 for index in range(32)],
                },
                "targets": [{"pool": pool, "weight": 1_000_000} for pool in pools[-32:]],
                "failover": pools[::-1],
            }
            for index in range(64)
        ],
        "canary": {
            "rule": "63" + "r" * 61,
            "from": pools[-1],
            "to": pools[0],
            "match": {"models": models[::-1], "headers": [header] * 16},
            "steps": [{"weight": weight, "pause": "8760h"} for weight in range(32)],
            "analysis": {
                "checks": [
                    {"name": f"{index:02}" + "c" * 61, "query": "{{pool}}" * 512, "max": "9" * 9}
                    for index in range(16)
                ],
                "hardLimits": [{"metric": "errorRate", "max": "1.000000000"}] * 8,
                "prometheus": {"address": "http://prometheus.monitoring:9090"},
            },
            "hooks": [
                {"name": f"{index}" + "h" * 62, "url": "http://h/" + "h" * 1000, "at": "BeforeStep"}
                for index in range(8)
            ],
        },
    }


def largest_pool() -> dict[str, Any]:
    label = "h" * 63
    names = [f"{index:02}" + "p" * 126 for index in range(64)]
    return {
        "model": "m" * 512,
        "endpoints": [
            f"{index:04}.{label}.{label}.{label}.{'h' * 50}:65535" for index in range(1000)
        ],
        "parameters": {"drop": names[:32], "rename": dict(zip(names[32:], names, strict=False))},
        "dataClasses": [f"{index:02}" + "d" * 61 for index in range(32)],
    }


@pytest.mark.parametrize(
    ("kind", "spec"), [("ModelRoute", largest_route()), ("ModelPool", largest_pool())]
)
def test_the_largest_resources_do_not_exhaust_the_rules_budget(
    kubernetes: Kubernetes, namespace: str, kind: str, spec: dict[str, Any]
) -> None:
    said = dry_run(kubernetes, namespace, json.dumps(manifest(kind, spec)))
    assert "created (server dry run)" in said
