"""How small a p-value has to be, with many checks, steps and looks.

A candidate is looked at again and again while requests come in, by several checks, in several
steps. Tested at 5 % each time a good one would almost surely fail once. So one error rate for
the whole canary is spent bit by bit (Lan and DeMets, Biometrika 70, 1983):

- each step and each check gets an equal part (Bonferroni's inequality);
- of that, looks between n and 2n requests have 1/2 when n is `minRequests`, 1/6 when it is double
  that, then 1/12, 1/20 and so on, which is 1 in all however long it takes;
- looks within such a doubling depend on each other. If one looks without a pause, the chance that
  one of them falls below a level is 2 + z²·ln(2)/2 times that of a single look (Siegmund,
  Sequential Analysis, 1985, chapter 4): 7 to 10 times for levels of 1e-4 to 1e-6. Looks at
  intervals cost less, a hundred of them 6 times at 1e-4. So each gets an eighth.

All of it depends on the figures alone, so nothing has to be remembered from look to look.
"""

from __future__ import annotations

import math

from modelrouter.api.canary_analysis import CanaryAnalysis

CANARY_LEVEL = 0.02
"""The most that chance may roll back of canaries whose candidate just keeps every bound."""
HARD_LIMIT_LEVEL = 0.01
"""Of each look at a hard limit, which is to act at once: just enough that a few unlucky requests
in a candidate's first second end nothing."""

_LOOKS = 8


def level(analysis: CanaryAnalysis, tests: int, steps: int, requests: int, age: float) -> float:
    """The p-value that is no chance any more.

    `tests` is how many checks are tested, `requests` how many of the candidate are in the window,
    `age` the seconds since the step began: beyond the window's length older requests fall out, and
    each further window is as good as a new try.
    """
    windows = max(age / analysis.window_seconds, 1.0)
    doublings = math.floor(math.log2(max(requests * windows / analysis.min_requests, 1.0)))
    share = 1 / ((doublings + 1) * (doublings + 2))
    return CANARY_LEVEL * share / (max(steps, 1) * max(tests, 1) * _LOOKS * windows)
