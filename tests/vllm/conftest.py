"""The real vLLM, made before the first test if it is not there: `make test-vllm`."""

from __future__ import annotations

import pytest

from vllm.environment import MissingError, RealVllm, real_vllm
from vllm.figures import FIGURES


@pytest.fixture(scope="session")
def real() -> RealVllm:
    """The environment and the model."""
    try:
        return real_vllm()
    except MissingError as error:
        pytest.fail(f"no vLLM: {error}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)
