"""What copies of requests came to, by route and pool."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.accounting.histogram import DURATION_BUCKETS, Histogram
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.envoy.mirror_headers import EVALUATED, MIRRORED

KINDS = (MIRRORED, EVALUATED)
"""What stands in place of a reason in the access log's lines about copies."""


@dataclass(slots=True)
class Figures:
    """Everything counted for one route and pool since the agent started."""

    codes: dict[int, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """US dollars, by the pool's price."""
    duration: Histogram = field(default_factory=lambda: Histogram(DURATION_BUCKETS))

    @property
    def requests(self) -> int:
        """All, whatever their end."""
        return sum(self.codes.values())

    @property
    def errors(self) -> int:
        """Those without an answer, or with a status from 400 on."""
        return sum(count for code, count in self.codes.items() if code >= 400 or code == 0)

    def add(self, record: RequestRecord, price: tuple[float, float]) -> None:
        """Count one. `price`: US dollars per token of prompt and answer."""
        self.codes[record.status] = self.codes.get(record.status, 0) + 1
        prompt, completion = record.prompt_tokens or 0, record.completion_tokens or 0
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.cost += prompt * price[0] + completion * price[1]
        self.duration.observe(record.duration_ms / 1000)


class CopyFigures:
    """Figures of copies, and of questions to evaluators, apart from all that clients cause."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.copies: dict[tuple[str, str], Figures] = {}
        self.evaluations: dict[tuple[str, str], Figures] = {}

    def record(self, record: RequestRecord) -> None:
        """A copy, or a question to an evaluator, has ended."""
        self._ledger.record_copy(record)
        totals = self.copies if record.reason == MIRRORED else self.evaluations
        key = (record.route, record.pool)
        figures = totals.get(key)
        if figures is None:
            figures = totals[key] = Figures()
        figures.add(record, self._ledger.price(record.pool))
