"""What a router's containers are in real pods: who they run as, and what they can reach."""

from __future__ import annotations

import json

import pytest

from cluster.node.away import ROUTER_PODS
from cluster.node.installation import Routed
from modelrouter.plan.deployment import (
    AGENT,
    AGENT_USER,
    ENVOY,
    ENVOY_USER,
    RUNTIME_DIR,
    SHARED_GROUP,
    STATE_DIR,
    TOKEN_DIR,
)

USERS = {AGENT: AGENT_USER, ENVOY: ENVOY_USER}


@pytest.fixture
def routers(example: Routed) -> list[str]:
    """The two pods of the example's router."""
    example.wait_until_ready()
    found = example.pods(ROUTER_PODS)
    assert len(found) == 2
    return found


def run(routed: Routed, pod: str, container: str, script: str) -> str:
    """What a shell in the container prints, errors as well."""
    return routed.workloads.kubectl(
        "exec", pod, "-c", container, "--", "sh", "-c", f"{script} 2>&1 || true"
    ).strip()


@pytest.mark.parametrize("container", [AGENT, ENVOY])
def test_each_container_is_a_user_of_its_own_without_any_rights(
    example: Routed, routers: list[str], container: str
) -> None:
    user = USERS[container]
    for pod in routers:
        assert run(example, pod, container, "id -u; id -g").split() == [str(user)] * 2
        assert str(SHARED_GROUP) in run(example, pod, container, "id -G").split()
        status = dict(
            line.split(":\t", 1)
            for line in run(example, pod, container, "cat /proc/1/status").splitlines()
            if ":\t" in line
        )
        # Process 1 is what serves, not a shell beside it.
        assert status["Uid"].split() == [str(user)] * 4
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"


@pytest.mark.parametrize("container", [AGENT, ENVOY])
def test_the_root_is_read_only(example: Routed, routers: list[str], container: str) -> None:
    for pod in routers:
        for path in ("/written", "/tmp/written", "/etc/written"):
            assert "Read-only file system" in run(example, pod, container, f"touch {path}")


def test_only_the_agent_has_a_token_and_the_last_good_configuration(
    example: Routed, routers: list[str]
) -> None:
    for pod in routers:
        here = f"test -s {TOKEN_DIR}/token && echo token; ls {STATE_DIR}"
        assert run(example, pod, AGENT, here).splitlines()[0] == "token"
        assert "No such file" in run(example, pod, ENVOY, f"ls {TOKEN_DIR}")
        assert "No such file" in run(example, pod, ENVOY, f"ls {STATE_DIR}")
        mounts = run(example, pod, ENVOY, "cat /proc/self/mounts")
        assert RUNTIME_DIR in mounts
        assert "serviceaccount" not in mounts
        # Nor does it find the agent's processes, or a token in the environment.
        assert "modelrouter" not in run(example, pod, ENVOY, "cat /proc/[0-9]*/comm")
        assert "eyJ" not in run(example, pod, ENVOY, "env")


def test_what_the_two_share_is_closed_to_others(example: Routed, routers: list[str]) -> None:
    listing = "import os, sys\n" + (
        "for name in sorted(os.listdir(sys.argv[1])):\n"
        "    found = os.stat(os.path.join(sys.argv[1], name))\n"
        "    print(name, found.st_gid, found.st_mode & 7)\n"
    )
    for pod in routers:
        exec_ = ("exec", pod, "-c", AGENT, "--", "python3", "-c", listing, RUNTIME_DIR)
        lines = [line.split() for line in example.workloads.kubectl(*exec_).splitlines()]
        assert len(lines) > 2
        for name, group, others in lines:
            assert (group, others) == (str(SHARED_GROUP), "0"), name


def test_a_pods_description_says_the_same(example: Routed, routers: list[str]) -> None:
    for name in routers:
        pod = example.workloads.get("pod", name)
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["fsGroup"] == SHARED_GROUP
        (agent,), (envoy,) = spec["initContainers"], spec["containers"]
        assert [mount["mountPath"] for mount in envoy["volumeMounts"]] == [RUNTIME_DIR]
        assert TOKEN_DIR in [mount["mountPath"] for mount in agent["volumeMounts"]]
        for container in (agent, envoy):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            # Keys come by watching, never by environment variables or files.
            assert "secret" not in json.dumps([container.get("env"), spec["volumes"]])
