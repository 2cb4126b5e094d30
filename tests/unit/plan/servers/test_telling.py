"""What is taken out of the words of schedulers and programs, and how time is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelrouter.plan.servers.crashes import LONGEST, last_words
from modelrouter.plan.servers.durations import (
    STEPS,
    duration_text,
    seconds_between,
)
from modelrouter.plan.servers.scheduling import unschedulable

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", ""),
        ("\n\n", ""),
        ("Killed", "Killed"),
        ("Traceback (most recent):\n  File x\nValueError: too long\n", "ValueError: too long"),
        (
            "(EngineCore pid=7) ERROR 01-02 03:04:05 [core.py:1] torch.OutOfMemoryError: CUDA out\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n"
            "x.py:1: UserWarning: resource_tracker: leaked semaphores\n",
            "torch.OutOfMemoryError: CUDA out",
        ),
        (
            "RuntimeError: Engine core initialization failed. See root cause above.",
            "RuntimeError: Engine core initialization failed. See root cause above",
        ),
        ("error: unrecognized arguments: --nope", "error: unrecognized arguments: --nope"),
        ("OSError: token hf_abcdefghijkl is bad", "OSError: token *** is bad"),
        ("E: GET https://me:secret@hub/x Bearer abc", "E: GET https://***@hub/x Bearer ***"),
    ],
)  # fmt: skip
def test_the_line_that_says_most(message: str, words: str) -> None:
    assert last_words(message) == words


def test_a_long_line_is_cut() -> None:
    assert len(last_words("ValueError: " + "x" * 5000)) == LONGEST


@pytest.mark.parametrize(
    ("message", "reason", "part"),
    [
        (
            "0/5 nodes are available: 2 Insufficient memory, 3 Insufficient nvidia.com/gpu.",
            "Unschedulable",
            "enough memory and nvidia.com/gpu free for pod p",
        ),
        (
            "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available",
            "Unschedulable",
            "no node takes pod p: 0/1 nodes are available: 1 Too many pods;",
        ),
        (
            '0/1 nodes are available: persistentvolumeclaim "models" not found. not found',
            "VolumeNotBound",
            '"models" not found',
        ),
        ("0/1 nodes: 1 node(s) had volume node affinity conflict.", "VolumeNotBound", "affinity"),
        ("", "Unschedulable", "kubectl describe pod p"),
    ],
)
def test_what_the_scheduler_says(message: str, reason: str, part: str) -> None:
    trouble = unschedulable("p", message)
    assert trouble.reason == reason
    assert part in trouble.text
    assert "preemption" not in trouble.text


def test_time_is_told_in_coarse_steps() -> None:
    assert duration_text(0) == "for less than a minute"
    assert duration_text(60) == "for over 1 minute"
    assert duration_text(299) == "for over 2 minutes"
    assert duration_text(3600) == "for over 1 hour"
    assert duration_text(10**7) == "for over 24 hours"
    texts = [duration_text(second) for second in range(2 * 24 * 3600)]
    assert len(set(texts)) == len(STEPS) + 1


def test_times_of_kubernetes() -> None:
    assert seconds_between("2026-01-01T11:59:00Z", NOON) == 60
    assert seconds_between("2026-01-01T12:01:00Z", NOON) == 0  # clocks differ
    assert seconds_between(None, NOON) == seconds_between("soon", NOON) == 0
