"""`modelrouter canary …` from the command line to what the API server gets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from modelrouter.api.canary import CANARY_ANNOTATION, Canary
from modelrouter.cli import app
from unit.cli.apiserver import ApiServer

SPEC = {
    "from": "llama",
    "to": "next",
    "steps": [{"weight": 5, "pause": "10m"}, {"weight": 25}, {"weight": 50, "pause": "10m"}],
    "analysis": {
        "checks": [{"metric": "successRate", "min": "0.99"}],
        "failuresBeforeRollback": 2,
    },
}
CHECK = {"name": "successRate", "value": "0.98", "stable": "0.995", "bound": "min 0.99"}

Run = Callable[..., Result]


def a_route(status: dict[str, Any] | None = None, **canary: Any) -> dict[str, Any]:
    spec = {**SPEC, **canary}
    known = {
        "phase": "Progressing",
        "id": Canary.model_validate(spec).id,
        "rule": "pools",
        "from": "llama",
        "to": "next",
        "step": 1,
        "steps": 3,
        "weight": 5,
        "since": "2026-01-01T12:00:00.000Z",
    }
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {
            "name": "support",
            "namespace": "ai",
            "generation": 3,
            "resourceVersion": "7",
            "annotations": {"team": "blue"},
        },
        "spec": {"models": ["support"], "pools": ["llama", "next"], "canary": spec},
        "status": {
            "observedGeneration": 3,
            "canary": None if status is None else {**known, **status},
        },
    }


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(a_route({})) as server:
        yield server


@pytest.fixture
def run(server: ApiServer, tmp_path: Path) -> Run:
    path = server.kubeconfig(tmp_path / "config", "ai")

    def run(*arguments: str, environment: dict[str, str] | None = None) -> Result:
        given = {"KUBECONFIG": str(path), "COLUMNS": "160", "NO_COLOR": "1"}
        return CliRunner().invoke(app, ["canary", *arguments], env=given | (environment or {}))

    return run


def annotation(server: ApiServer) -> str | None:
    found: str | None = server.route["metadata"]["annotations"].get(CANARY_ANNOTATION)
    return found


def annotated(server: ApiServer, value: str) -> None:
    server.route["metadata"]["annotations"][CANARY_ANNOTATION] = value


@pytest.mark.parametrize(
    ("command", "status", "before", "after"),
    [
        ("pause", {}, "", "pause"),
        ("pause", {"step": 0, "phase": "Pending", "weight": 0}, "", "pause"),
        ("resume", {"phase": "Paused", "pausedBy": "Annotation"}, "pause", None),
        ("resume", {"phase": "Paused", "pausedBy": "Step", "step": 2}, "", "resume:2"),
        ("resume", {"phase": "Paused", "pausedBy": "Step", "step": 2}, "resume:1", "resume:2"),
        ("promote", {}, "", "promote:next"),
        ("promote", {"phase": "Paused", "pausedBy": "Annotation"}, "pause", "promote:next"),
        ("abort", {}, "", "abort"),
        ("abort", {"phase": "Promoted", "step": 3, "weight": 100}, "promote:next", "abort"),
    ],
)
def test_levers_write_the_annotation_and_nothing_else(
    server: ApiServer, run: Run, command: str, status: dict[str, Any], before: str, after: str
) -> None:
    server.route = a_route(status)
    if before:
        annotated(server, before)
    result = run(command, "support")
    assert result.exit_code == 0, result.output
    assert annotation(server) == after
    assert server.route["metadata"]["annotations"]["team"] == "blue"
    ((manager, patch),) = server.patches
    assert manager == "modelrouter-cli"
    assert patch == {
        "metadata": {
            "name": "support",
            "namespace": "ai",
            "annotations": {CANARY_ANNOTATION: after},
        }
    }


ENDED = {"phase": "RolledBack", "weight": 0, "message": "successRate is too low"}


@pytest.mark.parametrize(
    ("arguments", "route", "before", "said"),
    [
        (["resume"], a_route({}), "", "is not paused: it is Progressing at step 1 of 3"),
        (
            ["resume", "--step", "1"],
            a_route({"phase": "Paused", "pausedBy": "Step", "step": 2}),
            "",
            "is at step 2 of 3, not at step 1",
        ),
        (
            ["resume"],
            a_route({"phase": "Paused", "pausedBy": "Spec"}, paused=True),
            "",
            "set it to false where its manifest is",
        ),
        (["resume"], a_route(), "", "has not looked at the canary of ModelRoute ai/support yet"),
        (["promote"], a_route(), "", "has not looked at the canary"),
        (["promote"], a_route({"id": "other"}), "", "has not looked at the canary"),
        (["promote"], a_route({}, aborted=True), "", "spec.canary.aborted: true"),
        (
            ["promote"],
            a_route({"ignoredAnnotation": "promote:next"}),
            "promote:next",
            "from an earlier canary, which does not count for this one; take it away",
        ),
        (
            ["resume"],
            a_route({"phase": "Paused", "pausedBy": "Step", "ignoredAnnotation": "resume:1"}),
            "resume:1",
            "from an earlier canary",
        ),
        (["pause"], a_route(ENDED), "", "has ended (RolledBack), there is nothing to pause"),
        (["promote"], a_route(ENDED), "", "name another pool in spec.canary.to"),
        (["pause"], a_route({"phase": "Aborted"}), "abort", f"{CANARY_ANNOTATION}-"),
        (["pause"], a_route({}), "abort", "is being aborted"),
        (
            ["promote"],
            a_route({"phase": "Promoted", "message": "put next in place of llama"}),
            "",
            "put next in place of llama",
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_left(
    server: ApiServer,
    run: Run,
    arguments: list[str],
    route: dict[str, Any],
    before: str,
    said: str,
) -> None:
    server.route = json.loads(json.dumps(route))
    if before:
        annotated(server, before)
    result = run(arguments[0], "support", *arguments[1:])
    assert result.exit_code == 2
    assert said in result.output
    assert server.patches == []


def test_a_route_that_is_not_there(run: Run) -> None:
    result = run("abort", "another")
    assert result.exit_code == 2
    assert "there is no ModelRoute ai/another; see: kubectl get mroute -A" in result.output


def test_a_route_without_a_canary(server: ApiServer, run: Run) -> None:
    del server.route["spec"]["canary"]
    result = run("status", "support")
    assert result.exit_code == 2
    assert "ModelRoute ai/support has no canary" in result.output


def test_a_canary_of_a_newer_version(server: ApiServer, run: Run) -> None:
    server.route["spec"]["canary"]["warp"] = 9
    result = run("promote", "support")
    assert result.exit_code == 2
    assert "cannot read spec.canary of ModelRoute ai/support: warp" in result.output


def test_an_api_server_that_refuses(server: ApiServer, run: Run) -> None:
    server.refusal = (403, "Forbidden")
    result = run("pause", "support")
    assert result.exit_code == 2
    assert "Forbidden" in result.output
    assert "planted-token" not in result.output


def test_no_cluster_to_be_found(run: Run, tmp_path: Path) -> None:
    result = run("status", "support", environment={"KUBECONFIG": str(tmp_path / "none")})
    assert result.exit_code == 2
    assert str(tmp_path / "none") in result.output


def test_the_namespace_is_the_options_then_the_contexts_then_default(
    server: ApiServer, run: Run, tmp_path: Path
) -> None:
    assert "elsewhere/support" in run("status", "support", "-n", "elsewhere").output
    assert "elsewhere/support" in run("status", "support", "--context", "elsewhere").output
    plain = server.kubeconfig(tmp_path / "plain")
    assert "default/support" in run("status", "support", "--kubeconfig", str(plain)).output


def test_status_for_people(server: ApiServer, run: Run) -> None:
    server.route = a_route(
        {
            "step": 2,
            "weight": 25,
            "phase": "Paused",
            "pausedBy": "Step",
            "failures": 1,
            "analysis": "Failing",
            "checks": [{**CHECK, "outcome": "Fail"}],
            "message": "waits to be resumed",
        }
    )
    result = run("status", "support")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "support: Paused, step 2 of 3, 25 % of llama to next (rule pools)"
    assert lines[1] == "waits to be resumed"
    table = "\n".join(" ".join(line.split()) for line in lines)
    assert "1 5 % 10m done" in table
    assert "2 25 % until resumed since" in table
    assert "analysis Failing" in table
    assert "3 50 % 10m" in table
    assert "successRate 0.98 0.995 min 0.99 Fail" in table
    assert lines[-1] == "1 of 2 failed analyses before it is rolled back"


def test_status_says_what_the_operator_has_not_seen(server: ApiServer, run: Run) -> None:
    server.route["metadata"]["generation"] = 4
    assert "has not looked at the latest change" in run("status", "support").output
    server.route = a_route({"id": "another"})
    assert "has not looked at this canary yet" in run("status", "support").output


def test_status_for_programs(server: ApiServer, run: Run) -> None:
    annotated(server, "pause")
    found = json.loads(run("status", "support", "-o", "json").stdout)
    assert found["namespace"] == "ai"
    assert found["name"] == "support"
    assert found["upToDate"] is True
    assert found["annotation"] == "pause"
    assert found["canary"]["phase"] == "Progressing"
    assert found["canary"]["weight"] == 5
    server.route = a_route()
    assert json.loads(run("status", "support", "-o", "json").stdout)["canary"] is None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelrouter.cli.canary_routes.LOOK_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("phase", "code"), [("Promoted", 0), ("RolledBack", 1), ("Aborted", 1)])
def test_waiting_ends_with_the_canary(server: ApiServer, run: Run, phase: str, code: int) -> None:
    def go_on(number: int) -> None:
        server.refusal = None
        if number == 3:
            server.route = a_route({"step": 2, "weight": 25})
        elif number == 5:
            server.route = a_route({"phase": phase, "step": 3, "weight": 100})

    server.before_answer = go_on
    result = run("status", "support", "--wait")
    assert result.exit_code == code
    told = result.stderr.splitlines()
    assert [line.split(",")[0] for line in told] == [
        "support: Progressing",
        "support: Progressing",
        f"support: {phase}",
    ]


@pytest.mark.usefixtures("quick")
def test_waiting_does_not_take_the_status_before_a_change_for_the_end(
    server: ApiServer, run: Run
) -> None:
    server.route = a_route({"phase": "RolledBack"})
    server.route["metadata"]["generation"] = 4

    def go_on(number: int) -> None:
        if number == 3:
            server.route = a_route({"phase": "Promoted"})

    server.before_answer = go_on
    assert run("status", "support", "--wait").exit_code == 0


@pytest.mark.usefixtures("quick")
def test_waiting_in_vain(run: Run) -> None:
    result = run("status", "support", "--wait", "--timeout", "0.05")
    assert result.exit_code == 3
    assert "has not ended within 0.05 s" in result.stderr
