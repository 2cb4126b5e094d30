"""The choices of shadows are kept for the records, and bounded."""

from __future__ import annotations

from modelrouter.router.decisions.shadowing import ShadowChoice
from modelrouter.router.records.shadowed import ShadowedRequests


def choice(shadow: str = "trial", pool: str = "b") -> ShadowChoice:
    return ShadowChoice(shadow, pool, "rule:new")


def test_a_request_has_the_choices_of_all_its_shadows() -> None:
    requests = ShadowedRequests()
    requests.add("r1", choice("one"))
    requests.add("r1", choice("two"))
    assert requests.of("r1") == (choice("one"), choice("two"))
    assert requests.of("r2") == ()


def test_of_two_requests_with_one_id_the_newer_counts() -> None:
    requests = ShadowedRequests()
    requests.add("r1", choice(pool="a"))
    requests.add("r1", choice(pool="b"))
    assert requests.of("r1") == (choice(pool="b"),)


def test_the_oldest_are_forgotten() -> None:
    requests = ShadowedRequests(most=2)
    for request_id in ("r1", "r2", "r1", "r3"):
        requests.add(request_id, choice())
    assert len(requests) == 2
    assert requests.of("r2") == ()
    assert requests.of("r1") == (choice(),)
