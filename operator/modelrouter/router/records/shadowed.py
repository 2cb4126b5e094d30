"""What shadows would have done with the last requests, for their records."""

from __future__ import annotations

from collections import OrderedDict

from modelrouter.router.decisions.shadowing import ShadowChoice
from modelrouter.router.records.keeping import MOST_RECORDS


class ShadowedRequests:
    """The choices of shadows by request, of the last so many requests that had any."""

    def __init__(self, most: int = MOST_RECORDS) -> None:
        self._most = most
        # Not a plain dictionary: that finds its first key slowly when those before it are gone.
        self._choices: OrderedDict[str, tuple[ShadowChoice, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._choices)

    def add(self, request_id: str, choice: ShadowChoice) -> None:
        """A shadow has decided a request."""
        # Clients choose the ids, and may choose one twice: the newer request counts.
        others = [c for c in self._choices.pop(request_id, ()) if c.shadow != choice.shadow]
        self._choices[request_id] = (*others, choice)
        if len(self._choices) > self._most:
            self._choices.popitem(last=False)

    def of(self, request_id: str) -> tuple[ShadowChoice, ...]:
        """The choices of all shadows that decided a request."""
        return self._choices.get(request_id, ())
