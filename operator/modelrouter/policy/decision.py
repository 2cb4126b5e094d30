"""`Decision`: where a request goes, or why it goes nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from modelrouter.policy.refusal import Refusal


class Obstacle(StrEnum):
    """Why a pool does not get a request."""

    DATA_CLASS = "data-class"
    """The pool may not see data that is labelled so."""
    FEATURES = "features"
    """The model cannot do what the request needs."""
    WINDOW = "window"
    """Prompt and answer do not fit the model's context window."""
    UNHEALTHY = "unhealthy"
    """No endpoint is ready."""
    SATURATED = "saturated"
    """All endpoints are at their limit of concurrent requests."""
    COLD = "cold"
    """It is scaled to zero, or its first endpoint is not ready yet."""


UNSUITED = (Obstacle.DATA_CLASS, Obstacle.FEATURES, Obstacle.WINDOW)
"""What keeps a request from a pool whatever the pool's state is."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A pool that was considered and passed over."""

    pool: str
    reason: Obstacle
    detail: str = ""
    """The particulars, such as `needs 20000 tokens, has 8192`."""


class Mirroring(NamedTuple):
    """What happens to a request besides being answered."""

    pool: str
    """Where its copy goes."""
    compares: bool = False
    """Whether both answers are compared."""
    evaluates: bool = False
    """Whether the evaluator may see the request, and is asked about the answers."""


class Decision(NamedTuple):
    """Where a request goes. A named tuple, because it is made once per request and a frozen
    dataclass takes five times as long to build."""

    route: str
    """The route's name; empty when no route serves the model."""
    rule: str
    """The rule that matched; empty when no route serves the model."""
    pools: tuple[str, ...]
    """The pools in the order in which they take over, each once."""
    chain: tuple[str, ...]
    """One entry per attempt: attempt n goes to the n-th pool. Empty with a refusal."""
    reason: str
    """For people, in ASCII, fit for a header: `rule:default; llama-8b unhealthy`."""
    rejected: tuple[Rejection, ...]
    """Pools of the rule that were passed over, with the reasons."""
    prompt_tokens: int
    """Estimated tokens of the prompt."""
    refusal: Refusal | None = None
    """The answer to give instead; `None` when the request goes on."""
    request_timeout_ms: int | None = None
    """Time for the whole answer, all attempts included; `None`: no limit, for streams."""
    per_try_timeout_ms: int | None = None
    """Time that one attempt has until the first byte of its answer."""
    idle_timeout_ms: int | None = None
    """Longest silence within a stream; `None` for answers that are not streamed."""
    hash_key: str | None = None
    """What a pool that balances by session or prefix places the request by: hexadecimal digits,
    fit for a header. `None` when no pool in the chain does."""
    wakes: str = ""
    """The cold pool that would have been chosen if it were ready, and is to be started."""
    waits: bool = False
    """Whether the request waits for the pool that it wakes, and is decided again then."""
    mirror: Mirroring | None = None
    """What happens to a copy of the request; None: there is none."""
