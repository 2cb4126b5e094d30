"""What is measured adds up, and survives the way between pods."""

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.plan.canary import histogram
from modelrouter.plan.canary.measurement import (
    NOTHING,
    Measurement,
    MeasurementError,
    Moments,
    merged,
    read_document,
)

FULL = Measurement(
    requests=10,
    failures={"serverError": 1, "rescued": 2},
    latency={120: 5, 121: 2},
    first_token={80: 7},
    tokens_per_second=Moments.of([40.0, 50.0]),
    cost=Moments.of([0.001, 0.002]),
    quality=Moments.of([1.0, 0.0]),
)


def test_a_document_is_read_as_it_was_written() -> None:
    document = json.loads(json.dumps(FULL.document()))
    assert read_document(document) == FULL
    assert document["failures"] == {
        "serverError": 1,
        "rateLimited": 0,
        "brokenStream": 0,
        "rescued": 2,
    }
    assert read_document({}) == NOTHING


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "measurement"),
        ({"requests": -1}, "requests"),
        ({"requests": True}, "requests"),
        ({"requests": 1.5}, "requests"),
        ({"requests": 3, "failures": {"bad": 1}}, "failures.bad"),
        ({"requests": 3, "failures": {"serverError": 4}}, "failures"),
        ({"latency": {"401": 1}}, "latency.401"),
        ({"latency": {"-1": 1}}, "latency.-1"),
        ({"firstToken": {"7": "many"}}, "firstToken.7"),
        ({"cost": {"n": 1, "total": float("nan")}}, "cost.total"),
        ({"quality": 3}, "quality"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(document: object, field: str) -> None:
    with pytest.raises(MeasurementError, match=f"^{field}:"):
        read_document(document)


def test_pods_add_up() -> None:
    both = merged([FULL, FULL, NOTHING])
    assert (both.requests, both.failed) == (20, 6)
    assert both.latency == {120: 10, 121: 4}
    assert both.cost.mean == pytest.approx(0.0015)
    assert both.quality.n == 4
    assert FULL.latency == {120: 5, 121: 2}


numbers = st.lists(st.floats(0.001, 1000), min_size=2, max_size=50)


@given(numbers, numbers)
def test_moments_of_both_are_those_of_all(one: list[float], other: list[float]) -> None:
    together = Moments.of(one).merge(Moments.of(other))
    assert together.mean == pytest.approx(statistics.fmean(one + other))
    expected = statistics.variance(one + other)
    assert together.variance == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.floats(1, 1e8))
def test_a_bucket_holds_what_is_put_into_it(milliseconds: float) -> None:
    bucket = histogram.bucket_of(milliseconds)
    if bucket < histogram.LAST_BUCKET:
        assert 1.05**bucket <= milliseconds * (1 + 1e-6)
        assert milliseconds < 1.05 ** (bucket + 1) * (1 + 1e-6)


def test_buckets_begin_at_their_lower_end() -> None:
    assert [histogram.bucket_of(1.05**power) for power in range(300)] == list(range(300))
    assert histogram.bucket_of(0) == histogram.bucket_of(1) == 0
    assert histogram.bucket_of(1e12) == histogram.LAST_BUCKET


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_right_to_a_bucket(values: list[float], share: float) -> None:
    buckets: dict[int, int] = {}
    for value in values:
        bucket = histogram.bucket_of(value)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    found = histogram.quantile(buckets, share)
    ordered = sorted(values)
    exact = ordered[max(-int(-share * len(values) // 1), 1) - 1]
    assert found is not None
    assert exact / 1.06 <= found <= exact * 1.06
    assert histogram.beyond(buckets, found) == pytest.approx((1 - share) * len(values), abs=1e-5)


def test_an_empty_histogram_has_no_quantile() -> None:
    assert histogram.quantile({}, 0.5) is None
    assert histogram.beyond({}, 5) == 0
    assert histogram.beyond({3: 4}, 0) == 4
