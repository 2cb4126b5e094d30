"""The benchmark of conversations runs, and tells what it saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import prefixes


def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CONVERSATIONS", 4), ("CLIENTS", 2), ("OPEN", 2), ("TURNS", 3)):
        monkeypatch.setattr(prefixes, name, value)
    seen = prefixes.measure("PrefixHash", tmp_path)
    assert (len(seen.first_tokens), len(seen.later_tokens)) == (4, 8)
    # Two turns of three find the one before, but for what is new.
    assert 0.5 < seen.hit_rate < 0.8
    slow = prefixes.Seen("RoundRobin", [1.0], [0.9], 0.1, 1.0, 9.0)
    seen.later_tokens = [0.3] * 8
    text = prefixes.section([slow, seen])
    assert "PrefixHash answers later turns 3.0 times as soon as RoundRobin" in text
    assert "instead of 10%" in text
