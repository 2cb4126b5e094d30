"""Endpoints with long queues and full caches get less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.policy.queueing import HEAVIEST, Queue, weights

IDLE = Queue(0, 0.0)


@pytest.mark.parametrize(
    ("queues", "expected"),
    [
        ({}, {}),
        ({"a": None, "b": None}, {}),
        ({"a": IDLE, "b": IDLE}, {}),
        ({"a": Queue(7, 0.9), "b": Queue(7, 0.9)}, {}),
        ({"a": IDLE, "b": Queue(1, 0.0)}, {"a": 64, "b": 32}),
        ({"a": IDLE, "b": Queue(15, 0.0)}, {"a": 64, "b": 4}),
        ({"a": IDLE, "b": Queue(0, 0.5)}, {"a": 64, "b": 32}),
        ({"a": IDLE, "b": Queue(0, 1.0)}, {"a": 64, "b": 4}),
        ({"a": IDLE, "b": Queue(10_000, 1.0)}, {"a": 64, "b": 1}),
        ({"a": Queue(3, 0.5), "b": None}, {}),
        ({"a": IDLE, "b": None, "c": Queue(3, 0.0)}, {"a": 64, "b": 64, "c": 16}),
        # Little differences change nothing.
        ({"a": IDLE, "b": Queue(0, 0.2)}, {}),
    ],
)
def test_weights(queues: dict[str, Queue | None], expected: dict[str, int]) -> None:
    assert weights(queues) == expected


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.none() | st.builds(Queue, st.floats(0, 1e6), st.floats(0, 1)),
        max_size=5,
    )
)
def test_a_worse_endpoint_never_gets_more(queues: dict[str, Queue | None]) -> None:
    found = weights(queues)
    assert not found or found.keys() == queues.keys()
    assert all(1 <= weight <= HEAVIEST for weight in found.values())
    told = {name: queue for name, queue in queues.items() if queue is not None}
    for name, queue in told.items() if found else ():
        for other, better in told.items():
            if better.waiting <= queue.waiting and better.cache <= queue.cache:
                assert found[other] >= found[name]
