"""Watching manifests: one wake-up per edit, however the edit is made.

Editors write in place or rename a new file over the old one; Kubernetes swaps a symlink above
all files of a ConfigMap. So directories are watched rather than files, and what decides is
whether what the paths lead to has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import watchfiles

from modelrouter.api.manifests import manifest_files

_STEP, _DEBOUNCE = 20, 40
"""Milliseconds: an edit is over when nothing happened for a step, or after the debounce."""
_SAFETY_NET = 2_000
"""Milliseconds after which the files are looked at even if the kernel reported nothing, as on
network file systems."""
_WRITER_PATIENCE = 1.0
"""Seconds for which a file that somebody has open for writing is waited for."""

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Per file: path, inode, size in bytes and time of the last change in nanoseconds."""


def fingerprint(paths: Sequence[Path]) -> Fingerprint:
    """What tells one state of the manifests from the next."""
    marks = []
    for file in manifest_files(paths, []):
        with contextlib.suppress(OSError):
            stat = file.stat()
            marks.append((str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(marks)


def last_change(paths: Sequence[Path]) -> float:
    """When the manifests were last written: seconds since the epoch; 0 when there are none."""
    return max((mark[3] / 1e9 for mark in fingerprint(paths)), default=0.0)


def watched_directories(paths: Sequence[Path]) -> set[Path]:
    """The directories in which an edit of the manifests can happen.

    For a directory that is itself; for a file the directory it stands in; and for every symlink
    on the way those of its target as well.
    """
    directories: set[Path] = set()
    for path in paths:
        steps = _symlink_chain(path.absolute())
        # The parent tells of the directory being swapped, moved away or coming into being.
        directories |= {_existing(step.parent) for step in steps}
        if steps[-1].is_dir():
            directories.add(steps[-1])
    for file in manifest_files(paths, []):
        directories |= {_existing(step.parent) for step in _symlink_chain(file.absolute())}
    return directories


async def edits(paths: Sequence[Path]) -> AsyncIterator[None]:
    """Yield after every change to the manifests, once nobody is writing to them any more."""
    last = fingerprint(paths)
    while True:
        directories = watched_directories(paths)
        async for _ in watchfiles.awatch(
            *directories,
            watch_filter=None,
            step=_STEP,
            debounce=_DEBOUNCE,
            rust_timeout=_SAFETY_NET,
            yield_on_timeout=True,
            recursive=False,
            ignore_permission_denied=True,
        ):
            if fingerprint(paths) != last:
                await written(paths)
                last = fingerprint(paths)
                yield
            if watched_directories(paths) != directories:
                break
        # Between one watch and the next an edit may have gone unseen: compare at once.
        if fingerprint(paths) != last:
            await written(paths)
            last = fingerprint(paths)
            yield


async def written(paths: Sequence[Path]) -> None:
    """Wait until nobody has a manifest open for writing.

    Half a file can be valid YAML that says something else: a route without its last rules. An
    editor that writes in place has the file open until it is whole.
    """
    waited = 0.0
    while waited < _WRITER_PATIENCE and any(
        is_being_written(file) for file in manifest_files(paths, [])
    ):
        await asyncio.sleep(0.002)
        waited += 0.002


def is_being_written(file: Path) -> bool:
    """Whether somebody has the file open for writing. False where the kernel cannot tell.

    The kernel grants a read lease only on a file that nobody has open for writing.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # A writer that comes in this instant breaks the lease, and the holder gets a signal:
        # SIGIO, which kills, unless told otherwise. SIGURG is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, int(signal.SIGURG))
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _symlink_chain(path: Path) -> list[Path]:
    """The path and, while it is a symlink in its last part, what it points to."""
    chain = [path]
    for _ in range(40):  # the kernel's own limit
        try:
            target = chain[-1].readlink()
        except OSError:
            break
        chain.append(Path(os.path.normpath(chain[-1].parent / target)))
    # Symlinks further up, such as the `..data` of a ConfigMap: the swap happens beside them.
    for link in list(chain):
        for parent in link.parents:
            if parent.is_symlink():
                chain += _symlink_chain(parent)
    chain.append(path.resolve())
    return chain


def _existing(directory: Path) -> Path:
    while not directory.is_dir():
        directory = directory.parent
    return directory
