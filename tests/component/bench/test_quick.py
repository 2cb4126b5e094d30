"""The benchmarks run: not whether anything is fast, only whether it is measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bench.processes import module_environment

TABLE_ROW = re.compile(r"^\| Model Router \| [\d,.]+ \|", re.MULTILINE)


def test_a_quick_run_measures_the_router_beside_plain_envoy(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"

    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--output", str(page)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=module_environment(),
    )

    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert len(TABLE_ROW.findall(text)) == 2, text
    assert "p99 of a decision" in text
    assert "Failed" not in text
