"""Sparse histograms of durations, in buckets that grow by 5 %.

A bucket `i` covers durations from 1.05^i up to, and without, 1.05^(i+1) milliseconds. So a
quantile is known to 5 % at worst, whatever its size, and a histogram of a second's answers, or
of an hour's, has a few dozen entries that can be added up over pods and time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

GROWTH = 1.05
"""The upper end of a bucket over its lower end."""
LAST_BUCKET = 400
"""83 hours. What is longer counts here, what is shorter than a millisecond in bucket 0."""

_LOG_GROWTH = math.log(GROWTH)
_ROUNDING = 1e-9
"""Far below a bucket's width, far above what logarithms of doubles are off."""


def bucket_of(milliseconds: float) -> int:
    """The bucket of a duration."""
    if milliseconds <= 1:
        return 0
    return min(int(math.log(milliseconds) / _LOG_GROWTH + _ROUNDING), LAST_BUCKET)


def total(buckets: Mapping[int, int]) -> int:
    """How many durations there are."""
    return sum(buckets.values())


def quantile(buckets: Mapping[int, int], share: float) -> float | None:
    """The duration, in milliseconds, that this share is not longer than; None without any.

    Within a bucket durations count as spread evenly over its logarithm.
    """
    everything = total(buckets)
    if everything == 0:
        return None
    wanted, seen = share * everything, 0
    for bucket in sorted(buckets):
        count = buckets[bucket]
        if count and seen + count >= wanted:
            return math.exp(_LOG_GROWTH * (bucket + (wanted - seen) / count))
        seen += count
    return GROWTH ** (max(buckets) + 1)


def beyond(buckets: Mapping[int, int], milliseconds: float) -> float:
    """How many are longer; of the bucket that the limit lies in, the share above the limit.

    As `quantile` has it: beyond the quantile of 0.95 are 5 % of the durations.
    """
    if milliseconds <= 0:
        return float(total(buckets))
    place = math.log(milliseconds) / _LOG_GROWTH
    return sum(count * min(max(bucket + 1 - place, 0.0), 1.0) for bucket, count in buckets.items())


def merge(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    """Both together."""
    merged = dict(one)
    for bucket, count in other.items():
        merged[bucket] = merged.get(bucket, 0) + count
    return merged
