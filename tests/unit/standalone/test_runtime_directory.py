"""The directory with keys in it is private and does not stay behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelrouter.standalone.runtime_directory import runtime_directory


def test_it_is_private_and_gone_afterwards():
    with runtime_directory() as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "deep").mkdir()
        (path / "deep" / "key").write_text("secret")
    assert not path.exists()


def test_it_is_gone_after_an_error():
    with pytest.raises(RuntimeError), runtime_directory() as path:  # noqa: PT012
        kept = path
        raise RuntimeError
    assert not kept.exists()


def test_it_is_gone_even_after_kill_9():
    code = (
        "import time; from modelrouter.standalone.runtime_directory import runtime_directory\n"
        "with runtime_directory() as path:\n"
        "    (path / 'key').write_text('secret'); print(path, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        assert path.exists()
        process.kill()
    deadline = time.monotonic() + 5
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
