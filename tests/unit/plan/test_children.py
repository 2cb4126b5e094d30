"""The objects of a router: what they are, and what they must never allow."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrouter.api.router_settings import RouterSettings
from modelrouter.plan.children import plan_children
from modelrouter.plan.deployment import DRAIN_FILE, DRAINED_FILE, RUNTIME_DIR
from modelrouter.plan.naming import labels, shard_index, shard_name
from unit.plan.golden import cases, check, dump


def planned(case: Path) -> list[dict[str, Any]]:
    given = yaml.safe_load((case / "in.yaml").read_text())
    return plan_children(
        given["router"],
        given["namespace"],
        given["shards"],
        given["secretNames"],
        RouterSettings.model_validate(given["settings"]),
    )


CASES = cases("children")


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return planned(request.param)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_router_becomes_the_expected_objects(case: Path, request: pytest.FixtureRequest) -> None:
    check(case, dump(planned(case)), request)


def test_every_object_is_found_by_its_labels(objects: list[dict[str, Any]]) -> None:
    for found in objects:
        metadata = found["metadata"]
        config = found["kind"] == "ConfigMap"
        router = metadata["labels"]["modelrouter.dev/router"]
        assert metadata["labels"] == labels(router, "router-config" if config else "router")
        name = f"model-router-{router}"
        assert (
            metadata["name"].startswith(f"{name}-config-") if config else metadata["name"] == name
        )
        assert metadata["namespace"] == "ai"
        assert "ownerReferences" not in metadata


def test_selectors_find_the_pods(objects: list[dict[str, Any]]) -> None:
    kinds = {found["kind"]: found for found in objects}
    template = kinds["Deployment"]["spec"]["template"]
    selectors = [
        kinds["Deployment"]["spec"]["selector"]["matchLabels"],
        kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        kinds["Service"]["spec"]["selector"],
    ]
    for selector in selectors:
        assert selector.items() <= template["metadata"]["labels"].items()
        assert "modelrouter.dev/router" in selector


def test_only_the_agent_has_a_token(objects: list[dict[str, Any]]) -> None:
    pod = next(found for found in objects if found["kind"] == "Deployment")["spec"]["template"]
    (agent,), (envoy,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "token" in [mount["name"] for mount in agent["volumeMounts"]]
    assert [mount["name"] for mount in envoy["volumeMounts"]] == ["runtime"]
    assert agent["restartPolicy"] == "Always"


def test_the_pods_meet_the_restricted_security_standard(objects: list[dict[str, Any]]) -> None:
    pod = next(found for found in objects if found["kind"] == "Deployment")["spec"]["template"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    users = set()
    for container in pod["spec"]["initContainers"] + pod["spec"]["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        users.add(security["runAsUser"])
    assert len(users) == 2
    assert 0 not in users


def secret_rules(names: list[str]) -> list[dict[str, Any]]:
    role = plan_children("r", "n", {}, names, RouterSettings())[1]
    return [rule for rule in role["rules"] if "secrets" in rule["resources"]]


def test_routers_read_the_secrets_that_are_named_and_no_others() -> None:
    (rule,) = secret_rules(["b", "a"])
    assert rule["resourceNames"] == ["a", "b"]
    assert rule["verbs"] == ["get", "list", "watch"]
    # A rule without names is a rule about all of them.
    assert secret_rules([]) == []


def test_nothing_empty_is_applied(objects: list[dict[str, Any]]) -> None:
    """The API server drops empty maps and lists, so they would differ for ever."""

    def empty(value: Any, path: str) -> list[str]:
        if not isinstance(value, dict | list):
            return []
        items = value.items() if isinstance(value, dict) else enumerate(value)
        below = [place for key, item in items for place in empty(item, f"{path}.{key}")]
        return below if value else [path]

    for found in objects:
        assert empty(found, found["kind"]) == []


def drain_script(tmp_path: Path) -> str:
    """What Envoy's container runs when its pod goes, in another directory."""
    settings = RouterSettings(termination_grace_period_seconds=15)
    deployment = plan_children("r", "n", {}, [], settings)[-1]
    envoy = deployment["spec"]["template"]["spec"]["containers"][0]
    command = envoy["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["/bin/sh", "-c"]
    script: str = command[2]
    return script.replace(RUNTIME_DIR, str(tmp_path))


def test_envoy_stays_until_the_agent_has_drained_it(tmp_path: Path) -> None:
    drain = tmp_path / Path(DRAIN_FILE).name
    # Time enough for a busy machine to notice and answer.
    script = drain_script(tmp_path).replace("timeout 12 ", "timeout 60 ")
    with subprocess.Popen(["/bin/sh", "-c", script]) as hook:
        deadline = time.monotonic() + 30
        while not drain.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert drain.exists()
        assert hook.poll() is None
        (tmp_path / Path(DRAINED_FILE).name).touch()
        assert hook.wait(timeout=30) == 0


def test_envoy_does_not_wait_for_ever_for_an_agent_that_is_dead(tmp_path: Path) -> None:
    script = drain_script(tmp_path)
    assert "timeout 12 " in script
    ended = subprocess.run(
        ["/bin/sh", "-c", script.replace("timeout 12 ", "timeout 0.2 ")], timeout=30, check=False
    )
    assert ended.returncode == 0


def test_requests_have_their_time_before_the_pod_is_killed() -> None:
    settings = RouterSettings(termination_grace_period_seconds=100)
    pod = plan_children("r", "n", {}, [], settings)[-1]["spec"]["template"]["spec"]
    arguments = pod["initContainers"][0]["args"]
    assert arguments[arguments.index("--drain-seconds") + 1] == "95"
    assert pod["terminationGracePeriodSeconds"] == 100


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("model-router-a-config-0", 0),
        ("model-router-a-config-12", 12),
        ("model-router-a-config-012", None),
        ("model-router-a-config-", None),
        ("model-router-a-config-x", None),
        ("model-router-b-config-0", None),
        ("model-router-a", None),
    ],
)
def test_a_shard_is_known_by_its_name(name: str, index: int | None) -> None:
    assert shard_index("a", name) == index
    if index is not None:
        assert shard_name("a", index) == name
