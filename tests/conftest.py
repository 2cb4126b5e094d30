"""What holds for all tests: their order, how they are spread over processes, and one option."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ONE_BY_ONE = "tests/component/router/failover"
"""Hundreds of requests a second of which none may fail: each of these wants most of a core."""
FIRST = (ONE_BY_ONE, "tests/component/standalone")
"""What takes longest, so that nobody waits for it at the end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="rewrite the expected files")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _turn(item.nodeid))


def _turn(nodeid: str) -> int:
    return next((n for n, folder in enumerate(FIRST) if nodeid.startswith(folder)), len(FIRST))


class ByFile(LoadScopeScheduling):
    """The tests of a file share a process, and so what they start; so do those of `ONE_BY_ONE`."""

    def _split_scope(self, nodeid: str) -> str:
        return ONE_BY_ONE if nodeid.startswith(ONE_BY_ONE) else nodeid.split("::", 1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """With `--dist loadfile`."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return ByFile(config, log)
