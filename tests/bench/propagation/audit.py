"""The API server's audit log: who wrote what, and when to the microsecond."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Write:
    """One finished write. Times are those of `time.time`."""

    user: str
    verb: str
    kind: str
    """Plural, with the subresource: `modelroutes/status`."""
    name: str
    received: float
    answered: float


class AuditLog:
    """The log from where it ends now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size

    def fresh(self) -> list[Write]:
        """The writes since the last call."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            content = log.read()
        whole = content.rpartition(b"\n")[0]
        self._offset += len(whole) + 1 if whole else 0
        return list(_writes(whole))


def of(user: str, writes: list[Write]) -> list[Write]:
    """The writes of one user, except those to the Lease."""
    return [write for write in writes if write.user == user and write.kind != "leases"]


def by_kind(writes: list[Write]) -> Counter[str]:
    """How many there were of each kind."""
    return Counter(write.kind for write in writes)


def _writes(content: bytes) -> Iterator[Write]:
    for line in content.splitlines():
        event: dict[str, Any] = json.loads(line)
        about = event.get("objectRef") or {}
        kind = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
        yield Write(
            event["user"]["username"],
            event["verb"],
            kind,
            about.get("name", ""),
            _time(event["requestReceivedTimestamp"]),
            _time(event["stageTimestamp"]),
        )


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
