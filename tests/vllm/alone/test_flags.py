"""vLLM's own parser reads what the operator writes, as it is meant."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrouter.api.vllm import _OWN_FLAGS
from vllm.environment import RealVllm
from vllm.overlay import variables
from vllm.serving import NICE

TESTS = Path(__file__).resolve().parents[2]
PARSING = TESTS / "vllm" / "parsing.py"
GOLDEN = TESTS / "unit" / "plan"
_UNTOLD = "modelrouter-was-here"


def planned() -> dict[str, list[str]]:
    """Arguments of the container `vllm` in all expected files of the plan's tests, by place."""
    found: dict[str, list[str]] = {}
    for path in sorted(GOLDEN.glob("*/*/out*.yaml")):
        for number, args in enumerate(_arguments(list(yaml.safe_load_all(path.read_text())))):
            found[f"{path.relative_to(GOLDEN).parent} {number}"] = args
    return found


def _arguments(node: Any) -> Iterable[list[str]]:
    if isinstance(node, dict):
        if node.get("name") == "vllm" and node.get("command") == ["vllm", "serve"]:
            yield node["args"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _arguments(child)


def understood(real: RealVllm, lines: Iterable[list[str]]) -> list[dict[str, Any] | str]:
    """What vLLM takes command lines for, or its complaint."""
    done = subprocess.run(
        [*NICE, str(real.python), "-I", str(PARSING)],
        input="\n".join(json.dumps(line) for line in lines),
        env=os.environ | variables(real),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("understood ")]
    return [json.loads(line.removeprefix("understood ")) for line in said]


def test_every_planned_command_is_understood_as_it_is_meant(real: RealVllm) -> None:
    commands = planned()
    assert len(commands) >= 4, "the plan's expected files have hardly any pods of vLLM"
    answers = understood(real, commands.values())
    for (place, args), answer in zip(commands.items(), answers, strict=True):
        assert isinstance(answer, dict), f"{place}: {answer}"
        assert answer["model_tag"] == args[0], place
        for arg in args[1:]:
            flag, equals, value = arg.removeprefix("--").partition("=")
            told = answer[flag.replace("-", "_")]
            meant = value if equals else "True"
            assert str(told) in (meant, str([meant])), f"{place}: {arg} was taken for {told}"


def test_a_flag_that_vllm_does_not_know_would_be_seen(real: RealVllm) -> None:
    (answer,) = understood(real, [["model", f"--{_UNTOLD}=1"]])
    assert isinstance(answer, str)
    assert _UNTOLD in answer


@pytest.mark.parametrize("flag", sorted(_OWN_FLAGS))
def test_flags_that_users_may_not_give_are_vllms(flags: dict[str, list[str]], flag: str) -> None:
    assert f"--{flag}" in flags or flag in ("model",), f"vLLM has no --{flag}"


def test_no_other_spelling_of_these_flags_is_left(flags: dict[str, list[str]]) -> None:
    own = {f"--{flag}" for flag in _OWN_FLAGS} | {"-tp"}
    others = {
        spelling
        for flag in own & flags.keys()
        for spelling in flags[flag]
        if spelling not in own
    }  # fmt: skip
    assert not others


@pytest.fixture(scope="module")
def flags(real: RealVllm) -> dict[str, list[str]]:
    """All spellings of each flag, by each of them."""
    done = subprocess.run(
        [*NICE, str(real.python), "-I", str(PARSING), "--flags"],
        env=os.environ | variables(real),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("flags ")]
    spellings: list[list[str]] = json.loads(said[0].removeprefix("flags "))
    return {spelling: group for group in spellings for spelling in group}
