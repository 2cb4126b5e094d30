"""Which versions of a router's configuration hold the present generation of a route.

A version is a hash, so it says nothing about which of two is newer. This keeps the order in which
they came into being: each write gets the next serial number, each route the number of the write
that brought its present entry. A router pod that has acknowledged a version works by every route
whose number is not larger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelrouter.plan.shards import Entries, digest, version_of

_REMEMBERED = 512


class VersionHistory:
    """The versions that one router's ConfigMaps have had since this process leads."""

    def __init__(self) -> None:
        self.serial = 0
        """Number of the last write."""
        self._digests: dict[str, bytes] = {}
        self._serials: dict[str, int] = {}
        self._routes: dict[str, int] = {}
        self._written: dict[int, float] = {}

    def restart(self, entries: Entries, now: float) -> str:
        """The ConfigMaps hold this, whoever wrote it; the version of it."""
        self._digests = {key: digest(text) for key, text in entries.items()}
        return self._note(now)

    def change(self, before: Entries, after: Entries, now: float) -> str:
        """A write changed some entries; the version that resulted."""
        for key in before.keys() - after.keys():
            self._digests.pop(key, None)
        for key, text in after.items():
            if before.get(key) != text:
                self._digests[key] = digest(text)
        return self._note(now)

    def settle(self, routes: Mapping[str, str], before: Mapping[str, str]) -> None:
        """The last write completed a plan: the entries of its routes, and what they had been.

        Routes whose entry is as it was keep the number that they have.
        """
        for name in self._routes.keys() - routes.keys():
            del self._routes[name]
        for name, text in routes.items():
            if before.get(name) != text:
                self._routes[name] = self.serial
            else:
                self._routes.setdefault(name, 0)

    def has(self, route: str) -> bool:
        """Whether the route is in the configuration."""
        return route in self._routes

    def behind(self, route: str, version: str) -> bool:
        """Whether somebody who works by `version` has not got the route's present generation."""
        return self._serials.get(version, -1) < self._routes.get(route, 0)

    def written(self, route: str) -> float:
        """When the route's present entry was written; minus infinity: before this process led."""
        return self._written.get(self._routes.get(route, 0), float("-inf"))

    def latest(self, versions: Iterable[str]) -> bool:
        """Whether all of these are the version of the last write."""
        return all(self._serials.get(version) == self.serial for version in versions)

    @property
    def last_written(self) -> float:
        """When the last write was."""
        return self._written.get(self.serial, float("-inf"))

    def _note(self, now: float) -> str:
        version = version_of(self._digests)
        self.serial += 1
        # Made anew, so that the order of the mapping is the order of the serials.
        self._serials.pop(version, None)
        self._serials[version] = self.serial
        self._written[self.serial] = now
        if len(self._serials) > _REMEMBERED:
            del self._serials[next(iter(self._serials))]
        self._written.pop(self.serial - _REMEMBERED, None)
        return version
