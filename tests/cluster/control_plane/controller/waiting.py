"""Waiting for something to become true in a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(
    check: Callable[[], Found | None], *, within: float = 30.0, every: float = 0.1
) -> Found:
    """Wait until a check returns something true, and return that.

    An assertion that fails in the check counts as not yet; the last one is raised at the end.
    """
    deadline = time.monotonic() + within
    while True:
        failure: AssertionError | None = None
        found = None
        try:
            found = check()
        except AssertionError as error:
            failure = error
        if failure is None and found:
            return found
        if time.monotonic() > deadline:
            if failure is not None:
                raise failure
            raise AssertionError(f"still {found!r} after {within:.0f} s")
        time.sleep(every)
