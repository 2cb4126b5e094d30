"""Which endpoints of a pool Envoy has while all of them are being replaced.

Envoy sends requests to an endpoint from its first good probe on, some milliseconds after it was
told of it. A Service can get other pods within less than that, as when its selector changes; what
it had before then stays for a moment, or every request would be refused until that probe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

PROBING_SECONDS = 1.0
"""An endpoint that Envoy has had for this long has been probed. No endpoint that left stays
longer, whatever becomes of the new ones."""


class Handover:
    """The endpoints of one pool over time. Times are seconds of any clock that only grows."""

    def __init__(self, addresses: Iterable[str], now: float) -> None:
        self._since = dict.fromkeys(addresses, now)
        """What Envoy has, and since when."""
        self._left: dict[str, float] = {}
        """Which of it is no longer wanted, and since when."""
        self.again_at: float | None = None
        """When to ask again, although nothing changes: then what left goes."""

    def take(self, wanted: Collection[str], now: float) -> list[str]:
        """What Envoy is to have, given what the cluster says now; sorted."""
        since = {address: self._since.get(address, now) for address in wanted}
        probed_at = min(since.values(), default=now) + PROBING_SECONDS
        left: dict[str, float] = {}
        if since and now < probed_at:
            for address in self._since.keys() - since.keys():
                at = self._left.get(address, now)
                # One that had no time to be probed itself is of no help.
                probed = self._since[address] + PROBING_SECONDS <= at
                if probed and now < at + PROBING_SECONDS:
                    left[address] = at
        self._left = left
        self._since = since | {address: self._since[address] for address in left}
        ends = [at + PROBING_SECONDS for at in left.values()]
        self.again_at = min(probed_at, *ends) if ends else None
        return sorted(self._since)
