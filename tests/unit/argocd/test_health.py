"""Argo CD's health checks of both kinds, by a real Lua interpreter on statuses as they are written.

Argo CD runs them in Lua 5.1 with little more than the base library, so that is all they get here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrouter.api.canary_status import CanaryPhase
from unit.plan.cluster_state import Cluster
from unit.plan.golden import cases

ROOT = Path(__file__).parents[3]
SETTINGS = yaml.safe_load((ROOT / "examples" / "argocd" / "argocd-cm.yaml").read_text())["data"]
PREFIX = "resource.customizations.health."
HEALTHS = yaml.safe_load((Path(__file__).parent / "healths.yaml").read_text())
"""What each reason of a condition that does not hold means to Argo CD, by kind."""
STATUSES = {
    f"{case.name}: {name}": (name.split("/")[0], status)
    for case in cases("statuses")
    for name, status in Cluster((case / "in.yaml").read_text())
    .statuses("2026-01-01T12:00:00Z")
    .items()
}
_IN_A_CELL = """
local script, obj = assert(loadstring(%s)), %s
local cell = {ipairs = ipairs, pairs = pairs, type = type, tostring = tostring, tonumber = tonumber,
  string = string, table = table, obj = obj}
setfenv(script, cell)
local health = script()
print(health.status)
print(health.message)
"""


def literal(value: Any) -> str:
    """A value of JSON as Lua writes it."""
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case dict():
            items = ",".join(f"[{literal(key)}]={literal(part)}" for key, part in value.items())
            return "{" + items + "}"
        case list():
            return "{" + ",".join(literal(part) for part in value) + "}"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\\/", "/")
        case _:
            return str(value)


@pytest.fixture(scope="module")
def lua() -> str:
    """The interpreter. Where checks must not be left out, its absence is a failure."""
    for name in ("lua5.1", "luajit"):
        if path := shutil.which(name):
            return path
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail("no Lua 5.1: apt-get install lua5.1", pytrace=False)
    pytest.skip("no Lua 5.1: apt-get install lua5.1")


def health(lua: str, kind: str, obj: dict[str, Any]) -> tuple[str, str]:
    """Status and message that Argo CD shows for a resource."""
    group = "argoproj.io" if kind == "Application" else "modelrouter.dev"
    script = SETTINGS[f"{PREFIX}{group}_{kind}"]
    done = subprocess.run(
        [lua, "-"],
        input=_IN_A_CELL % (literal(script), literal(obj)),
        capture_output=True,
        text=True,
        check=True,
    )
    status, message = done.stdout.split("\n", 1)
    return status, message.strip()


def resource(status: dict[str, Any] | None, generation: int) -> dict[str, Any]:
    metadata = {"name": "support", "namespace": "ai", "generation": generation}
    return {"metadata": metadata, "spec": {}, **({"status": status} if status else {})}


@pytest.mark.parametrize("name", STATUSES)
def test_health_is_that_of_the_worst_reason(lua: str, name: str):
    kind, status = STATUSES[name]
    conditions = status["conditions"]
    healths = [
        HEALTHS[kind].get(f"{condition['reason']} of {condition['type']}")
        or HEALTHS[kind][condition["reason"]]
        for condition in conditions
        if condition["status"] != "True"
    ]
    worst = min(healths, key=["Degraded", "Progressing", "Healthy"].index, default="Healthy")
    seen, message = health(lua, kind, resource(status, status["observedGeneration"]))
    assert seen == worst, message
    assert message in {
        text
        for condition in conditions
        for text in (condition["message"], f"{condition['reason']}: {condition['message']}")
    }


def test_every_reason_is_tried():
    seen = {
        kind: {
            condition["reason"]
            for of, status in STATUSES.values()
            for condition in status["conditions"]
            if of == kind and condition["status"] != "True"
        }
        for kind in HEALTHS
    }
    for kind, healths in HEALTHS.items():
        assert {reason.split()[0] for reason in healths} == seen[kind]


@pytest.mark.parametrize("kind", ["ModelPool", "ModelRoute"])
@pytest.mark.parametrize(
    ("status", "generation"),
    [
        (None, 1),
        ({"observedGeneration": 1, "conditions": []}, 1),
        ({"observedGeneration": 1}, 1),
        ({"conditions": []}, 1),
        (
            {
                "observedGeneration": 1,
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "Ready", "message": "old"}
                ],
            },
            2,
        ),
    ],
    ids=["new", "no conditions yet", "no list yet", "no generation yet", "changed since"],
)
def test_what_the_operator_has_not_seen_is_progressing(
    lua: str, kind: str, status: dict[str, Any] | None, generation: int
):
    seen, message = health(lua, kind, resource(status, generation))
    assert seen == "Progressing"
    assert message.startswith("The operator has not")


def test_an_operator_that_is_refused_its_writes_is_degraded(lua: str):
    conditions = [
        {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""},
        {"type": "Programmed", "status": "False", "reason": "RouterNotApplied", "message": "no"},
        {"type": "Ready", "status": "False", "reason": "RouterNotApplied", "message": "no"},
    ]
    status = {"observedGeneration": 1, "conditions": conditions}
    assert health(lua, "ModelRoute", resource(status, 1)) == ("Degraded", "RouterNotApplied: no")


READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "fine"}
NO_ENDPOINTS = {"type": "Ready", "status": "False", "reason": "NoEndpoints", "message": "none"}
NO_POOL = {"type": "ResolvedRefs", "status": "False", "reason": "PoolNotFound", "message": "gone"}


def with_canary(phase: str | None, *conditions: dict[str, str]) -> dict[str, Any]:
    """A route whose canary is in a phase."""
    status: dict[str, Any] = {"observedGeneration": 1, "conditions": list(conditions) or [READY]}
    if phase is not None:
        status["canary"] = {"phase": phase, "message": "why"}
    found = resource(status, 1)
    found["spec"]["canary"] = {"from": "a", "to": "b", "steps": [{"weight": 5}]}
    return found


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (CanaryPhase.PENDING, "Progressing"),
        (CanaryPhase.PROGRESSING, "Progressing"),
        (CanaryPhase.PAUSED, "Suspended"),
        (CanaryPhase.PROMOTED, "Healthy"),
        (CanaryPhase.ROLLED_BACK, "Degraded"),
        (CanaryPhase.ABORTED, "Degraded"),
    ],
)
def test_health_of_a_canary(lua: str, phase: CanaryPhase, expected: str):
    seen, message = health(lua, "ModelRoute", with_canary(phase.value))
    assert (seen, message) == (expected, f"{phase.value}: why")


def test_every_phase_of_a_canary_has_a_health():
    (cases,) = (m for m in test_health_of_a_canary.pytestmark if m.name == "parametrize")
    assert {phase for phase, _ in cases.args[1]} == set(CanaryPhase)


@pytest.mark.parametrize(
    ("phase", "condition", "expected"),
    [
        ("RolledBack", NO_ENDPOINTS, "Degraded"),
        ("Paused", NO_ENDPOINTS, "Progressing"),
        ("Promoted", NO_ENDPOINTS, "Progressing"),
        ("Progressing", NO_POOL, "Degraded"),
        ("Paused", NO_POOL, "Degraded"),
    ],
)
def test_the_worst_of_canary_and_conditions_counts(
    lua: str, phase: str, condition: dict[str, str], expected: str
):
    assert health(lua, "ModelRoute", with_canary(phase, condition))[0] == expected


def test_a_canary_that_nobody_has_looked_at_is_progressing(lua: str):
    seen, message = health(lua, "ModelRoute", with_canary(None))
    assert (seen, message) == ("Progressing", "The operator has not looked at the canary yet")


def test_what_is_left_of_a_canary_that_is_gone_does_not_count(lua: str):
    found = with_canary("RolledBack")
    del found["spec"]["canary"]
    assert health(lua, "ModelRoute", found) == ("Healthy", "fine")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, "Progressing"),
        ({}, "Progressing"),
        ({"health": {}}, "Progressing"),
        ({"health": {"status": "Degraded"}}, "Degraded"),
        ({"health": {"status": "Healthy", "message": "fine"}}, "Healthy"),
    ],
)
def test_health_of_an_application(lua: str, status: dict[str, Any] | None, expected: str):
    assert health(lua, "Application", {"metadata": {}, "status": status})[0] == expected
