"""Which versions of a router's configuration hold the present entry of a route or pool.

A version is a hash, so it says nothing about which of two is newer. This keeps the order in which
they came into being: each write gets the next serial number, each entry the number of the write
that made it what it is. A router pod that has acknowledged a version works by every entry whose
number is not larger.
"""

from __future__ import annotations

from modelrouter.plan.shards import Entries, digest, version_of

_REMEMBERED = 512
_NOT_WRITTEN = 1 << 62


class VersionHistory:
    """The versions that one router's ConfigMaps have had since this process leads."""

    def __init__(self) -> None:
        self.serial = 0
        """Number of the last write."""
        self._began = float("-inf")
        self._digests: dict[str, bytes] = {}
        self._coming: tuple[str, dict[str, bytes]] | None = None
        self._serials: dict[str, int] = {}
        self._entries: dict[str, int] = {}
        self._written: dict[int, float] = {}

    def restart(self, entries: Entries, now: float) -> str:
        """The ConfigMaps hold this, whoever wrote it; the version of it."""
        if self.serial == 0:
            self._began = now
        digests = {key: digest(text) for key, text in entries.items()}
        self._note(version_of(digests), digests, now)
        return version_of(digests)

    def begin(self, before: Entries, after: Entries) -> str:
        """A write is about to change some entries; the version that results.

        Routers may work by it, and say so, before the API server has answered the writer.
        """
        digests = {key: self._digests[key] for key in self._digests if key in after}
        for key, text in after.items():
            if before.get(key) != text:
                digests[key] = digest(text)
        self._coming = version_of(digests), digests
        return self._coming[0]

    def finish(self, now: float) -> None:
        """The write that was begun is made."""
        assert self._coming is not None
        self._note(*self._coming, now)

    def expect(self, wanted: Entries, present: Entries) -> None:
        """A plan: of entries that are to change, everybody is behind until they are written."""
        for key in self._entries.keys() - wanted.keys():
            del self._entries[key]
        for key, text in wanted.items():
            if text != present.get(key):
                self._entries[key] = _NOT_WRITTEN
            else:
                self._entries.setdefault(key, 0)

    def settle(self) -> None:
        """The plan is written."""
        for key, serial in self._entries.items():
            if serial == _NOT_WRITTEN:
                self._entries[key] = self.serial

    def pending(self, key: str) -> bool:
        """Whether an entry is planned but not written."""
        return self._entries.get(key) == _NOT_WRITTEN

    def reach(self, version: str | None) -> int:
        """How far somebody is who works by `version`: a serial number; -1: nobody knows."""
        if not version:
            return -1
        serial = self._serials.get(version, -1)
        # A version that comes back counts for what it was: the write may yet fail.
        if serial < 0 and self._coming is not None and version == self._coming[0]:
            return self.serial + 1
        return serial

    def behind(self, key: str, version: str) -> bool:
        """Whether somebody who works by `version` has not got the entry as it is now."""
        return self.reach(version) < self._entries.get(key, 0)

    def written(self, key: str) -> float:
        """When an entry was written as it is now, or first looked at where others wrote it."""
        return self._written.get(self._entries.get(key, 0), self._began)

    def written_at(self, serial: int) -> float | None:
        """When a write was made; None: too long ago to be remembered."""
        return self._written.get(serial)

    def _note(self, version: str, digests: dict[str, bytes], now: float) -> None:
        self._digests, self._coming = digests, None
        self.serial += 1
        # Made anew, so that the order of the mapping is the order of the serials.
        self._serials.pop(version, None)
        self._serials[version] = self.serial
        self._written[self.serial] = now
        if len(self._serials) > _REMEMBERED:
            del self._serials[next(iter(self._serials))]
        self._written.pop(self.serial - _REMEMBERED, None)
