"""The real vLLM and the simulated one side by side, each started once, with the same arguments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vllm.environment import RealVllm
from vllm.serving import ModelServer, serving_simulator, serving_vllm

LENGTH = 1024
"""Tokens that prompt and answer have room for."""
_ARGS = (
    "--served-model-name=tiny",
    f"--max-model-len={LENGTH}",
    "--shutdown-timeout=60",
    "--enable-lora",
    "--max-loras=4",
)


@pytest.fixture(scope="package")
def vllm(real: RealVllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """The real one."""
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with serving_vllm(real, log, *_ARGS, "--enforce-eager", "--max-lora-rank=8") as server:
        yield server


@pytest.fixture(scope="package")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """The simulated one."""
    log = tmp_path_factory.mktemp("simulator") / "simulator.log"
    with serving_simulator(log, *_ARGS) as server:
        yield server
