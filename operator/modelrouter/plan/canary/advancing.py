"""A canary's state machine: from its status, and what is known, to its next status."""

from __future__ import annotations

from datetime import datetime

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import CanaryStatus
from modelrouter.plan.canary.evidence import Advance, Evidence


def advance(
    spec: Canary, status: CanaryStatus | None, evidence: Evidence, now: datetime
) -> Advance:
    """The next status of a canary."""
    raise NotImplementedError
