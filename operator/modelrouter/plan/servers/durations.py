"""How long something lasts, in steps so coarse that a status which tells it is written rarely."""

from __future__ import annotations

from datetime import datetime

STEPS = (1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 240, 480, 1440)
"""Minutes at which the text changes."""


def duration_text(seconds: float) -> str:
    """Such as `for over 5 minutes`."""
    minutes = _step(seconds)
    if minutes == 0:
        return "for less than a minute"
    if minutes < 60:
        return f"for over {minutes} minute{'s' if minutes > 1 else ''}"
    hours = minutes // 60
    return f"for over {hours} hour{'s' if hours > 1 else ''}"


def seconds_between(since: str | None, now: datetime) -> float:
    """Seconds from a time as Kubernetes writes it until now; 0 if it is none."""
    if not since:
        return 0.0
    try:
        begin = datetime.fromisoformat(since.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return max((now - begin).total_seconds(), 0.0)


def _step(seconds: float) -> int:
    return max((step for step in STEPS if 60 * step <= seconds), default=0)
