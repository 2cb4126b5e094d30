"""The Applications of examples/argocd: they install this chart and these manifests, in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from modelrouter import __version__
from modelrouter.api.manifests import load_manifests

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "argocd"
WAVE = "argocd.argoproj.io/sync-wave"


def application(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert (found["apiVersion"], found["kind"]) == ("argoproj.io/v1alpha1", "Application")
    return found


def wave(found: dict[str, Any]) -> int:
    return int(found["metadata"]["annotations"][WAVE])


def test_the_operator_goes_before_the_models():
    assert wave(application("operator")) < wave(application("models"))


def test_sources_are_in_this_repository():
    for name in ("operator", "models"):
        source = application(name)["spec"]["source"]
        assert (ROOT / source["path"]).is_dir()
        assert source["targetRevision"] == f"v{__version__}"


def test_values_are_known_to_the_chart():
    values = application("operator")["spec"]["source"]["helm"]["valuesObject"]
    schema = json.loads((ROOT / "charts/model-router/values.schema.json").read_text())

    def walk(given: dict[str, Any], node: dict[str, Any]) -> None:
        for name, value in given.items():
            assert name in node["properties"]
            if isinstance(value, dict) and "properties" in node["properties"][name]:
                walk(value, node["properties"][name])

    walk(values, schema)


def test_everything_is_applied_by_the_server():
    for name in ("operator", "models"):
        options = application(name)["spec"]["syncPolicy"]["syncOptions"]
        assert "ServerSideApply=true" in options


def test_pools_go_before_the_routes_that_name_them():
    documents = [
        document
        for path in sorted((FOLDER / "models").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    pools = [found for found in documents if found["kind"] == "ModelPool"]
    routes = [found for found in documents if found["kind"] == "ModelRoute"]
    assert pools
    assert routes
    assert max(map(wave, pools)) < min(map(wave, routes))


def test_models_are_without_problems_and_read_only_secrets_that_the_operator_may():
    manifests = load_manifests([FOLDER / "models"])
    assert manifests.problems == []
    named = {
        pool.spec.provider.credentials.secret_ref.name
        for pool in manifests.pools.values()
        if pool.spec.provider and pool.spec.provider.credentials
    }
    rbac = application("operator")["spec"]["source"]["helm"]["valuesObject"]["rbac"]
    assert rbac["secretAccess"] == "named"
    assert named == set(rbac["secretNames"])
