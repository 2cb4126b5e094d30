"""What happens while the router runs, told to whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """How much an event matters."""

    DETAIL = "detail"
    """Output of a program that is running; shown only where there is room."""
    INFO = "info"
    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    level: Level
    text: str
    """One line for people; more lines only as a list of problems."""
    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""

    @property
    def clock(self) -> str:
        """The local time of day."""
        return time.strftime("%H:%M:%S", time.localtime(self.at))


Tell = Callable[[Event], None]
"""Takes each event as it happens."""
