"""Objects as last seen, when watches and answers to writes overtake each other."""

from __future__ import annotations

from typing import Any

from modelrouter.controller.store import ObjectStore, own_fields_only


def obj(name: str, version: int, namespace: str = "ns") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)}}


def test_the_newer_version_stays_whatever_arrives_last() -> None:
    store = ObjectStore()
    assert store.put(obj("a", 10))
    assert not store.put(obj("a", 9))
    assert not store.put(obj("a", 10))
    assert store.put(obj("a", 11))
    assert store.get(("ns", "a")) == obj("a", 11)


def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_object_back() -> None:
    store = ObjectStore()
    store.put(obj("a", 10))
    assert store.remove(obj("a", 12))
    assert not store.put(obj("a", 11))
    assert store.get(("ns", "a")) is None


def test_an_object_made_again_outlives_the_old_one_s_deletion() -> None:
    store = ObjectStore()
    store.put(obj("a", 20))
    assert not store.remove(obj("a", 12))
    assert store.get(("ns", "a")) is not None


def test_a_list_removes_what_it_does_not_hold_in_its_namespace_only() -> None:
    store = ObjectStore()
    store.put(obj("a", 1))
    store.put(obj("b", 2))
    store.put(obj("c", 3, namespace="other"))
    assert store.replace([obj("b", 2), obj("d", 4)], "ns") == {("ns", "a"), ("ns", "d")}
    assert {o["metadata"]["name"] for o in store} == {"b", "c", "d"}


def test_only_our_own_ownership_records_are_kept() -> None:
    known = obj("a", 1)
    known["metadata"]["managedFields"] = [{"manager": "me"}, {"manager": "kubectl"}]
    assert own_fields_only(known, "me")["metadata"]["managedFields"] == [{"manager": "me"}]
