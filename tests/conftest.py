"""`--rewrite-golden` writes what the plan makes today as what is expected."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="rewrite the expected files")
