"""The directory that the running processes share: sockets, configurations and keys."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "modelrouter-"

# Removes the directory once the pipe closes, which the kernel does however this process ends.
# The children die at the same moment and may still be writing: hence more than one try.
_JANITOR = """
trap '' INT TERM HUP
read -r _
for _ in 1 2 3 4 5; do [ -e "$1" ] || exit; rm -rf -- "$1"; sleep 0.1; done
"""


@contextmanager
def runtime_directory() -> Iterator[Path]:
    """A new directory for this user only, removed at the end, even if this process is killed.

    It holds provider keys, so it is kept in memory where the machine has `/dev/shm`.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_base()))
    janitor = subprocess.Popen(
        ["/bin/sh", "-c", _JANITOR, "janitor", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # In a group of its own a Ctrl-C in the terminal does not end it early.
        start_new_session=True,
    )
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        assert janitor.stdin is not None
        janitor.stdin.close()
        janitor.wait()


def _base() -> str | None:
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK | os.X_OK)
    return str(memory) if usable else None
