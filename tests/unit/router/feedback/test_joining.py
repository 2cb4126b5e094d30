"""Feedback in figures, and where other routers are found."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.feedback.joining import FeedbackLedger, Joined
from modelrouter.router.feedback.metrics import FeedbackCollector
from modelrouter.router.feedback.peers import router_pods
from modelrouter.router.feedback.reading import Feedback
from modelrouter.router.records.keeping import DecisionRecord, DecisionRecords
from modelrouter.router.records.rating import Rating
from modelrouter.router.services import Group, Port, Services


class Scene:
    def __init__(self) -> None:
        self.records = DecisionRecords()
        self.measured: list[tuple[str, float]] = []
        self.ledger = FeedbackLedger(self.records, self._measure)
        self.registry = CollectorRegistry()
        self.registry.register(FeedbackCollector(self.ledger))

    def _measure(self, record: DecisionRecord, score: float) -> None:
        self.measured.append((record.pool, score))

    def rate(self, request_id: str, score: float, label: str = "") -> Joined:
        return self.ledger.join(Feedback(request_id, Rating(score, label)))

    def served(self, *request_ids: str) -> None:
        for request_id in request_ids:
            self.records.add(
                RequestRecord(request_id, "chat", "rule:a", "llama", 1, 200, 9.0, 3.0, 1, 1)
            )

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"route": "chat", "pool": "llama", **labels})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_each_request_counts_once(scene: Scene) -> None:
    scene.served("a", "b", "c")
    assert scene.rate("a", 1.0, "thumb") is Joined.NEW
    assert scene.rate("a", 0.0, "thumb") is Joined.REPLAY
    assert scene.rate("b", 0.5, "thumb") is Joined.NEW
    assert scene.rate("c", 0.0) is Joined.NEW
    assert scene.rate("d", 0.0) is Joined.UNKNOWN
    assert scene.measured == [("llama", 1.0), ("llama", 0.5), ("llama", 0.0)]
    assert scene.metric("modelrouter_feedback_total", label="thumb") == 2
    assert scene.metric("modelrouter_feedback_total", label="") == 1
    assert scene.metric("modelrouter_feedback_score_sum") == 1.5
    assert scene.metric("modelrouter_feedback_score_count") == 3


def test_clients_cannot_make_time_series_without_end(scene: Scene) -> None:
    for number in range(60):
        scene.served(str(number))
        scene.rate(str(number), 1.0, f"label-{number}")
    assert scene.metric("modelrouter_feedback_total", label="label-49") == 1
    assert scene.metric("modelrouter_feedback_total", label="label-50") is None
    assert scene.metric("modelrouter_feedback_total", label="other") == 10


def test_the_pods_of_a_router_are_behind_its_service() -> None:
    services = Services()
    port = (Port("http", 8080),)
    services.put("model-router-default", "a", Group(port, (("10.0.0.1", "1"), ("10.0.0.2", "2"))))
    services.put("model-router-default", "b", Group(port, (("fd00::3", "3"),)))
    services.put("model-router-other", "a", Group(port, (("10.0.0.9", "9"),)))
    found = router_pods(services, "model-router-default", 8081)
    assert found == ["10.0.0.1:8081", "10.0.0.2:8081", "[fd00::3]:8081"]
    assert router_pods(services, "model-router-nobody", 8081) == []
