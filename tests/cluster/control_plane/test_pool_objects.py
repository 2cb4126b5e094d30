"""The objects planned for pools of model servers are what the API server takes, field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.kubernetes.access import Kubernetes
from modelrouter.controller.drift import differs
from modelrouter.plan.naming import OPERATOR

CASES = sorted((Path(__file__).parents[2] / "unit" / "plan" / "pools").iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_planned_objects_are_accepted_and_then_as_planned(
    kubernetes: Kubernetes, namespace: str, case: Path
) -> None:
    for planned in yaml.safe_load_all((case / "out.yaml").read_text()):
        planned["metadata"]["namespace"] = namespace
        live = applied(kubernetes, planned)
        assert differs(planned, live, OPERATOR) == "", planned["metadata"]["name"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pools_are_stored_as_they_were_written(
    kubernetes: Kubernetes, crds: None, namespace: str, case: Path
) -> None:
    """What `podTemplate` holds, directives among it, is no business of the API server's yet."""
    for pool in yaml.safe_load_all((case / "in.yaml").read_text()):
        pool["metadata"] = {"name": pool["metadata"]["name"], "namespace": namespace}
        live = applied(kubernetes, pool)
        written, stored = pool["spec"]["vllm"], live["spec"]["vllm"]
        assert stored.get("podTemplate") == written.get("podTemplate")
        assert stored["image"] == written["image"]


def applied(kubernetes: Kubernetes, planned: dict[str, Any]) -> dict[str, Any]:
    """The object as it would be; raises KubectlError if anything of it is refused or unknown."""
    options = ("--server-side", "--dry-run=server", "--validate=strict", "-o", "json")
    manager = f"--field-manager={OPERATOR}"
    said = kubernetes.kubectl(
        "apply", *options, "--show-managed-fields", manager, "-f", "-", input=json.dumps(planned)
    )
    live: dict[str, Any] = json.loads(said)
    return live
